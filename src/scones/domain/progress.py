"""Progress: the interface by which long work reports to the terminal, and how long lists are folded there."""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

FEW: Final = 10
"""A longer list is folded to this many lines."""
FEW_NAMES: Final = 3
"""So many resources of a kind are named."""
verbose: ContextVar[bool] = ContextVar("verbose", default=False)
"""Whether long lists are shown whole."""


def fold(lines: Sequence[str], indent: str = "") -> Iterable[str]:
    """The first lines of a long list, and how many more there are; with --verbose all."""
    few = len(lines) if verbose.get() or len(lines) <= FEW else FEW
    yield from lines[:few]
    if len(lines) > few:
        yield f"{indent}and {len(lines) - few} more; --verbose lists them"


def by_kind(items: Sequence[str]) -> Iterable[str]:
    """One line for each kind of resource, with the first names; with --verbose one for each `kind name`."""
    if verbose.get():
        yield from items
        return
    kinds: dict[str, list[str]] = {}
    for item in items:
        kind, _, name = item.partition(" ")
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        count = f" x {len(names)}" if len(names) > 1 else ""
        more = f" and {len(names) - FEW_NAMES} more" if len(names) > FEW_NAMES else ""
        yield f"{kind}{count}: {', '.join(names[:FEW_NAMES])}{more}"


class Reporter(Protocol):
    """Shows a person the progress of a command; it carries no results."""

    def tell(self, line: str) -> None:
        """Show one line."""

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Show that *done* of *total* items are done; *what* names them and the bar, *now* the current one."""

    def countdown(self, left: float, seconds: int, what: str) -> None:
        """Show that *left* of so many *seconds* are left; at 0 it disappears. Only what draws shows it."""


class Silent:
    """A Reporter that shows nothing."""

    def tell(self, line: str) -> None:
        """Show nothing."""

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Show nothing."""

    def countdown(self, left: float, seconds: int, what: str) -> None:
        """Show nothing."""

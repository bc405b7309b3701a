"""Progress: the interface by which long work reports to the terminal."""

from typing import Protocol


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

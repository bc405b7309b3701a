"""Progress: how long work tells whoever waits for it."""

from typing import Protocol


class Reporter(Protocol):
    """Shows a person what goes on; results never pass through it."""

    def tell(self, line: str) -> None:
        """Say one line."""

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Say how much is done; *what* names the things counted, and the bar, *now* the one under way."""


class Silent:
    """A Reporter for those who do not look."""

    def tell(self, line: str) -> None:
        """Say nothing."""

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Say nothing."""

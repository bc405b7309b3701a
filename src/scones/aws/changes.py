"""Changes: what a change set would do to a stack, and what of that would cost data."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scones.errors import SconesError

_HOLDS_DATA = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")


class Deed(StrEnum):
    """What happens to one resource."""

    ADD = "add"
    MODIFY = "modify"
    MAY_REPLACE = "may replace"
    REPLACE = "replace"
    REMOVE = "remove"


_REPLACEMENTS = {"True": Deed.REPLACE, "Conditional": Deed.MAY_REPLACE}
_LOSING = {Deed.MAY_REPLACE, Deed.REPLACE, Deed.REMOVE}


class DataAtRisk(SconesError):
    """A change set would replace or remove what holds data, and nobody said that it may."""

    def __init__(self, stack: str, losses: Iterable[str]) -> None:
        super().__init__(
            f"stack {stack!r} stays as it is, for this would lose data: {', '.join(losses)}; "
            "save it elsewhere, then run: scones up --replace-data"
        )
        self.stack = stack


@dataclass(frozen=True, slots=True)
class Change:
    """One resource's *deed*; *why* names the properties or parameters that change."""

    deed: Deed
    name: str
    kind: str
    why: tuple[str, ...] = ()

    @property
    def loses_data(self) -> bool:
        """Whether photos, orders or decisions could be lost; a replacement that is only possible counts."""
        return self.kind in _HOLDS_DATA and self.deed in _LOSING


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that waits to be executed; *new* says that its stack does not stand yet."""

    name: str
    new: bool
    changes: tuple[Change, ...]

    def losses(self) -> list[str]:
        """Name what holds data and would be replaced or removed."""
        return [f"{item.deed} {item.kind} {item.name}" for item in self.changes if item.loses_data]

    def lines(self) -> Iterable[str]:
        """The table for a person: what is added by kind, everything else one by one."""
        counts = Counter(item.deed for item in self.changes)
        yield "changes: " + (", ".join(f"{counts[deed]} to {deed}" for deed in Deed if counts[deed]) or "none")
        added = Counter(item.kind for item in self.changes if item.deed is Deed.ADD)
        yield from (_row(Deed.ADD, kind, f"x {count}") for kind, count in sorted(added.items()))
        for item in sorted(self.changes, key=lambda each: (each.deed, each.name)):
            if item.deed is not Deed.ADD:
                why = f" ({', '.join(item.why)})" if item.why else ""
                yield _row(item.deed, item.kind, item.name + why)


def change(reply: Mapping[str, Any]) -> Change:
    """Read one entry of DescribeChangeSet's `Changes`."""
    found = reply["ResourceChange"]
    deed = {"Add": Deed.ADD, "Remove": Deed.REMOVE}.get(found["Action"], Deed.MODIFY)
    if deed is Deed.MODIFY:
        deed = _REPLACEMENTS.get(found.get("Replacement", ""), Deed.MODIFY)
    targets = (detail.get("Target", {}) for detail in found.get("Details", ()))
    why = dict.fromkeys(target.get("Name") or target.get("Attribute", "") for target in targets)
    return Change(deed, found["LogicalResourceId"], found["ResourceType"], tuple(filter(None, why)))


def _row(deed: Deed, kind: str, what: str) -> str:
    return f"  {deed:<11}  {kind:<38}  {what}"

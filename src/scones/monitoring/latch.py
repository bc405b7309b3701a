"""The latch: an alarm rings once, and stands until somebody acknowledges it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["drift", "replay", "canary", "release"]
"""Changed photos; answers that the registered model does not give; known photos that are answered wrongly; another
model than the one deployed last."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: a subject of one short line, and a body of a few more."""

    kind: Kind
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that stands: what was found first, and when (UTC); *told* says whether the notice has gone out."""

    finding: Finding
    since: str
    report_uri: str = ""
    """The page that shows it, if there is one."""
    document: str = ""
    """The same for programs, as JSON."""
    told: bool = False

    @property
    def kind(self) -> Kind:
        """What kind of alarm it is; of each, one stands at a time."""
        return self.finding.kind


def fresh(standing: Iterable[Alarm], findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Give those of *findings* whose kind does not stand yet; one that stands is neither renewed nor told again."""
    kinds = {alarm.kind for alarm in standing}
    return tuple(finding for finding in findings if finding.kind not in kinds)

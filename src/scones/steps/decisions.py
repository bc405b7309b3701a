"""Decisions: list the recorded decisions, newest first, find one, count them by the hour, and read their photos."""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from scones.aws.connection import Aws
from scones.dispatch.order_book import Item
from scones.domain.decision import ERROR_OF_OUTCOME, Outcome
from scones.domain.errors import WorkflowError

_MAX_EXAMINED = 2000
"""How many records one listing looks at for those that match; the next page goes on after them."""
_PAGE, _COUNTED_PAGE = 500, 2000
_ROUNDING = 1e-9
_MAX_DAYS = 100
"""How many days without a record are passed at most."""


class InvalidQuery(WorkflowError):
    """A listing cannot be continued from there, or its filter is not valid."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One execution's decision about one photo, as the Dispatch function recorded it."""

    photo_id: str
    execution: str
    recorded: str
    outcome: Outcome
    label: str
    confidence: float
    threshold: float
    probabilities: Mapping[str, float]
    """By class, in the order of the classes."""
    model_version: str
    courier: str
    dispatch: str
    orders: tuple[str, ...]
    bucket: str
    key: str
    reason: str
    """Why the photo could not be read; empty if it could."""
    unfamiliarity: float | None

    @property
    def name(self) -> str:
        """The photo's file name."""
        return self.key.rpartition("/")[2] or self.photo_id[:12]


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions to list; an empty value admits all.

    *low* and *high* bound the confidence, also as it is shown: 0.9996 is 100.0%.
    """

    outcome: str = ""
    label: str = ""
    model: str = ""
    courier: str = ""
    low: float = 0.0
    high: float = 1.0
    day: str = ""
    """The newest day, as in 2026-11-30."""

    def admits(self, item: RecordedDecision) -> bool:
        """Whether the decision is one of them."""
        return (
            self.outcome in ("", item.outcome)
            and self.label in ("", item.label)
            and self.model in ("", item.model_version)
            and self.courier in ("", item.courier)
            and self.low - _ROUNDING <= max(item.confidence, round(item.confidence, 3))
            and min(item.confidence, round(item.confidence, 3)) <= self.high + _ROUNDING
        )


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Some decisions, newest first; *cursor* continues the listing, and is empty at its end."""

    decisions: tuple[RecordedDecision, ...]
    cursor: str
    examined: int
    """How many records were looked at."""


def list_decisions(aws: Aws, wanted: DecisionFilter, limit: int, cursor: str = "") -> DecisionPage:
    """List at most *limit* decisions that the filter admits, by key, without a scan.

    Raises:
        InvalidQuery: the cursor or the day is not valid.
    """
    today = datetime.now(UTC).date().isoformat()
    day, after = _read_cursor(cursor) if cursor else (min(_day(wanted.day or today), today), None)
    found: list[RecordedDecision] = []
    examined = empty_days = 0
    while empty_days < _MAX_DAYS:
        size = min(_PAGE, limit + 1 if wanted == DecisionFilter(day=wanted.day) else _PAGE)
        items, last = aws.tables.decisions.newest("by_day", {"day": day}, size, after=after)
        for item in items:
            examined += 1
            after = {name: item[name] for name in ("day", "recorded", "photo_id", "execution")}
            decision = _decision(item)
            if decision and wanted.admits(decision):
                found.append(decision)
            if len(found) == limit or examined >= _MAX_EXAMINED:
                return DecisionPage(tuple(found), _write_cursor(after), examined)
        empty_days = 0 if items else empty_days + 1
        after = last
        if last is None:
            if day == date.min.isoformat():
                break
            day = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    return DecisionPage(tuple(found), "", examined)


def find_decisions(aws: Aws, text: str) -> tuple[RecordedDecision, ...]:
    """Find decisions by a photo's SHA-256 or an execution's name, newest first; none if there is no such."""
    text = text.strip()
    if not text or len(text) > 1024:
        return ()
    table = aws.tables.decisions
    items = list(table.query({"photo_id": text})) if len(text) == 64 else []
    for key in [] if items else table.query({"execution": text}, "by_execution"):
        items += [item] if (item := table.get({name: key[name] for name in ("photo_id", "execution")})) else []
    found = [decision for item in items if (decision := _decision(item))]
    return tuple(sorted(found, key=lambda decision: decision.recorded, reverse=True))


def count_by_hour(aws: Aws, hours: int, max_records: int) -> tuple[dict[str, Counter[str]], str]:
    """Count the outcomes of the last *hours* by the hour, from the newest *max_records* on.

    Also returns the time before which records were not counted; empty if all were.
    """
    now = datetime.now(UTC)
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    counts = {f"{first + timedelta(hours=hour):%Y-%m-%dT%H}": Counter[str]() for hour in range(hours)}
    left = max_records
    for item in _since(aws, now, f"{first:%Y-%m-%dT%H}"):
        if not left:
            return counts, str(item["recorded"])
        left -= 1
        if (hour := str(item["recorded"])[:13]) in counts and (decision := _decision(item)):
            counts[hour][decision.outcome] += 1
    return counts, ""


def _since(aws: Aws, now: datetime, first: str) -> Iterator[Item]:
    day = now
    while f"{day:%Y-%m-%d}" >= first[:10]:
        after: Item | None = None
        while True:
            key: Item = {"day": f"{day:%Y-%m-%d}"}
            items, after = aws.tables.decisions.newest("by_day", key, _COUNTED_PAGE, after=after)
            for item in items:
                if str(item["recorded"]) < first:
                    return
                yield item
            if after is None:
                break
        day -= timedelta(days=1)


def states_of(definition: Mapping[str, Any], outcome: Outcome) -> dict[str, str]:
    """What became of each state of an ended execution, "succeeded" or "failed", as its recorded outcome tells.

    Express executions keep no history: the way is followed through the *definition*, from the start to where the
    outcome's error is caught first.
    """
    error, name = ERROR_OF_OUTCOME.get(outcome, "States.ALL"), str(definition["StartAt"])
    caught = outcome is Outcome.CLASSIFIED
    found: dict[str, str] = {}
    while name in definition["States"] and name not in found:
        state = definition["States"][name]
        target = "" if caught else next((c["Next"] for c in state.get("Catch", ()) if error in c["ErrorEquals"]), "")
        found[name] = "failed" if target or state["Type"] == "Fail" else "succeeded"
        caught = caught or bool(target)
        name = str(target or state.get("Next") or state.get("Default") or "")
    return found


def read_photo(aws: Aws, decision: RecordedDecision) -> bytes | None:
    """Read the photo of a decision; None if it is gone, or travelled in its event."""
    if not decision.key:
        return None
    return aws.bucket.beside(decision.bucket).find(decision.key)


def _decision(item: Mapping[str, Any]) -> RecordedDecision | None:
    """Read a record; None for the marks of dispatches and reviews, and for what is damaged."""
    found = item.get("outcome") or item.get("ruling")
    if not found:
        return None
    classes, inferences = item.get("classes") or (), item.get("inferences") or ()
    try:
        return RecordedDecision(
            photo_id=str(item["photo_id"]),
            execution=str(item["execution"]),
            recorded=str(item.get("recorded", "")),
            outcome=Outcome(str(found)),
            label=str(item.get("label", "")),
            confidence=float(item.get("confidence") or 0),
            threshold=float(item.get("threshold") or 0),
            probabilities={str(name): float(value) for name, value in zip(classes, inferences, strict=False)},
            model_version=str(item.get("model_version", "")),
            courier=str(item.get("courier_id", "")),
            dispatch=str(item.get("dispatch", "none")),
            orders=tuple(str(order) for order in item.get("orders") or ()),
            bucket=str(item.get("s3_bucket", "")),
            key=str(item.get("s3_key", "")),
            reason=str(item.get("reason", "")),
            unfamiliarity=float(value) if (value := item.get("unfamiliarity")) is not None else None,
        )
    except (TypeError, ValueError):
        return None


class _Cursor(msgspec.Struct):
    day: str
    recorded: str
    photo_id: str
    execution: str


def _write_cursor(key: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, Item]:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=_Cursor)
        found.day = _day(found.day)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise InvalidQuery("the listing cannot be continued from there; start again with the newest") from error
    return found.day, msgspec.structs.asdict(found)


def _day(day: str) -> str:
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError as error:
        raise InvalidQuery(f"{day!r} is not a day; write it as in 2026-11-30") from error

"""Recorded decisions, listed by time without a scan."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scones.deployment.template import state_machine
from scones.domain.decision import Outcome
from scones.pipeline import Pipeline
from scones.steps.decisions import (
    DecisionFilter,
    InvalidQuery,
    RecordedDecision,
    _decision,
    count_by_hour,
    find_decisions,
    list_decisions,
    read_photo,
    states_of,
)
from tiny_model import plain_photo


def record(number: int, when: datetime, **changes: object) -> dict[str, object]:
    """A record as the Dispatch function writes it."""
    recorded = f"{when:%Y-%m-%dT%H:%M:%S.%fZ}"
    usual = {
        "outcome": "classified",
        "label": "bicycle",
        "confidence": 0.9,
        "threshold": 0.8,
        "courier_id": f"c{number}",
    }
    inferences = {"inferences": [0.9, 0.1], "classes": ["bicycle", "motorcycle"]}
    keys = {"photo_id": f"{when:%Y}{number:060d}", "execution": f"e{when:%Y}{number}"}
    return {**usual, **inferences, **keys, "recorded": recorded, "day": recorded[:10], "dispatch": "none", **changes}


def put(flow: Pipeline, *records: dict[str, object]) -> None:
    """Write records into the table."""
    flow.aws.tables.decisions.put_all(list(records))  # type: ignore[arg-type]


def walk(flow: Pipeline, wanted: DecisionFilter, limit: int) -> list[RecordedDecision]:
    """All pages of a listing, one after the other."""
    found: list[RecordedDecision] = []
    cursor = ""
    while True:
        page = list_decisions(flow.aws, wanted, limit, cursor)
        found += page.decisions
        cursor = page.cursor
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_have_every_decision_once_newest_first_across_days(flow: Pipeline, limit: int) -> None:
    """Also where several were recorded at the same moment, and where days between are empty."""
    days = [datetime(1993, 3, 20, tzinfo=UTC), datetime(1993, 3, 11, tzinfo=UTC), datetime(1993, 3, 10, tzinfo=UTC)]
    put(flow, *(record(number, days[number % 3] + timedelta(seconds=number // 6)) for number in range(24)))
    found = walk(flow, DecisionFilter(day="1993-03-25"), limit)
    assert len({item.execution for item in found}) == len(found) == 24
    assert [item.recorded for item in found] == sorted((item.recorded for item in found), reverse=True)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (DecisionFilter(outcome="failed"), {3}),
        (DecisionFilter(label="motorcycle"), {1}),
        (DecisionFilter(courier="c2"), {2}),
        (DecisionFilter(low=0.95), {4}),
        (DecisionFilter(high=0.5), {5}),
        (DecisionFilter(model="m7"), {0}),
        (DecisionFilter(courier="c2", outcome="failed"), set()),
    ],
)
def test_a_filter_admits_what_it_says(flow: Pipeline, wanted: DecisionFilter, numbers: set[int]) -> None:
    """Each part of it, and two together."""
    day = datetime(1995, 5, 5, 12, tzinfo=UTC)
    changes: list[dict[str, object]] = [
        {"model_version": "m7"},
        {"label": "motorcycle"},
        {},
        {"outcome": "failed"},
        {"confidence": 0.99},
        {"confidence": 0.4},
    ]
    put(flow, *(record(number, day, **change) for number, change in enumerate(changes)))
    found = walk(flow, replace(wanted, day="1995-05-05"), 10)
    assert {int(item.execution.removeprefix("e1995")) for item in found} == numbers


@pytest.mark.parametrize("cursor", ["x", "e30=", "!!", "eyJkYXkiOjF9", "é", "A" * 5000])
def test_a_damaged_cursor_is_refused(flow: Pipeline, cursor: str) -> None:
    """It comes from an address that anyone can change."""
    with pytest.raises(InvalidQuery):
        list_decisions(flow.aws, DecisionFilter(), 5, cursor)


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "2026-11-30'--"])
def test_what_is_no_day_is_refused(flow: Pipeline, day: str) -> None:
    """With the form that is wanted."""
    with pytest.raises(InvalidQuery, match="2026-11-30"):
        list_decisions(flow.aws, DecisionFilter(day=day), 5)


@pytest.mark.parametrize("day", ["0001-01-01", "0001-02-03", "9999-12-31"])
def test_the_first_and_the_last_day_can_be_listed(flow: Pipeline, day: str) -> None:
    """Before the first there is none; after today there is nothing yet."""
    page = list_decisions(flow.aws, DecisionFilter(day=day, courier="unknown"), 5)
    assert page.decisions == ()


@pytest.mark.parametrize(
    ("confidence", "low", "high", "admitted"),
    [
        (0.9996, 1.0, 1.0, True),
        (0.9994, 1.0, 1.0, False),
        (0.9996, 0.9996, 0.9996, True),
        (0.9996, 0.0, 0.9996, True),
        (0.9994, 0.0, 99.9 / 100, True),
        (0.9996, 0.0, 99.9 / 100, False),
        (0.5, 0.5, 0.5, True),
    ],
)
def test_a_confidence_is_bounded_as_it_is_shown(confidence: float, low: float, high: float, admitted: bool) -> None:
    """100% admits what is shown as 100.0%."""
    decision = _decision(record(1, datetime(1993, 3, 20, tzinfo=UTC), confidence=confidence))
    assert decision
    assert DecisionFilter(low=low, high=high).admits(decision) is admitted


def test_what_the_workflow_records_is_listed_found_and_counted(flow: Pipeline) -> None:
    """By its execution, by its photo, and in the hour of now."""
    sample = flow.upload("seen.png", plain_photo(201))
    (done,) = flow.classify_samples([sample]).executions
    (found,) = find_decisions(flow.aws, done.name)
    assert (found.label, found.outcome, found.probabilities["motorcycle"]) == (
        done.label,
        done.outcome,
        done.confidence,
    )
    assert done.name in {item.execution for item in find_decisions(flow.aws, sample.sha256)}
    assert done.name in {item.execution for item in list_decisions(flow.aws, DecisionFilter(), 500).decisions}
    assert read_photo(flow.aws, found) == plain_photo(201)
    counts, before = count_by_hour(flow.aws, 2, 5000)
    assert sum(count[Outcome.CLASSIFIED] for count in counts.values()) >= 1
    assert before == ""
    assert sum(count.total() for count in count_by_hour(flow.aws, 2, 0)[0].values()) == 0


@pytest.mark.parametrize("text", ["", " ", "x", "0" * 64, "é" * 64, "x" * 5000])
def test_what_is_not_recorded_is_not_found(flow: Pipeline, text: str) -> None:
    """Neither an error, nor another decision."""
    assert find_decisions(flow.aws, text) == ()


def test_damaged_records_are_left_out(flow: Pipeline) -> None:
    """One record must not hide its neighbors."""
    day = datetime(1997, 7, 7, tzinfo=UTC)
    put(
        flow,
        record(0, day),
        record(1, day, outcome="unheard of"),
        record(2, day, confidence="much"),
        record(3, day, classes=5),
    )
    assert {item.execution for item in walk(flow, DecisionFilter(day="1997-07-07"), 10)} == {"e19970"}


@pytest.mark.parametrize(
    ("outcome", "last", "failed"),
    [
        (Outcome.CLASSIFIED, "Dispatch", set()),
        (Outcome.BELOW_THRESHOLD, None, {"FilterInferences"}),
        (Outcome.OUT_OF_DISTRIBUTION, None, {"FilterInferences"}),
        (Outcome.UNREADABLE, None, {"SerializeImage"}),
    ],
)
def test_the_way_through_the_workflow_follows_the_outcome(outcome: Outcome, last: str | None, failed: set[str]) -> None:
    """As the state machine that is deployed defines it."""
    found = states_of(state_machine("classify.asl.json"), outcome)
    assert next(iter(found)) == "SerializeImage"
    assert {name for name, status in found.items() if status == "failed"} - {"ExecutionFailed"} == failed
    if last:
        assert list(found)[-1] == last

"""The evaluation of alarms, against CloudWatch's own documented tables and its rules."""

from collections.abc import Sequence
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones_local.cloudwatch import AlarmRule, AlarmState, MissingData, evaluate, evaluated_until

TREATMENTS: tuple[MissingData, ...] = get_args(MissingData)
KEPT = "kept"
"""The table's "retain current state"."""


def rule(periods: int, datapoints: int, missing: MissingData) -> AlarmRule:
    """At least 1 breaches."""
    return AlarmRule(periods, datapoints, "GreaterThanOrEqualToThreshold", 1.0, missing)


def read(row: str) -> list[float | None]:
    """A row of the documentation's tables: 0 is within the threshold, X breaches it, - is missing."""
    return [{"0": 0.0, "X": 1.0, "-": None}[mark] for mark in row.split()]


@pytest.mark.parametrize(
    ("datapoints", "row", "states"),
    [
        (3, "0 - X - X", ("OK", "OK", "OK", "OK")),
        (3, "0 - - - -", ("OK", "OK", "OK", "OK")),
        (3, "- - - - -", ("INSUFFICIENT_DATA", KEPT, "ALARM", "OK")),
        (3, "0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, "- - X - -", ("ALARM", KEPT, "ALARM", "OK")),
        (2, "0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 - X - -", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - - 0", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - X -", ("ALARM", KEPT, "ALARM", "OK")),
    ],
)
def test_the_documented_tables_hold(datapoints: int, row: str, states: Sequence[str]) -> None:
    """All three, and two, of three datapoints: each treatment of missing data gives the state that AWS prints."""
    for current in get_args(AlarmState):
        found = [evaluate(rule(3, datapoints, missing), read(row), current) for missing in TREATMENTS]
        assert found == [current if state == KEPT else state for state in states]


VALUES = st.lists(st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=9)
RULES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from(TREATMENTS)).map(
    lambda drawn: rule(drawn[0], min(drawn[:2]), drawn[2])
)
STATES = st.sampled_from(cast("list[AlarmState]", list(get_args(AlarmState))))


@given(RULES, VALUES, STATES)
def test_enough_data_makes_treatment_and_history_irrelevant(
    asked: AlarmRule, values: list[float | None], was: AlarmState
) -> None:
    """With as many datapoints as there are evaluation periods, only the newest of those count."""
    real = [value for value in values if value is not None]
    if len(real) >= asked.periods:
        breaching = sum(value >= 1 for value in real[-asked.periods :])
        assert evaluate(asked, values, was) == ("ALARM" if breaching >= asked.datapoints else "OK")


@given(RULES, VALUES, STATES)
def test_only_breaching_data_or_its_treatment_alarms(
    asked: AlarmRule, values: list[float | None], was: AlarmState
) -> None:
    """Without any breaching datapoint an alarm is new only where missing data counts as breaching."""
    if 1.0 not in values and asked.missing != "breaching" and was != "ALARM":
        assert evaluate(asked, values, was) != "ALARM"


@given(RULES, st.integers(0, 8), STATES)
def test_an_alarm_returns_to_ok_once_good_data_comes(asked: AlarmRule, before: int, was: AlarmState) -> None:
    """As many good datapoints as there are periods end any alarm."""
    assert evaluate(asked, [1.0] * before + [0.0] * asked.periods, was) == "OK"


@given(RULES, STATES)
def test_silence_is_what_the_treatment_says(asked: AlarmRule, was: AlarmState) -> None:
    """No data at all: unknown, kept, bad or good."""
    expected = {"missing": "INSUFFICIENT_DATA", "ignore": was, "breaching": "ALARM", "notBreaching": "OK"}
    assert evaluate(asked, [None] * asked.evaluated_periods, was) == expected[asked.missing]


@given(st.floats(1e9, 2e9), st.sampled_from([10, 30, 60, 300]))
def test_only_whole_periods_count(moment: float, period: int) -> None:
    """What is still going on is not judged: up to a second for short periods, up to a minute for the others."""
    until = evaluated_until(moment, period)
    assert until <= moment < until + (1 if period < 60 else 60)
    assert until % (1 if period < 60 else 60) == 0

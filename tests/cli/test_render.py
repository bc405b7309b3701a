import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from reports.test_evaluation import everything
from scones.cli.render import render
from scones.data.dataset import ExcludedFile
from scones.domain.decision import Outcome
from scones.domain.progress import verbose
from scones.domain.vehicles import vehicle_limits, write_limits
from scones.steps.classify import ClassifyResult
from scones.steps.down import TeardownReport
from scones.steps.monitor import LearnedDays
from scones.steps.stage import StageResult
from scones.steps.up import StackOutputs


def test_every_photo_left_out_is_a_line_of_its_own() -> None:
    """Never silently."""
    left_out = (ExcludedFile("a.png", "is cut short"), ExcludedFile("b.txt", "is no photo"))
    staged = StageResult("mine", "photos", "", "v1", ("bicycle", "motorcycle"), 8, 2, 10, left_out)
    assert render(staged).splitlines()[-2:] == ["left out: a.png: is cut short", "left out: b.txt: is no photo"]


@pytest.mark.parametrize(("left", "words"), [((), "nothing is left"), (("bucket b",), "not everything was deleted")])
def test_a_receipt_says_whether_anything_remains(left: tuple[str, ...], words: str) -> None:
    """The last line is the verdict."""
    receipt = TeardownReport(("stack s", *left), ("stack s",), 3, (), left, 0.23, 0.0)
    assert render(receipt).splitlines()[-1] == f"listed again: {words}"
    assert "stopped: $0.230 an hour" in render(receipt)


def test_an_evaluation_says_what_generalises() -> None:
    """Accuracy by source, and on sources left out, with n and interval; and what it does not show."""
    lines = render(everything()).splitlines()
    assert "accuracy on sources left out of training 88.0% [80.2% to 93.0%, 95%], n = 100" in lines
    assert "  <i>phone</i>: left out of training 88.8% [80.0% to 94.0%, 95%], n = 80" in lines
    assert "  (no source): test photos " in "\n".join(lines)
    many = replace(everything(), by_source=everything().by_source[:1] * 30, warnings=("all of one",))
    assert {"  and 20 more; --verbose lists them", "warning: all of one"} < set(render(many).splitlines())


def test_a_result_without_words_of_its_own_is_its_fields() -> None:
    """Nothing that a verb found out is hidden."""
    assert render(LearnedDays(50, 5)) == "photos: 50\ndays: 5"


def test_a_stack_is_said_in_words() -> None:
    """Its threshold as a percentage, and what couriers of each class may get."""
    rules = write_limits(vehicle_limits(("bicycle", "tram"), {}))
    outputs = StackOutputs("s", "b", "w", "h", "a", "f", "c", "o", "d", 0.8, "", "", ("bicycle", "tram"), rules)
    lines = render(outputs).splitlines()
    assert lines[0] == "stack s: classes bicycle, tram; threshold 80%"
    assert lines[1].startswith("dispatch rules of bicycle: trips of 0 to 5 km, pick-ups up to 3 km away, 40 litres,")
    assert "tables c, o, d" in lines


def test_no_executions_are_counted_as_none() -> None:
    """An empty batch is no error."""
    assert (
        render(ClassifyResult(())) == "0 classified, 0 below threshold, 0 out of distribution, 0 unreadable, 0 failed"
    )


def test_an_evaluation_has_its_interval_its_guarantee_and_the_optional_parts() -> None:
    """Accuracy with n, the threshold with its guarantee, each corruption, the other model, load with its errors."""
    lines = render(everything()).splitlines()
    assert lines[0] == "accuracy 90.0% [76.9% to 96.0%, 95%], n = 40"
    assert lines[1] == "cross-validated accuracy on the training photos 99.0% [98.2% to 99.5%, 95%], n = 1000"
    assert sum(line.startswith("noise") for line in lines) == 3
    assert any("at most 3.0% of routed photos are wrong" in line for line in lines)
    assert any(line.startswith("against <b>rival</b>: this model is better") for line in lines)
    assert "endpoint, 4 clients: 0/s, no response, 9 errors" in lines


def test_drawings_come_first_and_failed_requirements_last() -> None:
    """Drawings cannot be taken for photos, nor a failed gate for a passed one."""
    evaluation = everything()
    failed = tuple(replace(check, passed=False) for check in evaluation.gate[:1])
    lines = render(
        replace(evaluation, data=replace(evaluation.data, kind="rendered"), gate=failed, report="r.html")
    ).splitlines()
    assert lines[0].startswith("DRAWINGS, not photos")
    assert lines[-3].startswith("gate failed: gate_accuracy")
    assert lines[-2].startswith("next: ")


PYTHON = re.compile(
    r"[(\[{]['\"]|\b(None|True|False)\b|<[\w.]+[ :]|\w+\(\w+=|object at 0x|np\.|datetime\.|PosixPath|mappingproxy|: $"
)
"""How Python writes a tuple, a mapping, an enum, an object, a date or nothing."""
SHARE = re.compile(r"(?<!-)\b(accuracy|confidence|threshold|coverage|share)\b( \w+){0,3}[:,]? [01]?\.\d", re.IGNORECASE)
"""A share that is no percentage; an option of a command is one."""
ONE = re.compile(r"(?<![\d.,:/#-])\b1 (?!times|class\b|is\b|has\b|was\b|s\b)[a-z-]+s\b")
NOISE = re.compile(r"\d\.\d{10}")


def unclear(lines: Sequence[str]) -> list[str]:
    """The lines that a person stumbles over: said twice, as Python writes it, `1 photos`, shares as decimals."""
    plain = [line for line in lines if line and not line.startswith(("preflight: ", " "))]
    twice = [line for line, count in Counter(plain).items() if count > 1]
    return twice + [line for line in plain if any(each.search(line) for each in (PYTHON, SHARE, ONE, NOISE))]


@pytest.mark.parametrize(
    "line",
    ["accuracy 0.93", "threshold: 0.8", "1 photos uploaded", "threshold 0.30000000000000004", "built: None", "a\na"],
)
def test_an_unclear_line_would_be_found(line: str) -> None:
    """Also where it is said twice."""
    assert unclear(line.splitlines())
    assert not unclear(["accuracy 93.0%", "run: scones up --threshold 0.93", "1 photo of 21 photos", "ROC AUC 0.99"])


@dataclass(frozen=True)
class Nested:
    """A value within a value."""

    kind: Outcome
    share: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Anything:
    """A result without lines of its own."""

    value: object


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        ("", "none"),
        ((), "none"),
        ({}, "none"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.1 + 0.2, "0.3"),
        (("bicycle", "motorcycle"), "bicycle, motorcycle"),
        (["a", None], "a, none"),
        ({"data-version": "v1", "n": 5}, "data version v1, n 5"),
        (MappingProxyType({"a": True}), "a yes"),
        (Outcome.BELOW_THRESHOLD, "below_threshold"),
        (Path("/a/b"), "/a/b"),
        ('{"van": [0, 5.0, "A"]}', "van 0, 5, A"),
        ("[unread", "[unread"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (Nested(Outcome.CLASSIFIED, 0.5, ("a",)), "kind classified, share 0.5, names a"),
        ((Nested(Outcome.CLASSIFIED, 0.5),), "kind classified, share 0.5, names none"),
        (np.float64(0.25), "0.25"),
    ],
)
def test_no_value_is_shown_as_python_writes_it(value: object, words: str) -> None:
    """Whatever a result holds; `--json` has it as JSON."""
    for shown in (render(Anything(value)), render({"value": value})):
        assert shown == f"value: {words}"
        assert not PYTHON.search(shown)


def test_a_long_list_is_folded_until_it_is_asked_for() -> None:
    """The summary comes first, and says how many there are."""
    files = tuple(ExcludedFile(f"{number}.png", "is truncated") for number in range(25))
    staged = StageResult(
        "photos", "photos", "", "v", ("a", "b"), 90, 10, 100, files, photo_pixels=760, model_pixels=224
    )
    lines = render(replace(staged, warnings=("class a has few photos",))).splitlines()
    assert lines[0].startswith("photos: 90 training and 10 test photos")
    assert "photo size: median 760 px on the shorter side; the model sees 224 px" in lines
    assert lines.index("left out: 25 files, listed below") < lines.index("class a has few photos")
    assert lines[-1] == "and 15 more; --verbose lists them"
    token = verbose.set(True)
    try:
        assert render(staged).count("is truncated") == 25
    finally:
        verbose.reset(token)

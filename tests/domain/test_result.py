"""Results: every one is a short, escaped table in a notebook, a data frame and a figure, by one mechanism."""

import inspect
import re
import runpy
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib import pyplot

from reports.test_evaluation import everything
from scones.deployment.pricing import Workload, cost_table, estimate, plan_batch
from scones.domain.errors import MissingExtra, ResultError
from scones.domain.result import StepResult
from scones.model.prediction import Prediction, PredictResult
from scones.retraining import PythonPipeline
from scones.steps.stage import StageResult

ROOT = Path(__file__).parents[2]
HOSTILE = '<script>alert("a")</script>\x1b[2J\u202e' + "x" * 5000
PREDICTED = PredictResult(
    Prediction(f"{n}.png", "bicycle", n / 100, probabilities={"bicycle": n / 100}) for n in range(50)
)
RESULTS: tuple[StepResult, ...] = (
    everything(),
    cost_table(Workload()),
    plan_batch(10**6),
    estimate(Workload()),
    PREDICTED,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A nested value."""

    x_km: float
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Visit(StepResult):
    """A result with every kind of part."""

    title: str
    places: tuple[Place, ...] = ()
    counts: Mapping[str, int] | None = None
    words: tuple[str, ...] = ()
    best: Place | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A measurement that may be missing."""

    start: int
    end: float | None


@dataclass(frozen=True, slots=True)
class Track(StepResult):
    """A result of measurements."""

    spans: tuple[Span, ...]


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Figures are drawn into memory, and closed."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def results() -> Iterator[tuple[str, type]]:
    """What each public method of the pipeline returns."""
    names = runpy.run_path(str(ROOT / "docs" / "results.py"))["_imported_names"]()
    for name, method in inspect.getmembers(PythonPipeline, inspect.isfunction):
        kind = None if name.startswith("_") else typing.get_type_hints(method, localns=names).get("return")
        for each in typing.get_args(kind) or (kind,):
            if is_dataclass(each) and isinstance(each, type):
                yield name, each


def test_every_method_of_the_pipeline_returns_such_a_result() -> None:
    """Photos and their lists aside, which are no results of a step."""
    found = dict(results())
    assert len(found) >= 25
    assert {name for name, kind in found.items() if not issubclass(kind, StepResult)} <= {
        "upload",
        "dispatch_rules",
        "samples",
        "test_samples",
    }


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_is_short_in_a_notebook_and_has_a_table_and_a_figure(result: StepResult) -> None:
    """Whatever it contains."""
    html = result._repr_html_()
    assert html.count("<tr>") <= 40
    assert len(html) <= 10_000
    assert len(result.to_pandas()) > 0
    axes = result.plot()
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert axes.lines or axes.patches


@pytest.mark.parametrize(
    "part", ["gate", "curve", "threshold", "threshold.selection.curve", "robustness", "metrics.per_class"]
)
def test_a_part_is_named_as_in_the_reference(part: str) -> None:
    """The page of the results has these names; nested fields become columns with dots."""
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert re.search(rf"^{re.escape(part)}[.\[]", page, re.MULTILINE)
    frame = everything().to_pandas(part)
    assert len(frame) > 0
    assert "interval.low" in frame.columns or part != "robustness"


def test_the_predictions_of_an_evaluation_are_a_row_for_each_photo() -> None:
    """Its fields are columns."""
    frame = everything().to_pandas()
    assert list(frame.columns) == ["keys", "labels", "probabilities"]
    assert len(frame) == everything().metrics.n


@pytest.mark.parametrize("foreign", ["title", "words", "counts", "places", "best"])
def test_no_part_of_a_foreign_text_becomes_markup(foreign: str) -> None:
    """Escaped, cut, and without control characters, wherever it is."""
    parts: dict[str, dict[str, object]] = {
        "title": {},
        "words": {"words": (HOSTILE, HOSTILE)},
        "counts": {"counts": {HOSTILE: 1}},
        "places": {"places": (Place(1, HOSTILE),)},
        "best": {"best": Place(1, HOSTILE)},
    }
    result = Visit(title=HOSTILE if foreign == "title" else "t", **parts[foreign])  # type: ignore[arg-type]
    shown = [result._repr_html_(), PredictResult([Prediction(HOSTILE, HOSTILE, 1, error=HOSTILE)])._repr_html_()]
    for html in shown:
        parser = Tags()
        parser.feed(html)
        assert parser.found <= {"b", "table", "tr", "th", "td"}
        assert "\x1b" not in html
        assert "\u202e" not in html
        assert len(html) < 3000


class Tags(HTMLParser):
    """Collects the names of the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Keep its name."""
        del attrs
        self.found.add(tag)


def test_every_kind_of_part_is_a_frame() -> None:
    """Rows, a mapping, plain values, a nested value, nothing; without a table of its own, the plain fields."""
    visit = Visit("t", (Place(1), Place(2, "b")), {"a": 1, "b": 2}, ("u", "v"))
    assert visit.to_pandas().to_dict("records") == [{"title": "t", "counts.a": 1, "counts.b": 2, "best": None}]
    assert visit.to_pandas("places")["x_km"].tolist() == [1, 2]
    assert visit.to_pandas("counts").to_dict("list") == {"name": ["a", "b"], "value": [1, 2]}
    assert visit.to_pandas("words")["value"].tolist() == ["u", "v"]
    assert visit.to_pandas("title")["value"].tolist() == ["t"]
    assert visit.to_pandas("best").empty
    assert Visit("t", best=Place(3)).to_pandas("best.x_km")["value"].tolist() == [3]


@pytest.mark.parametrize(
    "part", ["nothing", "places.x_km", "threshold.nothing", "title.upper", "__class__", ".", "places."]
)
def test_a_part_that_is_not_there_is_an_error_that_names_the_others(part: str) -> None:
    """In one line."""
    with pytest.raises(ResultError, match=r"there is no .*; there are ") as caught:
        Visit("t", (Place(1),)).to_pandas(part)
    assert "\n" not in str(caught.value)


def test_numbers_are_a_line_words_are_bars_and_one_column_is_counted() -> None:
    """On axes that are given, or on new ones."""
    visit = Visit("t", (Place(1, "a"), Place(2, "a"), Place(3, "b")), {"a": 1, "b": 5})
    axes = pyplot.subplots()[1]
    assert visit.plot("places", "x_km", "x_km", ax=axes) is axes
    assert axes.lines[0].get_ydata().tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert [bar.get_width() for bar in visit.plot("counts", "name", "value").patches] == [1, 5]  # type: ignore[attr-defined]
    assert [bar.get_width() for bar in visit.plot("places", "name").patches] == [2, 1]  # type: ignore[attr-defined]
    assert sum(bar.get_height() for bar in visit.plot("places", "x_km").patches) == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("part", "x", "y", "words"),
    [
        ("", "", "", "by naming a column as x; it has title"),
        ("places", "", "", "by naming a column as x; it has x_km, name"),
        ("places", "x", "", "no column 'x'; there are x_km, name"),
        ("places", "name", "name", "only numbers can be drawn"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_what_can(part: str, x: str, y: str, words: str) -> None:
    """In one line, and without a figure that stays open."""
    with pytest.raises(ResultError, match=re.escape(words)):
        Visit("t", (Place(1, "a"),)).plot(part, x, y)


@pytest.mark.parametrize("name", [r"$\frac{", "$x$ and $y$", HOSTILE, "", "a\nb", "%s", "{0}"])
def test_any_name_can_be_drawn(name: str) -> None:
    """Also two of the same, and one that a formula would begin with."""
    axes = Visit("t", (Place(1, name), Place(2, name), Place(3, None))).plot("places", "name", "x_km")
    assert [bar.get_width() for bar in axes.patches] == [1, 2, 3]  # type: ignore[attr-defined]
    axes.figure.canvas.draw()


def test_a_gap_in_a_line_is_a_gap_and_an_empty_part_is_an_error() -> None:
    """What was not measured is None."""
    places = (Span(1, 2.5), Span(2, None), Span(3, float("nan")), Span(4, float("inf")))
    axes = Track(places).plot("spans", "start", "end")
    axes.figure.canvas.draw()
    assert [str(value) for value in axes.lines[0].get_ydata(orig=False)] == ["2.5", "nan", "nan", "inf"]  # type: ignore[union-attr]
    with pytest.raises(ResultError, match=r"^Visit.places is empty: there is nothing to draw$"):
        Visit("t").plot("places", "x_km")


def test_without_pandas_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command; tables in a notebook and figures need no pandas."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"^pandas is not installed; run: .* -m pip install 'scones\[pandas\]'$"):
        PREDICTED.to_pandas()
    assert "<table>" in StageResult("n", "photos", "", "v", ("a",), 1, 1, 1, ())._repr_html_()
    assert PREDICTED.plot().patches


def test_every_figure_and_table_of_a_class_is_a_part_that_it_has() -> None:
    """For all results of the pipeline: a renamed field would be noticed here."""
    for name, kind in results():
        if not issubclass(kind, StepResult):
            continue
        for path in {kind.TABLE, kind.FIGURE[0]} - {""}:
            found: object = kind
            for field in path.split("."):
                hints = typing.get_type_hints(found)
                assert field in hints, (name, path)
                found = hints[field]

"""Models, releases and pages of an environment, however a model is named."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import deployed, new_settings, put_away, stage_test_photos
from scones.aws.registry import ApprovalStatus, NoSuchModel
from scones.data.labels import Label
from scones.domain.errors import SconesError
from scones.domain.progress import Silent
from scones.environment import NotRegistered, read_reference
from scones.model.model_file import InvalidModelFile
from scones.pipeline import Pipeline
from scones.steps.approve import approve, register
from scones.steps.compare import CannotCompare
from scones.steps.models import NoPage, ReleaseOutcome
from scones_local.cloud import Cloud
from tiny_model import tar, write_tiny_model_file


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Remember."""
        self.lines.append(line)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of another model, whose content differs."""
    folder = tmp_path_factory.mktemp("second")
    write_tiny_model_file(folder / "model", swapped=True)
    (folder / "model.tar.gz").write_bytes(tar(folder / "model"))
    return folder / "model.tar.gz"


@pytest.fixture(scope="module")
def both(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes, second: Path) -> Iterator[Pipeline]:
    """An environment with two registered models, of which the first is live, and four test photos."""
    flow = deployed(new_settings(cloud, tmp_path_factory.mktemp("both")), tiny_model)
    stage_test_photos(flow)
    uri = flow.aws.bucket.put("models/second/output/model.tar.gz", second.read_bytes())
    package = register(flow.aws, flow.settings, uri, Silent())
    approve(flow.aws, package.number, ApprovalStatus.APPROVED, "for the test", Silent())
    yield flow
    put_away(flow.aws)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (4, 4),
        ("4", 4),
        ("04", 4),
        ("./4", Path("4")),
        ("\u0664", Path("\u0664")),
        ("-4", Path("-4")),
        ("4.0", Path("4.0")),
        ("s3://b/m.tar.gz", "s3://b/m.tar.gz"),
        ("s3:/b/m.tar.gz", "s3://b/m.tar.gz"),
        (Path("s3://b/m.tar.gz"), "s3://b/m.tar.gz"),
        ("a/model.tar.gz", Path("a/model.tar.gz")),
        (Path("model"), Path("model")),
        ("s3x", Path("s3x")),
    ],
)
def test_a_model_is_named_by_number_path_or_uri(named: int | str | Path, found: object) -> None:
    """However it was typed; `./4` is a file."""
    assert read_reference(named) == found


def test_a_model_is_found_by_each_of_its_names(both: Pipeline, second: Path) -> None:
    """In the registry, by commands that decide about it; another is named with what to run."""
    uri = both.aws.registry.get(2).model_uri
    for named in (2, "2", uri, Path(uri), second, str(second), second.with_name("model")):
        assert both.model(named).number == 2
    with pytest.raises(NoSuchModel, match="no model 9"):
        both.model("9")
    with pytest.raises(NotRegistered, match="scones models"):
        both.model("s3://elsewhere/model.tar.gz")
    with pytest.raises(InvalidModelFile):
        both.model(__file__)
    both.approve(uri, "it confuses scooters", reject=True)
    assert both.approve(second).approval is ApprovalStatus.APPROVED


def test_models_are_compared_whichever_way_they_are_named(both: Pipeline, second: Path) -> None:
    """On the same test photos, in both directions; what cannot be compared is refused with the reason."""
    uri = both.aws.registry.get(1).model_uri
    expected = both.compare(1, 2)
    assert expected.photos == "test photos"
    assert expected.figures.n == 4
    assert expected.difference > 0
    for one, other in ((uri, second), ("1", second.with_name("model")), (Path(uri), "2")):
        found = both.compare(one, other)
        assert (found.difference, found.low, found.high) == (expected.difference, expected.low, expected.high)
    back = both.compare(second, 1)
    assert (back.difference, back.low, back.high) == (-expected.difference, -expected.high, -expected.low)
    for same, again in ((1, 1), (2, second), (uri, 1)):
        with pytest.raises(CannotCompare):
            both.compare(same, again)
    first, verdict = expected.lines()
    assert "on the same 4 test photos: +" in first
    assert " points [" in first
    assert verdict


def test_models_and_releases_say_which_is_live(both: Pipeline) -> None:
    """With the gate's verdict, the data, and who deployed it."""
    newest, oldest = both.models().models
    assert (newest.number, newest.live, oldest.number, oldest.live) == (2, False, 1, True)
    assert newest.status is ApprovalStatus.APPROVED
    assert oldest.n == 400
    assert oldest.accuracy == pytest.approx(0.9)
    (release,) = both.releases().releases
    assert (release.number, release.model, release.outcome, release.live) == (1, 1, ReleaseOutcome.LIVE, True)
    assert release.person == both.aws.person


def test_a_second_deploy_compares_the_model_with_the_live_one(both: Pipeline) -> None:
    """Before the endpoint changes; deploying the live model again says nothing of it."""
    heard = Heard()
    flow = Pipeline(both.aws, both.settings, heard)
    flow.deploy(1)
    assert not [line for line in heard.lines if "on the same" in line]
    flow.deploy(2)
    told = [line for line in heard.lines if "on the same 4 test photos" in line]
    assert len(told) == 1
    assert told[0].startswith("accuracy of model 2 ")
    assert "waiting until" in heard.lines[heard.lines.index(told[0]) + 2]
    both.approve(2, "it confuses scooters", reject=True)
    assert [each.outcome for each in both.releases().releases] == [ReleaseOutcome.LIVE, ReleaseOutcome.EARLIER]
    both.rollback(1, now=True)
    assert both.releases().releases[0].live


def test_the_newest_page_is_a_report_or_an_alert(both: Pipeline, tmp_path: Path) -> None:
    """Whichever is newer; an alert is copied to this machine."""
    with pytest.raises(NoPage, match="scones evaluate"):
        both.open(tmp_path)
    with pytest.raises(NoPage, match="has no alert; to check for drift, run: scones monitor"):
        both.open(tmp_path, alert=True)
    (tmp_path / "deep").mkdir()
    report = tmp_path / "deep" / "evaluation.html"
    report.write_text("report")
    assert both.open(tmp_path).page == str(report)
    os.utime(report, (1, 1))
    uri = both.aws.bucket.put("monitor/alerts/20260101-000000.html", b"alert")
    both.aws.bucket.put("monitor/alerts/20270101-000000.json", b"{}")
    (tmp_path / ".#evaluation.html").symlink_to(tmp_path / "gone")
    found = both.open(str(tmp_path))
    assert found.uri == uri
    # The copy is as old as the alert, and is no report of another environment.
    assert both.open(tmp_path) == found
    os.utime(report, None)
    assert both.open(tmp_path).page == str(report)
    assert both.open(tmp_path, alert=True) == found
    assert Path(found.page).read_text() == "alert"
    both.aws.bucket.remove(["monitor/alerts/20260101-000000.html", "monitor/alerts/20270101-000000.json"])


@pytest.mark.parametrize("name", ["labels.csv", "deep/labels.jsonl"])
def test_labels_come_out_as_a_table_that_can_come_in_again(both: Pipeline, tmp_path: Path, name: str) -> None:
    """No spreadsheet takes what a person calls themselves for a formula."""
    photo = "a" * 64
    both.aws.tables.labels.add(Label(photo, "bicycle", "=cmd()", "2026-01-01T00:00:00.000000Z", confidence=0.75))
    file = tmp_path / name
    assert both.export_labels(file).labels == 1
    text = file.read_text("utf-8")
    assert photo in text
    assert ("'=cmd()" in text) == name.endswith(".csv")
    with pytest.raises(SconesError, match=r"\.csv or \.jsonl"):
        both.export_labels(tmp_path / "labels.xlsx")


@pytest.mark.parametrize("name", ["results.csv", "deep/results.parquet"])
def test_results_are_written_as_a_table(both: Pipeline, tmp_path: Path, name: str) -> None:
    """One row a photo; the name of a file is no formula, and an unknown format is refused before anything is sent."""
    photo = tmp_path / "=cmd.png"
    photo.write_bytes(both.aws.bucket.get("data/v/test/30.png"))
    both.classify([photo], output=tmp_path / name)
    if name.endswith(".csv"):
        with (tmp_path / name).open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["key"].endswith("=cmd.png")
        assert row["label"] == "bicycle"
        assert float(row["confidence"]) == pytest.approx(float(row["probability_bicycle"]), abs=1e-6)
    else:
        assert (tmp_path / name).read_bytes().startswith(b"PAR1")
    with pytest.raises(SconesError, match=r"\.csv or \.parquet"):
        both.classify([photo], output="results.xlsx")

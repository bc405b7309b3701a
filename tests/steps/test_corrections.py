"""Labels of training photos that the model contradicts are confirmed or corrected; the next data version has them."""

from pathlib import Path

import pytest

from conftest import create_labels_table
from data.test_growth import photo, sha, staged
from scones.aws.connection import Aws
from scones.cli.render import render
from scones.config.settings import Settings
from scones.data.dataset import Sample, from_lines
from scones.data.labels import InvalidLabels, Label
from scones.deployment.reviews import UnknownPhoto
from scones.domain.naming import manifest_key
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.pipeline import Pipeline
from scones.steps.corrections import correct, list_corrections, withdraw_correction
from scones.steps.stage import stage
from scones.steps.train import TrainingResult
from scones.steps.up import StackOutputs
from steps.test_stage_report import model_of

CLASSES = ("bicycle", "motorcycle")
DOUBTED = sha(photo(4))
"""The first training photo, a bicycle that the model takes for a motorcycle."""


@pytest.fixture
def flow(aws: Aws, settings: Settings, tmp_path: Path) -> Pipeline:
    """Staged photos, a model that contradicts the label of one, and a table of labels."""
    result = stage(aws, settings, staged(), Silent())
    save_result(aws, "stage", result)
    model = model_of(aws, tmp_path / "model", staged(), result.version)
    save_result(aws, "train", TrainingResult(model.job, model.model_uri, result.version, CLASSES, {}, 1.0))
    save_result(aws, "up", StackOutputs("s", "b", "w", "h", "a", "f", "c", "o", "d", 0.8))
    create_labels_table(aws)
    return Pipeline(aws, settings, Silent())


def staged_photo(flow: Pipeline, version: str, photo_id: str = DOUBTED) -> Sample:
    """A training photo as a data version has it."""
    lines = flow.aws.bucket.get(manifest_key(version, "train"))
    return next(it for it in from_lines(lines, flow.aws.bucket.name) if it.sha256 == photo_id)


def test_a_corrected_label_is_in_the_next_version_with_who_corrected_it(flow: Pipeline) -> None:
    """And is contradicted no more; the test photos and all other labels stay."""
    found = flow.corrections()
    (item,) = found.items
    assert (item.photo, item.label, item.predicted, found.open) == (DOUBTED, "bicycle", "motorcycle", 1)
    assert flow.aws.bucket.get(item.key) == photo(4)
    assert "labelled bicycle, the model says motorcycle at 95%" in render(found)
    said = flow.correct(DOUBTED, "motorcycle", "ann")
    assert "corrected from bicycle to motorcycle by ann" in render(said)
    assert (flow.corrections().open, flow.corrections().decided) == (0, 1)
    before, grown = found.version, flow.stage(with_labels=True)
    assert (grown.labelled, grown.left_out) == (1, ())
    after = staged_photo(flow, grown.version)
    assert after.label == "motorcycle"
    assert after.provenance
    assert (after.provenance.by, after.provenance.origin, after.provenance.photo) == ("ann", "correction", DOUBTED)
    assert flow.aws.bucket.get(after.key) == photo(4)
    assert staged_photo(flow, before).label == "bicycle"
    assert flow.corrections().items == ()


def test_a_confirmed_label_is_asked_about_no_more_and_changes_nothing(flow: Pipeline) -> None:
    """The next version is the same; what was withdrawn is asked about again."""
    said = flow.correct(DOUBTED, "bicycle", "ann")
    assert render(said) == f"{DOUBTED}: confirmed by ann"
    assert flow.corrections().items == ()
    assert flow.stage(with_labels=True).version == flow.corrections().version
    assert "withdrawn by ann" in render(flow.withdraw_correction(DOUBTED, "ann"))
    assert flow.corrections().open == 1


def test_a_label_about_which_people_disagree_stays_as_it_was(flow: Pipeline) -> None:
    """The second person is told what the first said; when they agree, it is corrected."""
    flow.correct(DOUBTED, "motorcycle", "ann")
    second = flow.correct(DOUBTED, "other", "bob")
    assert second.others == {"ann": "motorcycle"}
    assert "the label stays as it is until all agree" in render(second)
    assert staged_photo(flow, flow.stage(with_labels=True).version).label == "bicycle"
    assert flow.correct(DOUBTED, "motorcycle", "bob").others == {}
    assert staged_photo(flow, flow.stage(with_labels=True).version).label == "motorcycle"


def test_what_is_no_correction_is_refused_with_the_reason(flow: Pipeline) -> None:
    """No photo of the training set, a test photo, no class, no name, and nothing to withdraw."""
    version = flow.corrections().version
    for photo_id in ("0" * 64, sha(photo(1)), "", "a\x1b[31m"):
        with pytest.raises(UnknownPhoto, match="is not among the training photos"):
            correct(flow.aws, version, photo_id, "bicycle", "ann")
    with pytest.raises(InvalidLabels, match="unknown class 'tram'; the classes are bicycle, motorcycle, other"):
        flow.correct(DOUBTED, "tram", "ann")
    with pytest.raises(InvalidLabels, match="is not a name"):
        correct(flow.aws, version, DOUBTED, "bicycle", " ")
    # An answer to a review of the same photo is no correction.
    flow.aws.tables.labels.add(Label(DOUBTED, "bicycle", "eve", "2026-11-30T10:00:00+00:00"))
    with pytest.raises(InvalidLabels, match="has not corrected"):
        withdraw_correction(flow.aws, version, DOUBTED, "eve")


def test_a_model_of_other_photos_contradicts_none(flow: Pipeline) -> None:
    """Photos are compared by content: another version with the same names has other photos."""
    trained = flow.aws.bucket.uri("models/m/output/model.tar.gz")
    assert list_corrections(flow.aws, flow.corrections().version, "another", trained, 10).items == ()

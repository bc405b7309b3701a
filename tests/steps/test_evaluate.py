"""A model is evaluated in the same way behind its endpoint and in its file."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scones.config.settings import Settings
from scones.data.dataset import Dataset, LabelledPhoto, Sample, Split, labelled_photo
from scones.data.decode import decode
from scones.domain.progress import Silent
from scones.environment import load_result
from scones.evaluation.comparison import Comparison
from scones.evaluation.evaluation import CannotEvaluate
from scones.model.model_file import OUT_OF_FOLD, ModelDescription, write_model_file
from scones.pipeline import Pipeline
from scones.steps.deploy import DeployResult
from scones.steps.evaluate import DeployedModel, EvaluationOptions, LocalModel, evaluate
from scones.steps.up import StackOutputs
from tiny_model import noisy_pngs, plain_photo, probability, write_tiny_model_file

CLASSES = ("bicycle", "motorcycle")
LEVELS = (40, 60, 100, 150, 200, 220)


class Recorder(Silent):
    """Keeps the lines that a person would see."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)


def labelled(data: Sequence[bytes], split: Split) -> tuple[LabelledPhoto, ...]:
    """Label photos as the tiny model would, except for each tenth."""
    said = [probability(float(decode(photo, 32).mean())) > 0.5 for photo in data]
    truths = [CLASSES[int(one != (index % 10 == 9))] for index, one in enumerate(said)]
    return tuple(
        labelled_photo(f"{index}.png", truth, split, photo)
        for index, (truth, photo) in enumerate(zip(truths, data, strict=True))
    )


@pytest.fixture(scope="module")
def collection() -> Dataset:
    """The training photos of the tiny model, and a few test photos."""
    test = labelled([plain_photo(level) for level in LEVELS], "test")
    return Dataset("grays", "photos", labelled(noisy_pngs(400, seed=1), "train") + test, CLASSES)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The tiny model, unpacked."""
    write_tiny_model_file(tmp_path / "tiny")
    return tmp_path / "tiny"


def deployed(flow: Pipeline, samples: Sequence[Sample]) -> DeployedModel:
    """The deployed model, with these photos staged."""
    result = load_result(flow.aws, "deploy", DeployResult)
    workflow = load_result(flow.aws, "up", StackOutputs).workflow_arn
    return DeployedModel(
        flow.aws, result.endpoint, result.model_uri, workflow, tuple(samples), data_name="grays", data_kind="photos"
    )


def uploaded(flow: Pipeline, collection: Dataset) -> list[Sample]:
    """The test photos of the collection and two dozen of its training photos, in the bucket."""
    chosen = [photo for photo in collection.photos if photo.split == "test"] + list(collection.photos[:24])
    samples = []
    for photo in chosen:
        sample = flow.upload(f"{photo.split}-{photo.name}", photo.data)
        samples.append(Sample(sample.key, photo.label, photo.split, sample.sha256))
    return samples


def gray_samples(flow: Pipeline, levels: dict[int, str]) -> list[Sample]:
    """Test photos of these gray levels, with these labels, in the bucket."""
    uploads = [(flow.upload(f"{level}.png", plain_photo(level)), label) for level, label in levels.items()]
    return [Sample(sample.key, label, "test", sample.sha256) for sample, label in uploads]


def test_a_model_file_is_evaluated_without_an_endpoint(model_file: Path, collection: Dataset, tmp_path: Path) -> None:
    """It gives metrics, a threshold from the out-of-fold predictions, a page and a JSON file."""
    report = tmp_path / "reports" / "model.html"
    found = evaluate(LocalModel(model_file, collection), Settings(), EvaluationOptions(report), Silent())
    assert found.metrics.n == len(LEVELS)
    assert found.metrics.accuracy == 1
    assert (found.threshold.source, found.threshold.photos) == ("out_of_fold", 400)
    assert found.report == str(report)
    assert "How good is this model?" in report.read_text()
    assert json.loads(report.with_suffix(".json").read_bytes())["model"]["version"] == found.model.version


def test_an_archive_gives_the_results_of_its_folder(
    model_file: Path, collection: Dataset, tiny_model: bytes, tmp_path: Path
) -> None:
    """The predictions of model.tar.gz are those of its folder."""
    (tmp_path / "model.tar.gz").write_bytes(tiny_model)
    options = EvaluationOptions(tmp_path / "r.html")
    one, other = (
        evaluate(LocalModel(path, collection), Settings(), options, Silent())
        for path in (model_file, tmp_path / "model.tar.gz")
    )
    assert one.predictions == other.predictions
    assert one.metrics == other.metrics


def test_a_model_compared_with_itself_is_no_better(model_file: Path, collection: Dataset, tmp_path: Path) -> None:
    """No prediction differs, and the gate passes."""
    options = EvaluationOptions(tmp_path / "r.html", against=model_file)
    found = evaluate(LocalModel(model_file, collection), Settings(), options, Silent())
    assert isinstance(found.comparison, Comparison)
    assert (found.comparison.changed, found.comparison.p_value) == ((), 1)
    assert found.gate[-1].passed


def test_training_photos_are_excluded_from_the_test_photos(
    model_file: Path, collection: Dataset, tmp_path: Path
) -> None:
    """Their number is reported; where no other photo is left, that is an error."""
    seen = tuple(replace(photo, split="test") for photo in collection.photos[:3])
    recorder = Recorder()
    mixed = replace(collection, photos=(*collection.photos, *seen))
    found = evaluate(LocalModel(model_file, mixed), Settings(), EvaluationOptions(tmp_path / "r.html"), recorder)
    assert found.metrics.n == len(LEVELS)
    assert f"3 of {len(LEVELS) + 3} test photos are left out: the model was trained on them" in recorder.lines
    only = replace(collection, photos=seen)
    with pytest.raises(CannotEvaluate, match="trained on every one"):
        evaluate(LocalModel(model_file, only), Settings(), EvaluationOptions(tmp_path / "r.html"), Silent())


def test_without_out_of_fold_predictions_the_threshold_is_selected_on_halves(
    model_file: Path, collection: Dataset, tmp_path: Path
) -> None:
    """As earlier versions wrote the file; a message says what follows."""
    (model_file / OUT_OF_FOLD).unlink()
    about = ModelDescription(CLASSES, 32, 1.0, "test", {}, "2026-01-01T00:00:00Z", 0)
    write_model_file(model_file, about, "A model for tests.\n")
    recorder = Recorder()
    found = evaluate(LocalModel(model_file, collection), Settings(), EvaluationOptions(tmp_path / "r.html"), recorder)
    assert found.threshold.source == "halves"
    assert any("has no out-of-fold predictions" in line for line in recorder.lines)


def test_the_ood_detector_is_tested_on_photos_of_other_things(tmp_path: Path) -> None:
    """And on generated images; a file that is not a photo is named and left out."""
    write_tiny_model_file(tmp_path / "guarded", guarded=True)
    others = tmp_path / "others" / "test"
    others.mkdir(parents=True)
    (tmp_path / "others" / "learnt.png").write_bytes(plain_photo(255))
    (others / "notes.txt").write_text("no photo")
    for level in (0, 10, 128):
        (others / f"{level}.png").write_bytes(plain_photo(level))
    photos = Dataset("grays", "photos", labelled([plain_photo(level) for level in LEVELS], "test"), CLASSES)
    options = EvaluationOptions(tmp_path / "r.html", ood=True, unfamiliar=str(tmp_path / "others"))
    recorder = Recorder()
    ood = evaluate(LocalModel(tmp_path / "guarded", photos), Settings(), options, recorder).ood
    assert ood is not None
    assert [(group.kind, group.n) for group in ood.groups] == [("flat and noise", 300), ("other things", 3)]
    assert ood.groups[1].keys == ("test/0.png", "test/10.png", "test/128.png")
    assert ood.groups[1].accepted == pytest.approx(1 / 3)
    assert (ood.n, ood.rejected) == (len(LEVELS), 0)
    assert any(line.startswith("test/notes.txt is left out") for line in recorder.lines)


def test_a_photo_that_cannot_be_read_is_left_out_and_no_other(
    flow: Pipeline, collection: Dataset, model_file: Path
) -> None:
    """Behind an endpoint and in a file: the others are measured, and the line says which it is and why."""
    report = Recorder()
    broken = labelled_photo("broken.png", "bicycle", "test", plain_photo(90)[:60])
    local = replace(collection, photos=(*collection.photos, broken))
    result = evaluate(LocalModel(model_file, local), Settings(), EvaluationOptions(), report)
    flow.aws.bucket.put("data/broken.png", broken.data)
    flow.aws.bucket.put("data/large.png", plain_photo(90) + bytes(7 << 20))
    odd = [Sample(f"data/{name}.png", "bicycle", "test", name) for name in ("broken", "large")]
    behind = evaluate(deployed(flow, [*uploaded(flow, collection), *odd]), Settings(), EvaluationOptions(), report)
    assert result.data.photos == behind.data.photos == len(LEVELS)
    left_out = [line for line in report.lines if "is left out: it " in line]
    assert [line.split()[0] for line in left_out] == ["test/bicycle/broken.png", "data/broken.png", "data/large.png"]


def test_a_model_file_cannot_be_load_tested(model_file: Path, collection: Dataset) -> None:
    """Only an endpoint can."""
    with pytest.raises(CannotEvaluate, match="only an endpoint"):
        evaluate(LocalModel(model_file, collection), Settings(), EvaluationOptions(load=True), Silent())


def test_the_endpoint_gives_the_results_of_its_model_file(
    flow: Pipeline, model_file: Path, collection: Dataset, tmp_path: Path
) -> None:
    """The same predictions within float32, and the same model version."""
    options = EvaluationOptions(tmp_path / "r.html")
    live = evaluate(deployed(flow, uploaded(flow, collection)), flow.settings, options, Silent())
    filed = evaluate(LocalModel(model_file, collection), flow.settings, options, Silent())
    assert live.model.version == filed.model.version
    assert live.metrics.confusion == filed.metrics.confusion
    for one, other in zip(live.predictions.probabilities, filed.predictions.probabilities, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert live.threshold.source == "out_of_fold"


@pytest.mark.slow
def test_load_reaches_endpoint_and_workflow_and_monitoring_ignores_it(
    quiet: Pipeline, collection: Dataset, tmp_path: Path
) -> None:
    """Both answer without errors at 64 clients; a photo below the threshold counts as answered, too."""
    settings = Settings(load_seconds=2, load_requests=70, threshold=0.8)
    model = deployed(quiet, uploaded(quiet, collection))
    found = evaluate(model, settings, EvaluationOptions(tmp_path / "r.html", load=True), Silent())
    assert [load.target for load in found.load] == ["endpoint", "workflow"]
    for load in found.load:
        assert [level.errors for level in load.levels] == [{}] * 4
    quiet.classify_samples([sample for sample in model.samples if sample.split == "test"][:1])
    assert quiet.monitor(at_least=1).photos == 1


def test_the_pipeline_evaluates_the_last_deployed_model_on_the_last_staged_photos(
    own_flow: Pipeline, tmp_path: Path
) -> None:
    """On the staged test photos and no others; the page names the data."""
    for label, levels in (("bicycle", range(20, 50)), ("motorcycle", range(200, 230))):
        (tmp_path / "plain" / label).mkdir(parents=True)
        for level in levels:
            (tmp_path / "plain" / label / f"{level}.png").write_bytes(plain_photo(level))
    flow = replace(own_flow, settings=replace(own_flow.settings, data=str(tmp_path / "plain")))
    staged = flow.stage()
    found = flow.evaluate(EvaluationOptions(tmp_path / "r.html"))
    assert found.metrics.n == staged.test
    assert found.metrics.accuracy == 1
    assert (found.data.name, found.data.kind) == (staged.name, "photos")
    assert staged.name in (tmp_path / "r.html").read_text()


def test_the_metrics_are_those_of_the_endpoints_predictions(flow: Pipeline) -> None:
    """Two of three are right, and the confusion matrix says which is wrong; no page is written unless requested."""
    samples = gray_samples(flow, {40: "bicycle", 220: "motorcycle", 200: "bicycle"})
    result = evaluate(deployed(flow, samples), flow.settings, EvaluationOptions(), Silent())
    assert result.metrics.n == 3
    assert result.metrics.accuracy == pytest.approx(2 / 3)
    assert result.metrics.confusion == ((1, 1), (0, 1))
    assert result.predictions.probabilities[1][1] == pytest.approx(probability(220), abs=1e-5)
    assert (result.report, result.ood) == ("", None)


def test_training_photos_are_never_evaluated(flow: Pipeline) -> None:
    """Without test photos there is nothing to evaluate."""
    training = [Sample("data/x/train/a.png", "bicycle", "train", "0" * 64)]
    with pytest.raises(CannotEvaluate, match="no test photos"):
        evaluate(deployed(flow, training), flow.settings, EvaluationOptions(), Silent())


def test_monitoring_ignores_evaluation(quiet: Pipeline) -> None:
    """Evaluation requests are no traffic: the monitor sees only the user's photo."""
    samples = gray_samples(quiet, {40: "bicycle", 220: "motorcycle"})
    evaluate(deployed(quiet, samples), quiet.settings, EvaluationOptions(), Silent())
    quiet.classify_samples(samples[:1])
    assert quiet.monitor(at_least=1).photos == 1

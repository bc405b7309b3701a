"""A model is judged the same way behind its endpoint and in its model file."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scones.config.settings import Settings
from scones.data.dataset import Collection, LabelledPhoto, Split, photo_of
from scones.data.decode import decode
from scones.data.manifest import Sample
from scones.domain.progress import Silent
from scones.evaluation.comparison import Comparison
from scones.evaluation.examination import CannotEvaluate
from scones.model.model_file import OUT_OF_FOLD, ModelDescription, write_model_file
from scones.pipeline import Pipeline, load_result
from scones.steps.deploy import DeployResult
from scones.steps.study import Served, Wanted, study_endpoint, study_model_file
from scones.steps.up import StackOutputs
from tiny_model import noisy_pngs, plain_photo, probability, write_tiny_model_file

CLASSES = ("bicycle", "motorcycle")
LEVELS = (40, 60, 100, 150, 200, 220)


class Told(Silent):
    """Remembers what a person was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)


def labelled(data: Sequence[bytes], split: Split) -> tuple[LabelledPhoto, ...]:
    """Name photos as the tiny model would, but for each tenth."""
    said = [probability(float(decode(photo, 32).mean())) > 0.5 for photo in data]
    truths = [CLASSES[int(one != (index % 10 == 9))] for index, one in enumerate(said)]
    return tuple(
        photo_of(f"{index}.png", truth, split, photo)
        for index, (truth, photo) in enumerate(zip(truths, data, strict=True))
    )


@pytest.fixture(scope="module")
def collection() -> Collection:
    """The training photos that the tiny model keeps answers to, and a few to judge by."""
    test = labelled([plain_photo(level) for level in LEVELS], "test")
    return Collection("grays", "photos", labelled(noisy_pngs(400, seed=1), "train") + test, CLASSES)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The tiny model, unpacked."""
    write_tiny_model_file(tmp_path / "tiny")
    return tmp_path / "tiny"


def served(flow: Pipeline, collection: Collection) -> Served:
    """What stands, with these photos staged; two dozen training photos are enough here."""
    chosen = [photo for photo in collection.photos if photo.split == "test"] + list(collection.photos[:24])
    samples = []
    for photo in chosen:
        sample = flow.upload(f"{photo.split}-{photo.name}", photo.data)
        samples.append(Sample(sample.key, photo.label, photo.split, sample.sha256))
    deployed = load_result(flow.aws.bucket, "deploy", DeployResult, flow.settings.env)
    workflow = load_result(flow.aws.bucket, "up", StackOutputs, flow.settings.env).workflow_arn
    return Served(deployed.endpoint, deployed.model_uri, workflow, tuple(samples), ("grays", "photos"))


def test_a_model_file_is_judged_without_an_endpoint(model_file: Path, collection: Collection, tmp_path: Path) -> None:
    """The figures, a threshold from the out-of-fold answers that it keeps, a page and a JSON file."""
    report = tmp_path / "reports" / "model.html"
    found = study_model_file(model_file, collection, Settings(), Wanted(report), Silent())
    assert found.metrics.n == len(LEVELS)
    assert found.metrics.accuracy == 1
    assert (found.threshold.source, found.threshold.photos) == ("out_of_fold", 400)
    assert found.report == str(report)
    assert "How good is this model?" in report.read_text()
    assert json.loads(report.with_suffix(".json").read_bytes())["model"]["version"] == found.model.version


def test_a_packed_model_file_is_the_same(
    model_file: Path, collection: Collection, tiny_model: bytes, tmp_path: Path
) -> None:
    """model.tar.gz gives the answers of its folder."""
    (tmp_path / "model.tar.gz").write_bytes(tiny_model)
    wanted = Wanted(tmp_path / "r.html")
    one, other = (
        study_model_file(path, collection, Settings(), wanted, Silent())
        for path in (model_file, tmp_path / "model.tar.gz")
    )
    assert one.answers == other.answers
    assert one.metrics == other.metrics


def test_a_model_compared_with_itself_is_no_better(model_file: Path, collection: Collection, tmp_path: Path) -> None:
    """No photo differs, and the gate stays open."""
    wanted = Wanted(tmp_path / "r.html", against=model_file)
    found = study_model_file(model_file, collection, Settings(), wanted, Silent())
    assert isinstance(found.comparison, Comparison)
    assert (found.comparison.changed, found.comparison.p_value) == ((), 1)
    assert found.gate[-1].passed


def test_photos_that_the_model_learnt_from_do_not_judge_it(
    model_file: Path, collection: Collection, tmp_path: Path
) -> None:
    """They are left out, and counted; where nothing else is left, that is an error."""
    seen = tuple(replace(photo, split="test") for photo in collection.photos[:3])
    told = Told()
    mixed = replace(collection, photos=(*collection.photos, *seen))
    found = study_model_file(model_file, mixed, Settings(), Wanted(tmp_path / "r.html"), told)
    assert found.metrics.n == len(LEVELS)
    assert f"3 of {len(LEVELS) + 3} test photos are left out: the model has learnt from them" in told.lines
    only = replace(collection, photos=seen)
    with pytest.raises(CannotEvaluate, match="learnt from every one"):
        study_model_file(model_file, only, Settings(), Wanted(tmp_path / "r.html"), Silent())


def test_a_model_file_without_out_of_fold_answers_is_judged_on_halves(
    model_file: Path, collection: Collection, tmp_path: Path
) -> None:
    """As earlier versions wrote it; what that means for the threshold is told."""
    (model_file / OUT_OF_FOLD).unlink()
    about = ModelDescription(CLASSES, 32, 1.0, "test", {}, "2026-01-01T00:00:00Z", 0)
    write_model_file(model_file, about, "A model for tests.\n")
    told = Told()
    found = study_model_file(model_file, collection, Settings(), Wanted(tmp_path / "r.html"), told)
    assert found.threshold.source == "halves"
    assert any("keeps no out-of-fold answers" in line for line in told.lines)


def test_the_guard_is_judged_by_photos_of_other_things(tmp_path: Path) -> None:
    """By pictures of nothing and by a folder of other photos; a file that is no photo is named and left out."""
    write_tiny_model_file(tmp_path / "guarded", guarded=True)
    others = tmp_path / "others" / "test"
    others.mkdir(parents=True)
    (tmp_path / "others" / "learnt.png").write_bytes(plain_photo(255))
    (others / "notes.txt").write_text("no photo")
    for level in (0, 10, 128):
        (others / f"{level}.png").write_bytes(plain_photo(level))
    photos = Collection("grays", "photos", labelled([plain_photo(level) for level in LEVELS], "test"), CLASSES)
    wanted, told = Wanted(tmp_path / "r.html", unfamiliar=str(tmp_path / "others")), Told()
    guard = study_model_file(tmp_path / "guarded", photos, Settings(), wanted, told).guard
    assert guard is not None
    assert [(kind.kind, kind.n) for kind in guard.strangers] == [("flat and noise", 300), ("other things", 3)]
    assert guard.strangers[1].keys == ("test/0.png", "test/10.png", "test/128.png")
    assert guard.strangers[1].accepted == pytest.approx(1 / 3)
    assert (guard.n, guard.refused) == (len(LEVELS), 0)
    assert any(line.startswith("test/notes.txt is left out") for line in told.lines)


def test_a_model_file_takes_no_load(model_file: Path, collection: Collection, tmp_path: Path) -> None:
    """Only what is served can be put under load."""
    with pytest.raises(CannotEvaluate, match="only an endpoint"):
        study_model_file(model_file, collection, Settings(), Wanted(tmp_path / "r.html", load=True), Silent())


def test_the_endpoint_gives_the_figures_of_its_model_file(
    flow: Pipeline, model_file: Path, collection: Collection, tmp_path: Path
) -> None:
    """The same photos, the same answers within float32, the same model version."""
    wanted = Wanted(tmp_path / "r.html")
    live = study_endpoint(flow.aws, flow.settings, served(flow, collection), wanted, Silent())
    filed = study_model_file(model_file, collection, flow.settings, wanted, Silent())
    assert live.model.version == filed.model.version
    assert live.metrics.confusion == filed.metrics.confusion
    for one, other in zip(live.answers.probabilities, filed.answers.probabilities, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert live.threshold.source == "out_of_fold"


@pytest.mark.slow
def test_load_reaches_endpoint_and_workflow_and_the_monitor_passes_it_over(
    quiet: Pipeline, collection: Collection, tmp_path: Path
) -> None:
    """Both answer without errors at 64 clients; a photo below the threshold counts as answered, too."""
    settings = Settings(load_seconds=2, load_requests=70, threshold=0.8)
    standing = served(quiet, collection)
    found = study_endpoint(quiet.aws, settings, standing, Wanted(tmp_path / "r.html", load=True), Silent())
    assert [load.target for load in found.load] == ["endpoint", "workflow"]
    for load in found.load:
        assert [level.errors for level in load.levels] == [{}] * 4
    quiet.classify_samples([sample for sample in standing.samples if sample.split == "test"][:1])
    assert quiet.monitor(at_least=1).photos == 1


def test_the_flow_judges_what_was_staged_and_deployed_last(own_flow: Pipeline, tmp_path: Path) -> None:
    """By the staged test photos and no others; the page calls the data by its name."""
    for label, levels in (("bicycle", range(20, 50)), ("motorcycle", range(200, 230))):
        (tmp_path / "plain" / label).mkdir(parents=True)
        for level in levels:
            (tmp_path / "plain" / label / f"{level}.png").write_bytes(plain_photo(level))
    flow = replace(own_flow, settings=replace(own_flow.settings, data=str(tmp_path / "plain")))
    staged = flow.stage()
    found = flow.study(Wanted(tmp_path / "r.html"))
    assert found.metrics.n == staged.test
    assert found.metrics.accuracy == 1
    assert (found.data.name, found.data.kind) == (staged.name, "photos")
    assert staged.name in (tmp_path / "r.html").read_text()

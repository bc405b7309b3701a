import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Collection, LeftOut, photo_of
from scones.domain.keys import report_key
from scones.domain.progress import Silent
from scones.model.model_file import OUT_OF_FOLD, write_model_file
from scones.model.out_of_fold import OutOfFold
from scones.pipeline import Pipeline, save_result
from scones.steps.stage import stage
from scones.steps.survey import Learnt, Surveyed, survey
from scones.steps.train import TrainingResult
from tiny_model import plain_photo, tar, write_tiny_model_file

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Twelve photos."""
    photos = tuple(
        photo_of(f"é {level}.png", CLASSES[level > 100], "test" if level % 2 else "train", plain_photo(level))
        for level in (10, 12, 20, 31, 41, 51, 150, 160, 170, 171, 181, 191)
    )
    return Collection("mine", "photos", photos, CLASSES, (LeftOut("notes.txt", "is no photo"),))


def model_of(aws: Aws, folder: Path, collection: Collection, version: str) -> Learnt:
    """A model that takes the first training photo for a motorcycle, and every other for what its label says."""
    about = write_tiny_model_file(folder)
    train = [photo for photo in collection.photos if photo.split == "train"]
    answers = np.array([[0.9, 0.1] if photo.label == "bicycle" else [0.1, 0.9] for photo in train])
    answers[0] = 0.05, 0.95
    names = tuple(f"{photo.label}/{photo.name}" for photo in train)
    labels = tuple(photo.label for photo in train)
    OutOfFold(CLASSES, names, labels, answers, names).save(folder / OUT_OF_FOLD)
    write_model_file(folder, about, "A model for tests.\n")
    uri = aws.bucket.put("models/m/output/model.tar.gz", tar(folder))
    return Learnt("job-7", uri, version)


def test_the_report_lies_beside_the_manifest_and_on_this_machine(
    aws: Aws, settings: Settings, collection: Collection, tmp_path: Path
) -> None:
    """A page and JSON, the same in both places, with every file that was left out."""
    version = stage(aws, settings, collection, Silent()).version
    page = tmp_path / "new" / "data.html"
    survey(aws, Surveyed(collection, version), page, Silent())
    assert aws.bucket.get(report_key(version, "html")) == page.read_bytes()
    assert "notes.txt" in page.read_text("utf-8")
    figures = json.loads(page.with_suffix(".json").read_bytes())
    assert (figures["version"], figures["left_out"]) == (version, [["notes.txt", "is no photo"]])
    assert json.loads(aws.bucket.get(report_key(version, "json"))) == figures


def test_labels_are_doubted_once_a_model_has_learnt(
    aws: Aws, settings: Settings, collection: Collection, tmp_path: Path
) -> None:
    """The photo is listed with what the model takes it for; a relabelled one is not doubted any more."""
    version = stage(aws, settings, collection, Silent()).version
    assert survey(aws, Surveyed(collection, version), None, Silent()).doubted_by == ""
    model = model_of(aws, tmp_path / "model", collection, version)
    found = survey(aws, Surveyed(collection, version, model), None, Silent())
    first = collection.photos[0]
    assert found.doubted_by == "job-7"
    assert [(name, label) for name, label, _ in found.doubts] == [(f"train/bicycle/{first.name}", "motorcycle")]
    mended = replace(collection, photos=(replace(first, label="motorcycle"), *collection.photos[1:]))
    again = stage(aws, settings, mended, Silent())
    assert survey(aws, Surveyed(mended, again.version, model), None, Silent()).doubts == ()


def test_a_model_of_other_photos_says_nothing_of_these(
    aws: Aws, settings: Settings, collection: Collection, tmp_path: Path
) -> None:
    """Photos are known by their content, whatever they are called."""
    version = stage(aws, settings, collection, Silent()).version
    model = model_of(aws, tmp_path / "model", collection, version)
    others = tuple(
        photo_of(photo.name, photo.label, photo.split, plain_photo(255 - number))
        for number, photo in enumerate(collection.photos)
    )
    found = survey(aws, Surveyed(replace(collection, photos=others), "v", model), None, Silent())
    assert (found.doubted_by, found.doubts) == ("", ())


def test_a_damaged_model_does_not_keep_photos_from_being_staged(
    aws: Aws, settings: Settings, collection: Collection
) -> None:
    """Nor does one that is gone."""
    version = stage(aws, settings, collection, Silent()).version
    damaged = Learnt("job", aws.bucket.put("models/m.tar.gz", b"no archive"), version)
    for model in (damaged, replace(damaged, model_uri=aws.bucket.uri("models/gone"))):
        assert survey(aws, Surveyed(collection, version, model), None, Silent()).doubts == ()


def test_the_flow_asks_the_model_trained_last(aws: Aws, settings: Settings, tmp_path: Path) -> None:
    """`scones stage` on the same photos again lists its doubts, and uploads nothing."""
    photos = tmp_path / "photos"
    for number, label in enumerate(CLASSES):
        for split, count in (("train", 8), ("test", 4)):
            folder = photos / split / label
            folder.mkdir(parents=True)
            for level in range(count):
                data = plain_photo(10 + 100 * number + 10 * level + (5 if split == "test" else 0))
                (folder / f"é {level}.png").write_bytes(data)
    flow = Pipeline(aws, replace(settings, data=str(photos)), Silent())
    first = flow.stage()
    assert first.uploaded == 24
    collection = Collection(
        "photos",
        "photos",
        tuple(
            photo_of(file.name, file.parent.name, "train", file.read_bytes())
            for file in sorted((photos / "train").glob("*/*"))
        ),
        CLASSES,
    )
    model = model_of(aws, tmp_path / "model", collection, first.version)
    save_result(aws.bucket, "train", TrainingResult(model.job, model.model_uri, first.version, CLASSES, {}, 1.0))
    again = flow.stage(tmp_path / "data.html")
    assert (again.uploaded, again.version) == (0, first.version)
    assert json.loads((tmp_path / "data.json").read_bytes())["doubts"][0][:2] == ["train/bicycle/é 0.png", "motorcycle"]

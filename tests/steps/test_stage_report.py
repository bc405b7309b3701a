import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Dataset, ExcludedFile, labelled_photo
from scones.domain.naming import report_key
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.model.model_file import OUT_OF_FOLD, write_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.pipeline import Pipeline
from scones.steps.stage import DatasetReportOptions, TrainedModel, stage
from scones.steps.train import TrainingResult
from tiny_model import plain_photo, tar, write_tiny_model_file

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def collection() -> Dataset:
    """Twelve photos."""
    photos = tuple(
        labelled_photo(f"é {level}.png", CLASSES[level > 100], "test" if level % 2 else "train", plain_photo(level))
        for level in (10, 12, 20, 31, 41, 51, 150, 160, 170, 171, 181, 191)
    )
    return Dataset("mine", "photos", photos, CLASSES, (ExcludedFile("notes.txt", "is no photo"),))


def model_of(aws: Aws, folder: Path, collection: Dataset, version: str) -> TrainedModel:
    """A model that predicts motorcycle for the first training photo, and the label for every other."""
    about = write_tiny_model_file(folder)
    train = [photo for photo in collection.photos if photo.split == "train"]
    answers = np.array([[0.9, 0.1] if photo.label == "bicycle" else [0.1, 0.9] for photo in train])
    answers[0] = 0.05, 0.95
    names = tuple(f"{photo.label}/{photo.name}" for photo in train)
    labels = tuple(photo.label for photo in train)
    OutOfFoldPredictions(CLASSES, names, labels, answers, names).save(folder / OUT_OF_FOLD)
    write_model_file(folder, about, "A model for tests.\n")
    uri = aws.bucket.put("models/m/output/model.tar.gz", tar(folder))
    return TrainedModel("job-7", uri, version)


def figures_of(aws: Aws, version: str) -> dict[str, Any]:
    """The report's figures in the bucket."""
    return json.loads(aws.bucket.get(report_key(version, "json")))  # type: ignore[no-any-return]


def test_the_report_is_in_the_bucket_and_on_this_machine(
    aws: Aws, settings: Settings, collection: Dataset, tmp_path: Path
) -> None:
    """A page and JSON, the same in both places, with every file that was left out."""
    page = tmp_path / "new" / "data.html"
    version = stage(aws, settings, collection, Silent(), DatasetReportOptions(page)).version
    assert aws.bucket.get(report_key(version, "html")) == page.read_bytes()
    assert "notes.txt" in page.read_text("utf-8")
    figures = json.loads(page.with_suffix(".json").read_bytes())
    assert (figures["version"], figures["left_out"]) == (version, [["notes.txt", "is no photo"]])
    assert figures_of(aws, version) == figures


def test_a_trained_model_finds_label_issues(aws: Aws, settings: Settings, collection: Dataset, tmp_path: Path) -> None:
    """The photo is listed with the predicted class; once its label is corrected, it is not listed any more."""
    version = stage(aws, settings, collection, Silent()).version
    assert figures_of(aws, version)["label_issues_by"] == ""
    options = DatasetReportOptions(model=model_of(aws, tmp_path / "model", collection, version))
    stage(aws, settings, collection, Silent(), options)
    figures, first = figures_of(aws, version), collection.photos[0]
    assert figures["label_issues_by"] == "job-7"
    assert [issue[:2] for issue in figures["label_issues"]] == [[f"train/bicycle/{first.name}", "motorcycle"]]
    corrected = replace(collection, photos=(replace(first, label="motorcycle"), *collection.photos[1:]))
    again = stage(aws, settings, corrected, Silent(), options)
    assert figures_of(aws, again.version)["label_issues"] == []


def test_a_model_of_other_photos_checks_no_labels(
    aws: Aws, settings: Settings, collection: Dataset, tmp_path: Path
) -> None:
    """Photos are compared by their content, not by their names."""
    version = stage(aws, settings, collection, Silent()).version
    model = model_of(aws, tmp_path / "model", collection, version)
    others = tuple(
        labelled_photo(photo.name, photo.label, photo.split, plain_photo(255 - number))
        for number, photo in enumerate(collection.photos)
    )
    options = DatasetReportOptions(model=model)
    figures = figures_of(aws, stage(aws, settings, replace(collection, photos=others), Silent(), options).version)
    assert (figures["label_issues_by"], figures["label_issues"]) == ("", [])


def test_a_damaged_model_does_not_prevent_staging(aws: Aws, settings: Settings, collection: Dataset) -> None:
    """Nor does one that was deleted."""
    version = stage(aws, settings, collection, Silent()).version
    damaged = TrainedModel("job", aws.bucket.put("models/m.tar.gz", b"no archive"), version)
    for model in (damaged, replace(damaged, model_uri=aws.bucket.uri("models/gone"))):
        stage(aws, settings, collection, Silent(), DatasetReportOptions(model=model))
        assert figures_of(aws, version)["label_issues"] == []


def test_the_pipeline_checks_labels_with_the_last_trained_model(aws: Aws, settings: Settings, tmp_path: Path) -> None:
    """`scones stage` on the same photos again lists the label issues and uploads nothing."""
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
    collection = Dataset(
        "photos",
        "photos",
        tuple(
            labelled_photo(file.name, file.parent.name, "train", file.read_bytes())
            for file in sorted((photos / "train").glob("*/*"))
        ),
        CLASSES,
    )
    model = model_of(aws, tmp_path / "model", collection, first.version)
    save_result(aws, "train", TrainingResult(model.job, model.model_uri, first.version, CLASSES, {}, 1.0))
    again = flow.stage(tmp_path / "data.html")
    assert (again.uploaded, again.version) == (0, first.version)
    issues = json.loads((tmp_path / "data.json").read_bytes())["label_issues"]
    assert issues[0][:2] == ["train/bicycle/é 0.png", "motorcycle"]

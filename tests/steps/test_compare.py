"""Two registered models are compared on the photos that both predicted out of fold."""

from pathlib import Path

import numpy as np
import pytest

from scones.aws.connection import Aws
from scones.aws.registry import NoSuchModel
from scones.config.settings import Settings
from scones.data.dataset import Sample, to_lines
from scones.deployment.template import base_template
from scones.domain.naming import manifest_key
from scones.domain.progress import Silent
from scones.model.model_file import OUT_OF_FOLD, ModelDescription, write_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.pipeline import Pipeline
from scones.steps.approve import register
from scones.steps.compare import CannotCompare
from tiny_model import tar, write_tiny_model_file

CLASSES = ("bicycle", "motorcycle")
SURE = {"bicycle": (0.9, 0.1), "motorcycle": (0.2, 0.8), "van": (0.1, 0.9)}


def registered(flow: Pipeline, folder: Path, version: str, photos: dict[str, tuple[str, str]]) -> None:
    """Register a model of *photos*: content -> label and out-of-fold prediction."""
    write_tiny_model_file(folder)
    names = tuple(f"{label}/{content}.png" for content, (label, _) in photos.items())
    labels = tuple(label for label, _ in photos.values())
    answers = np.array([SURE[said] for _, said in photos.values()])
    classes = ("bicycle", "van") if "van" in labels else CLASSES
    # The models have different sizes, so the same photo has different pixels.
    marks = tuple(f"{folder.name} {content}" for content in photos)
    if photos:
        OutOfFoldPredictions(classes, names, labels, answers, marks).save(folder / OUT_OF_FOLD)
    else:
        (folder / OUT_OF_FOLD).unlink()
    about = ModelDescription(classes, 32, 1.0, version, {}, "2026-01-01T00:00:00Z", 0, None)
    write_model_file(folder, about, "A model for tests.\n")
    samples = [
        Sample(f"data/{version}/train/{name}", label, "train", content)
        for name, label, content in zip(names, labels, photos, strict=True)
    ]
    flow.aws.bucket.put(manifest_key(version, "train"), to_lines(samples, flow.aws.bucket.name, classes))
    uri = flow.aws.bucket.put(f"models/{folder.name}/output/model.tar.gz", tar(folder))
    register(flow.aws, flow.settings, uri, Silent())


@pytest.fixture
def flow(aws: Aws, settings: Settings) -> Pipeline:
    """An environment that can register models."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, Silent().tell)
    return Pipeline(aws, settings, Silent())


def test_models_of_two_data_versions_are_compared_by_the_photos_in_both(flow: Pipeline, tmp_path: Path) -> None:
    """Whatever the photos are called there; the labels are the newer model's, which a person may have corrected."""
    one, other = "bicycle", "motorcycle"
    first = {"a": (one, one), "b": (one, one), "c": (one, other), "x": (one, one)}
    second = {"b": (other, other), "a": (one, one), "c": (other, other), "y": (other, one)}
    registered(flow, tmp_path / "first", "v1", first)
    registered(flow, tmp_path / "second", "v2", second)
    found = flow.compare(1, 2)
    figures = found.figures
    assert (figures.n, figures.only_ours, figures.only_theirs, figures.both_wrong) == (3, 0, 1, 0)
    assert found.difference == pytest.approx(-1 / 3)
    assert -1 < found.low < found.difference < found.high < 1
    (photo,) = figures.changed
    assert (photo.name, photo.truth, photo.ours, photo.theirs) == ("data/v2/train/motorcycle/b.png", other, one, other)
    assert found.verdict == ("no significant difference: 0 photos only model 1 has right, 1 only model 2 (p = 1)")
    back = flow.compare(2, 1)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))


def test_models_that_cannot_be_compared_are_refused_with_the_reason(flow: Pipeline, tmp_path: Path) -> None:
    """The same model, other photos, other classes, no predictions, or no such model."""
    registered(flow, tmp_path / "first", "v1", {"a": ("bicycle", "bicycle")})
    registered(flow, tmp_path / "second", "v2", {"b": ("bicycle", "bicycle")})
    registered(flow, tmp_path / "third", "v3", {"a": ("van", "van"), "b": ("bicycle", "bicycle")})
    registered(flow, tmp_path / "fourth", "v4", {})
    for other, reason in ((1, "itself"), (2, "different photos"), (3, "different classes"), (4, "no out-of-fold")):
        with pytest.raises(CannotCompare, match=reason):
            flow.compare(1, other)
    with pytest.raises(NoSuchModel, match="no model 9"):
        flow.compare(1, 9)

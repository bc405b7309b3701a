"""Compare: two registered models on the photos that both predicted without having been trained on them."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from scones.aws.connection import Aws
from scones.data.dataset import Sample
from scones.data.decode import decode
from scones.domain.errors import EvaluationError
from scones.domain.naming import split_prefix
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.evaluation import comparison
from scones.evaluation.comparison import Comparison, difference_interval
from scones.evaluation.evaluation import EvaluationPhoto, exclude_training_photos, exclude_unreadable_photos
from scones.evaluation.model_client import model_predictor
from scones.model.inference import Model
from scones.model.model_file import open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions

MAX_TEST_PHOTOS: Final = 500
"""So many test photos tell two models apart well enough, within seconds."""


ComparedPhotos = Literal["test photos", "training photos, out of fold"]


class CannotCompare(EvaluationError):
    """Two models have no photos in common on which both can be compared."""


@dataclass(frozen=True, slots=True)
class ModelComparison(StepResult):
    """Models *one* and *other* on the same *photos*: test photos, or training photos that each predicted out of fold.

    *difference* is the accuracy of *one* minus that of *other*, and *low* to *high* its 95% interval. In *figures*,
    "ours" is *one*, and a photo's name is its key in the bucket.
    """

    one: int | str
    other: int | str
    difference: float
    low: float
    high: float
    figures: Comparison
    photos: ComparedPhotos

    @property
    def verdict(self) -> str:
        """One sentence on which is better, if the difference is significant."""
        return self.figures.verdict_on(f"model {self.one}", f"model {self.other}")

    def lines(self) -> tuple[str, str]:
        """Both accuracies with their paired difference, and what that says."""
        ours, theirs = f"{self.figures.accuracy:.1%}", f"{self.figures.other_accuracy:.1%}"
        points = [f"{100 * value:+.1f}" for value in (self.difference, self.low, self.high)]
        interval = f"{points[0]} points [{points[1]} to {points[2]}, 95%]"
        where = f"on the same {self.figures.n:,} {self.photos}"
        return f"accuracy of model {self.one} {ours}, of model {self.other} {theirs}, {where}: {interval}", self.verdict


def compare(aws: Aws, one: int, other: int) -> ModelComparison:
    """Compare two registered models by their out-of-fold predictions for the training photos that both have.

    The labels are those of the model with the higher number: corrections made them better.

    Raises:
        CannotCompare: they have no such photos, or different classes.
        NoSuchModel: one of them is not registered.
    """
    _require_two(one, other)
    (ours, mine), (theirs, yours) = (_out_of_fold(aws, number) for number in (one, other))
    _require_same_classes(one, other, ours.classes, theirs.classes)
    both = [(place, yours[photo]) for photo, place in mine.items() if photo in yours]
    if not both:
        raise CannotCompare(f"models {one} and {other} were trained on different photos: none can be compared")
    left, right = ([pair[side] for pair in both] for side in (0, 1))
    newer, places = (ours, left) if one > other else (theirs, right)
    photos = [(newer.names[place], newer.labels[place]) for place in places]
    figures = comparison.compare(
        photos, ours.probabilities[left], theirs.probabilities[right], ours.classes, f"model {other}"
    )
    return _compared(one, other, figures, "training photos, out of fold")


def compare_on_test_photos(
    aws: Aws,
    models: tuple[tuple[int | str, Path], tuple[int | str, Path]],
    samples: Sequence[Sample],
    report: Reporter,
) -> ModelComparison:
    """Compare two models, each a name and a file, on the test photos that neither was trained on.

    Of many, some are taken, evenly over all.

    Raises:
        CannotCompare: there are no such photos, or the models have different classes.
        InvalidModelFile: a file cannot be read.
    """
    (one, _), (other, _) = models
    _require_two(one, other)
    test = [sample for sample in samples if sample.split == "test"]
    test = test[:: max(1, math.ceil(len(test) / MAX_TEST_PHOTOS))]
    bodies = aws.bucket.get_all([sample.key for sample in test])
    with ExitStack() as stack:
        opened = [stack.enter_context(open_model_file(path)) for _, path in models]
        classes = opened[0].classes
        _require_same_classes(one, other, classes, opened[1].classes)
        if opened[0].version == opened[1].version:
            raise CannotCompare(f"models {one} and {other} are the same model")
        photos = tuple(
            EvaluationPhoto(it.key, it.label, body)
            for it, body in zip(test, bodies, strict=True)
            if it.label in classes
        )
        for model_file in opened:
            photos = exclude_unreadable_photos(photos, partial(decode, size=model_file.image_size), report)
            known = OutOfFoldPredictions.kept(model_file)
            photos = exclude_training_photos(known, photos, model_file.photo_size, report)
        if not photos:
            raise CannotCompare("there are no staged test photos to compare them on; to have some, run: scones stage")
        ours, theirs = (
            model_predictor(Model(it).answer, len(classes), it.image_size)([photo.data for photo in photos])
            for it in opened
        )
        figures = comparison.compare(
            [(photo.key, photo.label) for photo in photos],
            ours.probabilities,
            theirs.probabilities,
            classes,
            f"model {other}",
        )
    return _compared(one, other, figures, "test photos")


def _require_two(one: int | str, other: int | str) -> None:
    if one == other:
        raise CannotCompare(f"model {one} cannot be compared with itself; name two models")


def _require_same_classes(one: int | str, other: int | str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    if ours != theirs:
        raise CannotCompare(f"models {one} and {other} have different classes")


def _compared(one: int | str, other: int | str, figures: Comparison, photos: ComparedPhotos) -> ModelComparison:
    low, high = difference_interval(figures.only_ours, figures.only_theirs, figures.n)
    return ModelComparison(one, other, figures.accuracy - figures.other_accuracy, low, high, figures, photos)


def _out_of_fold(aws: Aws, number: int) -> tuple[OutOfFoldPredictions, dict[str, int]]:
    """A model's predictions, each photo named by its key, and the row of each photo by its content."""
    package = aws.registry.get(number)
    with open_model_file(aws.bucket.get(aws.bucket.key(package.model_uri))) as model_file:
        found, version = OutOfFoldPredictions.kept(model_file), model_file.data_version
    if found is None:
        raise CannotCompare(f"model {number} has no out-of-fold predictions")
    contents = {sample.key: sample.sha256 for sample in aws.training_samples(version)}
    found = replace(found, names=tuple(f"{split_prefix(version, 'train')}{name}" for name in found.names))
    # Where the data version was deleted, a photo is known by its pixels at the model's own size.
    marks = zip(found.names, found.fingerprints, strict=True)
    return found, {contents.get(name, mark): place for place, (name, mark) in enumerate(marks)}

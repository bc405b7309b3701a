"""Compare: two registered models on the photos that both predicted without having been trained on them."""

from dataclasses import dataclass, replace

from scones.aws.connection import Aws
from scones.data.dataset import from_lines
from scones.domain.errors import EvaluationError
from scones.domain.naming import manifest_key, split_prefix
from scones.domain.result import StepResult
from scones.evaluation import comparison
from scones.evaluation.comparison import Comparison, difference_interval
from scones.model.model_file import open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions


class CannotCompare(EvaluationError):
    """Two models have no photos in common on which both can be compared."""


@dataclass(frozen=True, slots=True)
class ModelComparison(StepResult):
    """Models *one* and *other* on the same training photos, which each predicted out of fold.

    *difference* is the accuracy of *one* minus that of *other*, and *low* to *high* its 95% interval. In *figures*,
    "ours" is *one*, and a photo's name is its key in the bucket.
    """

    one: int
    other: int
    difference: float
    low: float
    high: float
    figures: Comparison

    @property
    def verdict(self) -> str:
        """One sentence on which is better, if the difference is significant."""
        words = self.figures.verdict.replace("this model", f"model {self.one}")
        return words.replace("the other model", "the other").replace("the other", f"model {self.other}")


def compare(aws: Aws, one: int, other: int) -> ModelComparison:
    """Compare two registered models by their out-of-fold predictions for the training photos that both have.

    The labels are those of the model with the higher number: corrections made them better.

    Raises:
        CannotCompare: they have no such photos, or different classes.
        NoSuchModel: one of them is not registered.
    """
    if one == other:
        raise CannotCompare(f"model {one} cannot be compared with itself; name two models")
    (ours, mine), (theirs, yours) = (_out_of_fold(aws, number) for number in (one, other))
    if ours.classes != theirs.classes:
        raise CannotCompare(f"models {one} and {other} have different classes")
    both = [(place, yours[photo]) for photo, place in mine.items() if photo in yours]
    if not both:
        raise CannotCompare(f"models {one} and {other} were trained on different photos: none can be compared")
    left, right = ([pair[side] for pair in both] for side in (0, 1))
    newer, places = (ours, left) if one > other else (theirs, right)
    photos = [(newer.names[place], newer.labels[place]) for place in places]
    figures = comparison.compare(
        photos, ours.probabilities[left], theirs.probabilities[right], ours.classes, f"model {other}"
    )
    low, high = difference_interval(figures.only_ours, figures.only_theirs, figures.n)
    return ModelComparison(one, other, figures.accuracy - figures.other_accuracy, low, high, figures)


def _out_of_fold(aws: Aws, number: int) -> tuple[OutOfFoldPredictions, dict[str, int]]:
    """A model's predictions, each photo named by its key, and the row of each photo by its content."""
    package = aws.registry.get(number)
    with open_model_file(aws.bucket.get(aws.bucket.key(package.model_uri))) as model_file:
        found, version = OutOfFoldPredictions.kept(model_file), model_file.data_version
    if found is None:
        raise CannotCompare(f"model {number} has no out-of-fold predictions")
    manifest = aws.bucket.find(manifest_key(version, "train")) or b""
    contents = {sample.key: sample.sha256 for sample in from_lines(manifest, aws.bucket.name)}
    found = replace(found, names=tuple(f"{split_prefix(version, 'train')}{name}" for name in found.names))
    # Where the data version was deleted, a photo is known by its pixels at the model's own size.
    marks = zip(found.names, found.fingerprints, strict=True)
    return found, {contents.get(name, mark): place for place, (name, mark) in enumerate(marks)}

"""Corrections: training photos whose label the model contradicts, and what people say that they show."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from scones.aws.connection import Aws
from scones.data.labels import WITHDRAWN, InvalidLabels, Label, LabelOrigin, newest
from scones.deployment.reviews import UnknownPhoto, add_label, check_label, check_person, said_by
from scones.domain.naming import split_prefix, to_iso8601
from scones.domain.result import StepResult
from scones.domain.text import printable
from scones.model.model_file import open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.training.label_issues import find_suspects

_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ContradictedLabel:
    """A training photo, its *label*, and what the model *predicted* instead without having been trained on it."""

    photo: str
    """The SHA-256 of its bytes."""
    key: str
    """Where it lies in the bucket."""
    label: str
    predicted: str
    confidence: float
    """Its share of votes for what was predicted, or the probability."""


@dataclass(frozen=True, slots=True)
class Corrections(StepResult):
    """The first of the *open* photos, the likeliest error first; *decided* counts those that a person has looked at."""

    TABLE = "items"
    FIGURE = ("items", "predicted", "")
    version: str
    items: tuple[ContradictedLabel, ...]
    open: int
    decided: int


@dataclass(frozen=True, slots=True)
class Correction(StepResult):
    """What a person said about a training photo that is labelled *before*; nothing if they withdrew it.

    *others* are the labels of people who disagree, by person. Then the label stays as it was.
    """

    photo: str
    before: str
    label: str
    by: str
    others: Mapping[str, str]


def list_corrections(aws: Aws, version: str, trained_on: str, model_uri: str, limit: int) -> Corrections:
    """List the staged photos whose label the model contradicts, and that no person has corrected or confirmed.

    Args:
        aws: the environment.
        version: the data version that is staged.
        trained_on: that of the model, whose photos are compared with the staged ones by their content.
        model_uri: the model file, with its out-of-fold predictions.
        limit: the most photos to list.
    """
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        known = OutOfFoldPredictions.kept(model_file)
    prefix = split_prefix(trained_on, "train")
    contents = {sample.key.removeprefix(prefix): sample.sha256 for sample in aws.training_samples(trained_on)}
    staged = {(sample.sha256, sample.label): sample for sample in aws.training_samples(version)}
    suspects = find_suspects(known, contents, staged) if known else ()
    found = [
        ContradictedLabel(sample.sha256, sample.key, sample.label, suspect.predicted, suspect.confidence)
        for sample, suspect in suspects or ()
    ]
    corrections = (label for label in aws.tables.labels.all() if label.origin is LabelOrigin.CORRECTION)
    decided = newest(corrections)
    left = [item for item in found if item.photo not in decided]
    return Corrections(version, tuple(left[:limit]), len(left), len(found) - len(left))


def correct(aws: Aws, version: str, photo: str, label: str, by: str) -> Correction:
    """Keep what a person says that a training photo shows; the label that it has confirms it.

    The next version of the data has the corrected label.

    Raises:
        UnknownPhoto: it is not among the training photos of this data version.
        InvalidLabels: an unknown class, or no name of a person.
    """
    check_person(by)
    samples = aws.training_samples(version)
    sample = next((each for each in samples if each.sha256 == photo), None)
    if sample is None:
        raise UnknownPhoto(
            f"photo {printable(photo)[:_MAX_SHOWN]!r} is not among the training photos of data version {version}; "
            f"to list those whose label the model contradicts, run: scones review corrections --env {aws.env}"
        )
    check_label(label, tuple(sorted({each.label for each in samples})))
    when, uri = to_iso8601(datetime.now(UTC)), aws.bucket.uri(sample.key)
    said = Label(photo, label, by, when, LabelOrigin.CORRECTION, uri=uri)
    add_label(aws, said)
    return _standing(aws, said, sample.label)


def withdraw_correction(aws: Aws, version: str, photo: str, by: str) -> Correction:
    """Withdraw what a person said about a training photo.

    Raises:
        InvalidLabels: they said nothing about it.
    """
    check_person(by)
    labels = said_by(aws, photo, by, corrections=True)
    if not labels or labels[-1].label == WITHDRAWN:
        raise InvalidLabels(f"{by!r} has not corrected photo {printable(photo)[:_MAX_SHOWN]}; nothing is to withdraw")
    said = replace(labels[-1], label=WITHDRAWN, when=to_iso8601(datetime.now(UTC)))
    add_label(aws, said)
    return _standing(aws, said, next((it.label for it in aws.training_samples(version) if it.sha256 == photo), ""))


def _standing(aws: Aws, said: Label, before: str) -> Correction:
    standing = newest(aws.tables.labels.of_photo(said.photo)).get(said.photo, {})
    others = {who: label.label for who, label in standing.items() if label.label != said.label and who != said.by}
    return Correction(said.photo, before, said.label, said.by, others)

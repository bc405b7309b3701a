"""Labels: which photos to label next, and the accuracy that follows once labels arrive.

Labels of a few photos correct the model's own confidence on all of them: prediction-powered inference (A. Angelopoulos
et al., 2023, with the tuning of PPI++). Photos are drawn at random, unsure ones more often, so that the estimate stays
unbiased and its interval narrows (active inference: T. Zrnic and E. Candès, 2024).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from scones.data.labels import InvalidLabels, Label, LabelOrigin, Purpose, settled
from scones.domain.naming import LABEL_SAMPLE_KEY
from scones.domain.result import StepResult
from scones.domain.statistics import wilson_interval
from scones.domain.text import plural
from scones.monitoring.drift.features import Floats
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.accuracy_estimate import AccuracyEstimate

_Z = 1.6448536269514722
"""Two-sided 90%, as all intervals here."""
_EVEN_SHARE = 0.3
"""The uniform part of the sampling: confidence may be wrong, so confident photos need a chance too."""
PHOTOS_TO_LABEL: Final = 30
"""The number of photos to label at a time."""
MIN_LABELS = 2
"""With fewer labelled photos of the sample nothing can be estimated for the others."""

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LabelledAccuracy:
    """An accuracy with its 90% interval, and the number of labels."""

    accuracy: float
    low: float
    high: float
    labels: int


@dataclass(frozen=True, slots=True)
class LabelSample:
    """Photos to label, by place, and the probability with which each was drawn."""

    photos: Places
    chances: Floats


def with_interval(figure: LabelledAccuracy | AccuracyEstimate) -> str:
    """Show an accuracy with its 90% interval."""
    return f"{figure.accuracy:.0%} [{figure.low:.0%} to {figure.high:.0%}, 90%]"


def labelled_accuracy(right: NDArray[np.bool_]) -> LabelledAccuracy:
    """The accuracy on labelled photos, with Wilson's interval.

    Raises:
        InvalidLabels: no labels.
    """
    count = len(right)
    if not count:
        raise InvalidLabels("no labels have arrived; label some photos first")
    interval = wilson_interval(int(right.sum()), count, level=0.9)
    return LabelledAccuracy(float(right.mean()), interval.low, interval.high, count)


def choose_photos(confidence: Floats, count: int, seed: int = 0) -> LabelSample:
    """Draw *count* photos to label next, given the model's confidence [n]; all, if there are no more."""
    chances = _chances(confidence, min(count, len(confidence)))
    rng = np.random.default_rng(seed)
    # Systematic sampling in random order: each photo has its chance, and the number is exact.
    order = rng.permutation(len(chances))
    marks = np.floor(np.cumsum(chances[order]) + rng.random() + 1e-9)
    chosen = np.sort(order[np.diff(marks, prepend=0) > 0])[: min(count, len(confidence))]
    return LabelSample(chosen, chances[chosen])


def corrected_accuracy(confidence: Floats, choice: LabelSample, right: NDArray[np.bool_]) -> LabelledAccuracy:
    """Estimate the accuracy on all photos from their confidence [n] and the labels of the chosen ones.

    Raises:
        InvalidLabels: not one label for each chosen photo, or fewer than two.
    """
    count, photos = len(choice.photos), len(confidence)
    if len(right) != count or count < MIN_LABELS:
        raise InvalidLabels(
            f"{plural(len(right), 'label')} for {plural(count, 'chosen photo')}; give one for each, of two or more"
        )
    weights = count / (photos * choice.chances)
    confident = confidence[choice.photos]
    trust = _trust(weights * right, weights * confident)
    residuals = weights * (right - trust * confident)
    accuracy = trust * confidence.mean() + residuals.mean()
    # Drawn without replacement: if all photos are labelled, no uncertainty is left.
    variance = residuals.var(ddof=1) / count * (1 - count / photos)
    half = _Z * np.sqrt(variance + MIN_LABELS / photos**2)
    low, middle, high = np.clip([accuracy - half, accuracy, accuracy + half], 0, 1).tolist()
    return LabelledAccuracy(middle, low, high, count)


def _chances(confidence: Floats, count: int) -> Floats:
    """Probabilities that add up to *count*: larger for unsure photos, none above 1."""
    unsure = np.sqrt(np.clip(confidence * (1 - confidence), 0, None))
    weight = (1 - _EVEN_SHARE) * unsure / max(unsure.mean(), 1e-9) + _EVEN_SHARE if len(unsure) else unsure
    if count >= len(weight):
        return np.ones(len(weight))
    certain = np.zeros(len(weight), dtype=bool)
    while True:
        left = count - certain.sum()
        chances = np.where(certain, 1.0, weight * left / weight[~certain].sum())
        if (chances <= 1).all():
            return np.asarray(chances)
        certain |= chances > 1


def _trust(right: Floats, confident: Floats) -> float:
    """How well confidence predicts being right, between 0 (ignore it) and 1."""
    spread = confident.var()
    return float(np.clip(np.cov(right, confident, ddof=0)[0, 1] / spread, 0, 1)) if spread > 0 else 0.0


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """Photos that a person was asked to label, by event.

    *places* are their places among all photos, which have this *confidence*; *chances* are the probabilities with which
    they were drawn.
    """

    model: str
    events: tuple[str, ...]
    places: tuple[int, ...]
    chances: tuple[float, ...]
    confidence: tuple[float, ...]

    @classmethod
    def of(cls, model: str, events: Sequence[str], probabilities: Floats, seed: int) -> "LabelRequest":
        """Draw PHOTOS_TO_LABEL of the photos that the *model* predicted with these *probabilities*, [n, C]."""
        confidence = probabilities.max(axis=1)
        choice = choose_photos(confidence, PHOTOS_TO_LABEL, seed)
        places, chances = tuple(choice.photos.tolist()), tuple(choice.chances.tolist())
        chosen = tuple(events[place] for place in places)
        return cls(model, chosen, places, chances, tuple(confidence.tolist()))

    def to_json(self) -> bytes:
        """Encode as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, body: bytes) -> "LabelRequest":
        """Read what `to_json` wrote.

        Raises:
            InvalidLabels: damaged.
        """
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise InvalidLabels(
                f"{LABEL_SAMPLE_KEY} cannot be read ({error}); run: scones review export FILE"
            ) from error


@dataclass(frozen=True, slots=True)
class LabelResult(StepResult):
    """The result of imported labels: how many match recorded photos, and the accuracy that follows.

    *corrected* is the accuracy on all photos from which the sample was drawn, if sampled photos have labels.
    """

    labels: int
    photos: int
    unknown: int
    """Labels of photos that no model answered, as far as is recorded."""
    exact: LabelledAccuracy | None
    """None if the answers of the models to these photos are not known."""
    corrected: LabelledAccuracy | None
    requested: int
    """The number of photos that a person was asked to label."""
    refused: tuple[str, ...] = ()
    """Why rows, or the labels of photos, were not used."""


def compare_labels(
    traffic: Iterable[RecordedTraffic],
    labels: Mapping[str, str],
    request: LabelRequest | None,
    model: str,
    classes: Sequence[str],
) -> LabelResult:
    """Compare the *model*'s predictions in recorded *traffic* with labels.

    A photo whose label differs from that of its event is not used.

    Raises:
        InvalidLabels: no label matches a photo recorded with this model.
    """
    right: dict[str, bool] = {}
    refused: list[str] = []
    used: set[str] = set()
    for part in traffic:
        if part.model == model:
            predictions = part.probabilities.argmax(axis=1).tolist()
            for event, digest, predicted in zip(part.events, part.hashes, predictions, strict=True):
                named = {name for name in (event, digest) if name in labels}
                given = sorted({labels[name] for name in named})
                if len(given) > 1:
                    refused.append(f"photo {digest} and its event {event} have different labels: {', '.join(given)}")
                    used |= named
                elif given:
                    right[event] = classes[predicted] == given[0]
                    used |= named
    if not right:
        none = f"none of {plural(len(labels), 'label')} matches a photo that the monitor recorded with this model"
        raise InvalidLabels(refused[0] if refused else none)
    return LabelResult(
        labels=len(labels),
        photos=len(right),
        unknown=len(labels) - len(used),
        exact=labelled_accuracy(np.array(list(right.values()))),
        corrected=None if request is None or request.model != model else _correct(request, right),
        requested=0 if request is None else len(request.events),
        refused=tuple(dict.fromkeys(refused)),
    )


def _correct(request: LabelRequest, right: Mapping[str, bool]) -> LabelledAccuracy | None:
    """The accuracy on all photos from which the sample was drawn, from its labelled photos."""
    labelled = [number for number, event in enumerate(request.events) if event in right]
    if len(labelled) < MIN_LABELS:
        return None
    # As if only the labelled photos had been drawn: a person may skip some.
    chances = np.array(request.chances)[labelled] * len(labelled) / len(request.events)
    choice = LabelSample(np.array(request.places)[labelled], chances)
    return corrected_accuracy(
        np.array(request.confidence), choice, np.array([right[request.events[number]] for number in labelled])
    )


@dataclass(frozen=True, slots=True)
class MeasuredAccuracy:
    """How often one model was right, by people's labels: in all, of each predicted class, and by day.

    It is measured on labels of the random share, weighted by the inverse of their chances, and on late truth.
    Photos that came to review because the model was unsure would make it look worse; *reviewed* is about those.
    """

    model: str
    measured: LabelledAccuracy | None
    classes: dict[str, LabelledAccuracy]
    days: dict[str, LabelledAccuracy]
    reviewed: LabelledAccuracy | None

    def degraded(self, expected: float) -> bool:
        """Whether enough labels say that the accuracy is below the *expected* one by more than a margin."""
        found = self.measured
        return found is not None and found.labels >= _MIN_MEASURED and found.high < expected - _MARGIN


_MIN_MEASURED = 30
_MARGIN = 0.02


def measure_accuracy(labels: Iterable[Label]) -> tuple[MeasuredAccuracy, ...]:
    """Score each label against the model that had answered; the model whose photos are the newest comes first.

    Photos about which people disagree do not count, nor does one that no model answered.
    """
    known = [label for label in settled(labels).values() if label.model and label.origin is not LabelOrigin.CORRECTION]
    newest = {label.model: label.seen for label in sorted(known, key=lambda label: label.seen)}
    return tuple(
        _measured(model, [label for label in known if label.model == model])
        for model in sorted(newest, key=lambda model: newest[model], reverse=True)
    )


def _measured(model: str, labels: Sequence[Label]) -> MeasuredAccuracy:
    shares = [label for label in labels if label.purpose is Purpose.MEASURE or label.origin is LabelOrigin.LATE]
    classes, days = sorted({label.predicted for label in shares}), sorted({label.seen[:10] for label in shares})
    return MeasuredAccuracy(
        model=model,
        measured=_weighted_accuracy(shares),
        classes=_by(classes, lambda name: [label for label in shares if label.predicted == name]),
        days=_by(days, lambda day: [label for label in shares if label.seen.startswith(day)]),
        reviewed=_weighted_accuracy([label for label in labels if label not in shares]),
    )


def _by(names: Sequence[str], chosen: Callable[[str], Sequence[Label]]) -> dict[str, LabelledAccuracy]:
    found = {name: _weighted_accuracy(chosen(name)) for name in names}
    return {name: figure for name, figure in found.items() if figure}


def _weighted_accuracy(labels: Sequence[Label]) -> LabelledAccuracy | None:
    """The share of right answers, each weighted by the inverse of its chance of being drawn; None without labels.

    The interval is Wilson's for as many labels of equal weight as tell as much (L. Kish, "Survey Sampling", 1965).
    """
    if not labels:
        return None
    weights = np.array([1 / max(label.chance, _MIN_CHANCE) for label in labels])
    right = np.array([label.label == label.predicted for label in labels])
    share, told = float(weights @ right / weights.sum()), max(1, int(weights.sum() ** 2 / (weights @ weights) + 1e-9))
    interval = wilson_interval(round(share * told), told, level=0.9)
    return LabelledAccuracy(share, min(interval.low, share), max(interval.high, share), len(labels))


_MIN_CHANCE = 1e-4
"""A chance that a damaged label gives must not let it count for all others."""

"""Registered model: what monitoring reads of a model file, and its prediction check."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scones.data.dataset import Sample
from scones.data.decode import decode
from scones.domain.errors import MonitoringError
from scones.domain.wire import BadAnswer, read_answers
from scones.model.model_file import ModelFile, open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import Photos
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import DEFAULT_PER_THOUSAND, FalseAlarmBudget

TOLERANCE: Final = 0.1
"""Smaller differences in probability are numerics: int8 and float32 differed by at most .06."""
MIN_MISMATCHES: Final = 2
"""One photo may have been captured badly; two indicate another model."""
PROBES_PER_CLASS: Final = 4

Floats = NDArray[np.floating]


class UnmatchedPredictions(MonitoringError):
    """Captured and expected predictions do not fit together."""


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """The comparison of captured predictions with the registered model's: which photos differ, and by how much."""

    photos: int = 0
    mismatches: tuple[int, ...] = ()
    """The places of the photos that differ."""
    largest: float = 0.0
    """The largest difference in probability."""
    found_after: int | None = None
    """The number of photos after which another model was certain; None if it is the registered one."""

    @property
    def another_model(self) -> bool:
        """Whether another model than the registered one answers."""
        return self.found_after is not None

    def join(self, following: "PredictionCheck") -> "PredictionCheck":
        """Add the check of the photos that followed; the mismatches of several windows count together."""
        mismatches = (*self.mismatches, *(self.photos + place for place in following.mismatches))
        return PredictionCheck(
            photos=self.photos + following.photos,
            mismatches=mismatches,
            largest=max(self.largest, following.largest),
            found_after=_found_after(mismatches),
        )


def check_predictions(captured: Floats, expected: Floats, tolerance: float = TOLERANCE) -> PredictionCheck:
    """Compare probabilities [n, C] of an endpoint with those of the registered model for the same photos.

    Raises:
        UnmatchedPredictions: the two differ in shape: another model's classes, or other photos.
    """
    if captured.shape != expected.shape or captured.ndim != 2:
        raise UnmatchedPredictions(f"captured predictions are {captured.shape}, expected ones {expected.shape}")
    differences = np.abs(captured - expected).max(axis=1, initial=0.0)
    # NaN is not the registered model's prediction either.
    mismatches = tuple(np.flatnonzero(~(differences <= tolerance)).tolist())
    largest = float(np.nan_to_num(differences, nan=1.0).max(initial=0.0))
    return PredictionCheck(len(captured), mismatches, largest, _found_after(mismatches))


def _found_after(mismatches: tuple[int, ...]) -> int | None:
    return mismatches[MIN_MISMATCHES - 1] + 1 if len(mismatches) >= MIN_MISMATCHES else None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe image that was sent: its key, its label, and the predicted class; empty if the endpoint failed."""

    key: str
    label: str
    prediction: str

    @classmethod
    def of(cls, sample: Sample, response: bytes | None, classes: Sequence[str]) -> "ProbeResult":
        """Read the endpoint's response to a probe; None if the endpoint failed."""
        try:
            probabilities = read_answers(response)[0]["probabilities"] if response is not None else ()
        except BadAnswer:
            probabilities = ()
        prediction = classes[int(np.argmax(probabilities))] if len(probabilities) == len(classes) else ""
        return cls(sample.key, sample.label, prediction)

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label


def probe_images(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Choose a few test photos of each class, always the same ones."""
    taken: Counter[str] = Counter()
    chosen = []
    for sample in sorted(samples, key=lambda sample: sample.sha256):
        if sample.split == "test" and taken[sample.label] < PROBES_PER_CLASS:
            taken[sample.label] += 1
            chosen.append(sample)
    return tuple(chosen)


_PROBE_CONFIDENCE = 0.9

Scores = NDArray[np.float32]
Predict = Callable[[Photos], tuple[Scores, Scores | None, Scores | None]]
"""Photos [n, side, side, 3] give probabilities [n, C], OOD scores [n], and the backbone's features [n, F].

The last two are None for a model without an OOD detector, or one that does not show its features.
"""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The model deployed last, its baseline, what training measured of it, and how often an alarm may be false."""

    version: str
    classes: tuple[str, ...]
    baseline: Baseline
    predict: Predict
    image_size: int = 0
    """The side of its input, in pixels."""
    data_version: str = ""
    """The version of the data that it was trained on."""
    accuracy: float = math.nan
    """Of out-of-fold predictions."""
    class_mix: tuple[float, ...] = ()
    """The share of each class in the training data."""
    training_photos: tuple[str, ...] = ()
    """The names of the training photos, in the order of the baseline; earlier releases did not keep them."""
    budget: FalseAlarmBudget = field(default_factory=FalseAlarmBudget)
    seed: int = 0
    photo_size: int = 0
    """The side at which drift is measured; 0 for that of the input."""
    known: bool = True
    """False for an endpoint that Scones did not make, of which only the answers are known: it cannot predict."""

    def baseline_photos(self) -> tuple[str, ...]:
        """The names of the baseline's photos; empty if they are not those of the training."""
        same = self.baseline.days is None and len(self.baseline.values) == len(self.training_photos)
        return self.training_photos if same else ()

    def with_baseline(self, body: bytes, where: str) -> "RegisteredModel":
        """Compare with another baseline, such as one learned from traffic; *where* it comes from is for the error."""
        return replace(self, baseline=Baseline.from_bytes(body, where))

    def is_confident_of(self, label: str, photo: bytes) -> bool:
        """Whether it predicts *label* for a photo, with high confidence.

        Only such photos are probes: a photo that the model itself gets wrong does not test the endpoint.
        """
        probabilities = self.predict(decode(photo, self.image_size)[None])[0][0]
        best = int(probabilities.argmax())
        return self.classes[best] == label and bool(probabilities[best] >= _PROBE_CONFIDENCE)

    def content(self, features: Scores | None) -> NDArray[np.float64] | None:
        """Measure what photos show by the backbone's *features* [n, F]; None if they cannot be compared."""
        known = self.baseline.content
        fits = features is not None and known is not None and features.shape[1] == len(known.mean)
        return known.measure(features) if fits and known is not None and features is not None else None

    def stream_detector(self) -> StreamDetector:
        """The stream detector; training calibrates it, except for baselines that were made by hand."""
        values = self.baseline.values
        calibration = self.baseline.calibration or calibrate_stream(values, seed=self.seed)
        return StreamDetector.of(values, calibration.threshold(self.budget.of_stream()))


def open_model(
    archive: bytes | Path, false_alarms_per_thousand: float = DEFAULT_PER_THOUSAND, seed: int = 0
) -> RegisteredModel:
    """Open a `model.tar.gz`, or its folder."""
    with open_model_file(archive) as model_file:
        found = OutOfFoldPredictions.kept(model_file)
        labels = found.labels if found else model_file.classes
        return RegisteredModel(
            version=model_file.version,
            classes=model_file.classes,
            baseline=Baseline.load(model_file.baseline_path),
            predict=_predict(model_file),
            image_size=model_file.image_size,
            photo_size=model_file.photo_size,
            data_version=model_file.data_version,
            accuracy=float(found.scored().right.mean()) if found else model_file.metrics.get("oof_accuracy", math.nan),
            class_mix=tuple(labels.count(name) / len(labels) for name in model_file.classes),
            training_photos=found.names if found else (),
            budget=FalseAlarmBudget(false_alarms_per_thousand),
            seed=seed,
        )


def _predict(model_file: ModelFile) -> Predict:
    from scones.model.inference import Model  # noqa: PLC0415 - ONNX Runtime loads only to predict

    model, classes = Model(model_file), len(model_file.classes)

    def predict(photos: Photos) -> tuple[Scores, Scores | None, Scores | None]:
        outputs, features = model.measure(photos)
        return outputs[:, :classes], outputs[:, classes] if outputs.shape[1] > classes else None, features

    return predict

"""Registered: the model deployed last, as monitoring needs it."""

from dataclasses import dataclass

from scones.model.inference import Answers, Model, Probabilities
from scones.model.model_file import ModelFile, open_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.monitoring.alerts.alert import Known
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import Photos


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The model deployed last, from its model file: it, its baseline, and what it says of its training photos."""

    model_file: ModelFile
    baseline: Baseline
    model: Model
    out_of_fold: OutOfFoldPredictions | None

    def known(self, endpoint: str) -> Known:
        """What an alert compares with; model files of before the out-of-fold answers do not name their photos."""
        classes, found = self.model_file.classes, self.out_of_fold
        labels = found.labels if found else classes
        return Known(
            endpoint=endpoint,
            classes=classes,
            values=self.baseline.values,
            # Only a baseline of the same photos, in the same order, can name them.
            names=found.names if found and self._of_training(len(found.names)) else (),
            accuracy=float(found.scored().right.mean()) if found else self.model_file.metrics["oof_accuracy"],
            mix=tuple(labels.count(name) / len(labels) for name in classes),
        )

    def _of_training(self, photos: int) -> bool:
        return self.baseline.days is None and len(self.baseline.values) == photos

    def ask(self, photos: Photos) -> tuple[Probabilities, Answers | None]:
        """Ask it; a model with a guard says how unfamiliar each photo is, too."""
        answers, classes = self.model.answer(photos), len(self.model_file.classes)
        return answers[:, :classes], answers[:, classes] if answers.shape[1] > classes else None


def open_model(tar_gz: bytes) -> RegisteredModel:
    """Open a `model.tar.gz`."""
    with open_model_file(tar_gz) as model_file:
        baseline = Baseline.load(model_file.baseline_path)
        return RegisteredModel(model_file, baseline, Model(model_file), OutOfFoldPredictions.kept(model_file))

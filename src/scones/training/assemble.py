"""Calibrate the networks, export the exact and the int8 model, and choose which to serve."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.training.calibration import OodDetector, fit_ood_detector, fit_temperature, negative_log_likelihood, soften
from scones.training.cross_validation import FOLDS, CrossValidation, ask, open_session
from scones.training.export import FittedModel, check_parity, export, quantise
from scones.training.recipe import FittedNetwork, TrainingData

MAX_INT8_LOSS: Final = 0.002
"""The int8 model is served only if, out of fold, its accuracy is lower by no more than this."""
MAX_INT8_LOG_LOSS: Final = 0.005
"""The same for its mean log loss, which sees confidence go wrong too."""
MAX_INT8_REFUSED: Final = 0.005
"""The same for the share of known photos that its OOD detector refuses beyond what the exact one does."""

Probabilities = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelCalibration:
    """What the out-of-fold answers say: how sure to be, what to refuse, and the *probabilities*, [N, classes]."""

    temperature: float
    ood_detector: OodDetector
    probabilities: Probabilities

    def trained(self, fitted: FittedNetwork, image_size: int) -> FittedModel:
        """Give all that a model of one *fitted* network is made of."""
        return FittedModel(fitted, self.ood_detector, self.temperature, image_size)


@dataclass(frozen=True, slots=True)
class ExportedModels:
    """The two models, whether int8 is to be served, and the figures of both, out of fold."""

    exact: bytes
    int8: bytes
    int8_is_as_good: bool
    metrics: dict[str, float]


def calibrate(data: TrainingData, networks: CrossValidation) -> ModelCalibration:
    """Fit temperature and guard to the out-of-fold answers."""
    temperature = fit_temperature(networks.photos.log_probabilities, data.labels)
    ood_detector = fit_ood_detector(networks.photos.strangeness, learnt=len(data.outliers) > 0)
    return ModelCalibration(temperature, ood_detector, soften(networks.photos.log_probabilities, temperature))


def export_models(data: TrainingData, networks: CrossValidation, calibrated: ModelCalibration) -> ExportedModels:
    """Export, quantise and compare.

    Raises:
        ParityError: the exported model is not the trained one.
    """
    ood_detector = calibrated.ood_detector
    trained = calibrated.trained(networks.final, data.photos.shape[1])
    exact = export(trained)
    check_parity(exact, trained, data.photos[: len(networks.sample.strangeness)], networks.sample)
    metrics = _metrics(calibrated.probabilities, ood_detector.score(networks.photos.strangeness), data, ood_detector)
    if len(data.outliers):
        accepted = ood_detector.score(networks.outliers.strangeness) <= ood_detector.refused_above
        metrics["oof_outliers_accepted"] = float(accepted.mean())
    in_int8 = _metrics(*_int8_answers(data, networks, trained), data, ood_detector)
    metrics |= {f"int8_{name}": value for name, value in in_int8.items()}
    return ExportedModels(exact, quantise(exact, data.photos), _is_as_good(in_int8, metrics), metrics)


def _is_as_good(int8: dict[str, float], exact: dict[str, float]) -> bool:
    return (
        exact["oof_accuracy"] - int8["oof_accuracy"] <= MAX_INT8_LOSS
        and int8["oof_log_loss"] - exact["oof_log_loss"] <= MAX_INT8_LOG_LOSS
        and int8["oof_refused"] - exact["oof_refused"] <= MAX_INT8_REFUSED
    )


def _metrics(
    probabilities: Probabilities, scores: Scores, data: TrainingData, ood_detector: OodDetector
) -> dict[str, float]:
    return {
        "oof_accuracy": float((probabilities.argmax(axis=1) == data.labels).mean()),
        "oof_log_loss": negative_log_likelihood(probabilities, data.labels),
        "oof_refused": float((scores > ood_detector.refused_above).mean()),
    }


def _int8_answers(data: TrainingData, networks: CrossValidation, trained: FittedModel) -> tuple[Probabilities, Scores]:
    """Out-of-fold probabilities and scores, each from the int8 model of the network that had not seen the photo."""
    probabilities, scores = np.zeros(networks.photos.log_probabilities.shape), np.zeros(len(data.labels))
    for fold in range(FOLDS):
        held_out = networks.folds.photos == fold
        model = export(replace(trained, fitted=networks.of_fold[fold]))
        session = open_session(quantise(model, data.photos[~held_out]))
        probabilities[held_out], scores[held_out] = ask(session, data.photos[held_out])
    return probabilities, scores

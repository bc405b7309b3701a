"""Leaves what monitoring needs of the training: the baseline, its calibration, and simulated damage with its cost."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, corrupt
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import clip_ood_score, measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.performance.accuracy_estimate import LabelledPhotos, SimulatedDamage
from scones.training.assemble import ModelCalibration
from scones.training.cross_validation import CrossValidation, HeldOutPredictor
from scones.training.messages import TrainingData

_PHOTOS: Final = 120
"""Photos of each damage: with 27 damages, about three seconds at 32 pixels a side."""
_FEWEST: Final = 30
_SIDE_BY_SIDE: Final = 4
"""Damages at once, however many cores there are: of large photos each takes some fifty megabytes."""
_SMALL_SIDE: Final = 40

Floats = npt.NDArray[np.float64]


def baseline_of(data: TrainingData, networks: CrossValidation, calibrated: ModelCalibration, seed: int) -> Baseline:
    """Measure the out-of-fold answers, simulate unchanged streams, and damage some photos.

    The data's version is left for the caller to add.
    """
    strange = clip_ood_score(calibrated.guard.score(networks.photos.strangeness))
    channels = measure_features(data.photos, calibrated.probabilities, strange)
    clean = _judge(channels, calibrated.probabilities, data.labels)
    trained = calibrated.trained(networks.final, data.photos.shape[1])
    # Most of it is done outside of Python, where threads run side by side.
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, os.cpu_count() or 1)) as pool:
        calibration = pool.submit(calibrate_stream, channels, seed=seed)
        damaged = _damaged(data, HeldOutPredictor.of(networks, trained), float(strange.min()), seed, pool)
        return Baseline(channels, calibration=calibration.result(), lesson=SimulatedDamage(clean, damaged))


def _damaged(
    data: TrainingData, unseen: HeldOutPredictor, familiar: float, seed: int, pool: ThreadPoolExecutor
) -> dict[str, LabelledPhotos]:
    """Damage a sample of photos in each way, and ask the network that had seen neither the photo nor the damage."""
    # Large photos take longer, by the square; the estimate needs no more of them.
    side = data.photos.shape[1]
    count = min(len(data.photos), max(_FEWEST, _PHOTOS * _SMALL_SIDE // max(side, _SMALL_SIDE)))
    rng = np.random.default_rng(seed)

    def damage(kind: str, severity: int, rows: npt.NDArray[np.intp]) -> LabelledPhotos:
        photos = corrupt(data.photos[rows], kind, severity, seed)
        probabilities, strange = unseen.ask(photos, rows)
        answers = probabilities.astype(np.float64)
        return _judge(measure_features(photos, answers, np.maximum(strange, familiar)), answers, data.labels[rows])

    found = {
        f"{kind} {severity}": pool.submit(
            damage, kind, severity, np.sort(rng.choice(len(data.photos), count, replace=False))
        )
        for kind in CORRUPTIONS
        for severity in SEVERITIES
    }
    return {name: judged.result() for name, judged in found.items()}


def _judge(channels: Floats, probabilities: Floats, labels: npt.NDArray[np.int64]) -> LabelledPhotos:
    return LabelledPhotos(channels, probabilities, probabilities.argmax(axis=1) == labels)

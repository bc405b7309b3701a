"""Train: read SageMaker's input, fit the networks, and write the model file with its baseline."""

import datetime
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, corrupt
from scones.model.model_file import (
    BASELINE,
    INT8_MODEL,
    MODEL,
    OUT_OF_FOLD,
    ModelDescription,
    ModelFile,
    write_model_file,
)
from scones.model.out_of_fold import OutOfFoldPredictions, fingerprints
from scones.monitoring.drift.baseline import Baseline, LabelledPhotos, SimulatedDamage
from scones.monitoring.drift.features import clip_ood_score, measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.training.assemble import ExportedModels, ModelCalibration, calibrate, export_models
from scones.training.cross_validation import (
    FOLDS,
    CrossValidation,
    FitPlan,
    HeldOutPredictor,
    cross_validate,
    cross_validation_workers,
)
from scones.training.label_issues import NeighborVotes, neighbor_votes
from scones.training.model_card import model_card
from scones.training.recipe import EpochProgress, TrainingData, without_outliers
from scones.training.sagemaker_entrypoint import (
    Hyperparameters,
    TrainingChannels,
    TrainingJob,
    read_hyperparameters,
    read_photos,
)

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
    strange = clip_ood_score(calibrated.ood_detector.score(networks.photos.strangeness))
    channels = measure_features(data.photos, calibrated.probabilities, strange)
    clean = _judge(channels, calibrated.probabilities, data.labels)
    trained = calibrated.trained(networks.final, data.photos.shape[1])
    # Most of it is done outside of Python, where threads run side by side.
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, os.cpu_count() or 1)) as pool:
        calibration = pool.submit(calibrate_stream, channels, seed=seed)
        damaged = _damaged(data, HeldOutPredictor.of(networks, trained), float(strange.min()), seed, pool)
        return Baseline(channels, calibration=calibration.result(), simulated_damage=SimulatedDamage(clean, damaged))


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


def train(job: TrainingJob) -> ModelFile:
    """Train on the job's channel, write the model file to its model folder, and say on stdout how it goes.

    Raises:
        SconesError: the job's input cannot be used, or training failed.
    """
    started = time.monotonic()
    hyperparameters = read_hyperparameters(job)
    with cross_validation_workers() as workers:
        channels = read_photos(job, hyperparameters, _say)
        data = channels.data
        classes = ",".join(hyperparameters.classes)
        _say(f"photos={len(data.labels)} outliers={len(data.outliers)} {classes=!s} size={hyperparameters.image_size}")
        recipe = hyperparameters.recipe if len(data.outliers) else without_outliers(hyperparameters.recipe)
        plan = FitPlan(recipe, hyperparameters.seed, job.checkpoints)
        networks = cross_validate(workers, data, plan, _Report(recipe.epochs))
    calibrated = calibrate(data, networks)
    # The baseline is mostly made outside of Python, the models within it: side by side they take less time.
    with ThreadPoolExecutor(1) as beside:
        baseline = beside.submit(baseline_of, data, networks, calibrated, hyperparameters.seed)
        models = export_models(data, networks, calibrated)
    votes = neighbor_votes(networks.features, data.labels, calibrated.probabilities)
    made = TrainingOutput(
        calibrated, models, replace(baseline.result(), data_version=hyperparameters.data_version), votes
    )
    model_file = _write(job, hyperparameters, channels, made)
    for name, value in model_file.metrics.items():
        _say(f"{name}={value:.4f}")
    seconds = time.monotonic() - started
    _say(f"temperature={model_file.temperature:.3f} version={model_file.version} seconds={seconds:.1f}")
    return model_file


class TrainingOutput(NamedTuple):
    """What training made: how sure to be, the models, the baseline, and the votes on the photos' labels."""

    calibrated: ModelCalibration
    models: ExportedModels
    baseline: Baseline
    votes: NeighborVotes


def _write(
    job: TrainingJob, hyperparameters: Hyperparameters, channels: TrainingChannels, made: TrainingOutput
) -> ModelFile:
    data, calibrated, models = channels.data, made.calibrated, made.models
    description = ModelDescription(
        classes=hyperparameters.classes,
        image_size=hyperparameters.image_size,
        temperature=calibrated.temperature,
        data_version=hyperparameters.data_version,
        metrics=models.metrics,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=hyperparameters.seed,
        unfamiliar_above=calibrated.ood_detector.refused_above,
        served=INT8_MODEL if models.int8_is_as_good else MODEL,
    )
    job.model.mkdir(parents=True, exist_ok=True)
    (job.model / MODEL).write_bytes(models.exact)
    (job.model / INT8_MODEL).write_bytes(models.int8)
    made.baseline.save(job.model / BASELINE)
    classes = hyperparameters.classes
    labels = tuple(classes[number] for number in data.labels)
    known = OutOfFoldPredictions(
        classes, channels.names, labels, calibrated.probabilities, fingerprints(data.photos), made.votes
    )
    known.save(job.model / OUT_OF_FOLD)
    card = model_card(description, data.labels.tolist(), len(data.outliers), hyperparameters.recipe)
    return write_model_file(job.model, description, card)


class _Report:
    """Turns epochs into lines that SageMaker's metric definitions, and people, can read."""

    def __init__(self, epochs: int) -> None:
        self.epochs: dict[int | None, int] = {}
        self.total = epochs * (1 + FOLDS)

    def __call__(self, progress: EpochProgress) -> None:
        epoch = progress.epoch
        # Not counted: a training that goes on from checkpoints does not tell of the epochs before.
        self.epochs[progress.fold] = epoch.number
        share = sum(self.epochs.values()) / self.total
        network = "" if progress.fold is None else f"fold={progress.fold + 1}/{FOLDS} "
        # A fold's figures have names of their own: SageMaker keeps the last value of each name.
        of = "" if progress.fold is None else "fold_"
        _say(
            f"{network}{of}epoch={epoch.number}/{epoch.of} {of}train_loss={epoch.train_loss:.3f} {of}train_accuracy="
            f"{epoch.train_accuracy:.3f} seconds={epoch.seconds:.1f} progress={share:.3f}"
        )


def _say(line: str) -> None:
    # Whoever follows the log wants each line at once.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

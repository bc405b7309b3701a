"""Train: one training job, from the folders that SageMaker mounts to the model file and its card."""

import datetime
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scones.domain.text import markdown_text
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
from scones.training.recipe import EpochProgress, Recipe, TrainingData, without_outliers
from scones.training.sagemaker_entrypoint import (
    Hyperparameters,
    TrainingChannels,
    TrainingJob,
    read_hyperparameters,
    read_photos,
)


def model_card(description: ModelDescription, labels: Sequence[int], outliers: int, recipe: Recipe) -> str:
    """Write the card of a model that was trained on photos with these *labels* (class numbers), and so many others."""
    counts = Counter(labels)
    names = description.classes
    photos = "\n".join(f"| {markdown_text(name)} | {counts[number]} |" for number, name in enumerate(names))
    metrics = "\n".join(f"| {markdown_text(name)} | {value:.4f} |" for name, value in description.metrics.items())
    return _CARD.format(
        title=" or ".join(map(markdown_text, names)) if len(names) <= 4 else f"{len(names)} classes",
        size=description.image_size,
        photos=photos,
        metrics=metrics,
        folds=FOLDS,
        recipe=recipe,
        outliers=outliers,
        ood_detector=_LEARNT if outliers else _BY_DISTANCE,
        about=description,
    )


_LEARNT = (
    "The out-of-distribution detector was trained on photos of other things; the share of outliers accepted above\n"
    "  was measured on them, out of fold. It may accept more of things that are unlike any of them."
)
_BY_DISTANCE = (
    "The out-of-distribution detector was trained without photos of other things; it uses only the distance from\n"
    "  the training photos, and accepts many photos of other things."
)

_CARD = """\
# Model card: {title}

Given one photo, this model returns a probability for each class. Its purpose is to route orders to couriers by vehicle.

| | |
|---|---|
| input | `photos`, uint8 [N, {size}, {size}, 3], RGB, squashed to a square |
| outputs | `probabilities`, float32 [N, classes], in the order below; `unfamiliarity`, float32 [N] |
| refuse a photo | when its unfamiliarity exceeds {about.unfamiliar_above:.3f}, as 2% of known photos do out of fold |
| served | `{about.served}` |
| preprocessing | smoothing of noisy photos, more contrast for flat ones |
| network | frozen whitening stem, three convolution stages, linear head; photo and mirror image averaged |
| training | {recipe.epochs} epochs, batches of {recipe.batch}, Muon and SGD, label smoothing {recipe.label_smoothing} |
| auxiliary task | {recipe.turned} photos of each batch, to predict their rotation (0 to 270 degrees) |
| temperature | {about.temperature:.3f}, fitted on out-of-fold predictions |
| data version | {about.data_version} |
| seed | {about.seed} |
| created | {about.created} |

## Training photos

| class | photos |
|---|---|
{photos}
| (other things) | {outliers} |

## Measured on the training photos, out of fold

Each photo was predicted by a network that was not trained on it ({folds} folds), so the figures are a bit pessimistic
for the final network, which is trained on all photos. Accuracy on test photos is measured later, at the endpoint.

| measure | value |
|---|---|
{metrics}

## Limits

- It returns probabilities of its classes for a photo of anything else too, often with high confidence: use
  `unfamiliarity` to detect it.
- {ood_detector}
- Strong noise lowers accuracy, although photos are smoothed if the noise differs between the colors; watch the drift
  report.
- It was trained on photos of whole vehicles. It is not meant to recognize people, license plates or places.
"""


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

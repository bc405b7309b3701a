"""`python -m scones.training.registration_job FOLDER`: measure a foreign ONNX model, and write its model file.

It runs in limited memory. It ends with 0 and `model/` filled, or with 1 and one line in `output/failure`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from scones.data.decode import resize
from scones.domain.errors import SconesError
from scones.domain.text import markdown_text, printable
from scones.model.inference import Model, memory_limit
from scones.model.model_file import ModelDescription, ModelFile, metric_figure
from scones.training.calibration import soften, spread_sample
from scones.training.cross_validation import CrossValidation, assign_folds
from scones.training.export import FittedModel, check_parity, export
from scones.training.features import FeatureExtractor, Features, TrainingData
from scones.training.foreign import Choice, ForeignGraph, ask, choose_preprocessing, class_order, read_foreign, try_out
from scones.training.head import Head, HeadOutputs, unit
from scones.training.joining import JoinedModel, join
from scones.training.label_issues import neighbor_votes
from scones.training.preprocessing import parse_preprocessing
from scones.training.registration import MAX_MEMORY_GB, MODEL_FILE, OPTIONS_FILE, CannotRegister, RegistrationOptions
from scones.training.sagemaker_entrypoint import (
    Hyperparameters,
    TrainingChannels,
    TrainingJob,
    failure_reported,
    read_photos,
)
from scones.training.train import ModelCalibration, TrainingOutput, baseline_of, calibrate, measure, write_output

_MAX_FEATURE_SECONDS: Final = 600.0
"""Of slow models fewer photos are asked about."""
_MAX_PHOTO_BYTES: Final = 600_000_000
_DAMAGED_PHOTOS: Final = 27 * 120
_CHOICE_PHOTOS: Final = range(16, 97)
"""So many photos choose the preprocessing; of slow models, as many as take _CHOICE_SECONDS."""
_CHOICE_SECONDS: Final = 10.0
_PARITY_PHOTOS: Final = 64
_PARITY: Final = 0.02
"""The largest difference in probability accepted between the model and its parts, joined again."""
_FEWEST: Final = 10


class Fitted(NamedTuple):
    """A foreign model with all that the photos tell: how its input is made, its parts, and its answers."""

    choice: Choice
    joined: JoinedModel
    model: FittedModel
    channels: TrainingChannels
    found: CrossValidation
    calibrated: ModelCalibration
    features: Features


def make_model_file(job: TrainingJob, options: RegistrationOptions) -> ModelFile:
    """Measure the foreign model on the job's photos, and write the model file.

    Raises:
        CannotRegister: it is no photo classifier of these classes that can be served.
    """
    fitted = fit_foreign(job, options)
    data, side = fitted.channels.data, fitted.channels.image_size
    model = export(fitted.model)
    check_parity(model, fitted.model, resize(data.photos[:8], side), fitted.found.final.ask(fitted.features[:8]))
    extractor = FeatureExtractor(fitted.joined.backbone.model, side, kind=np.float32)
    baseline = baseline_of(data, extractor, fitted.found, fitted.calibrated, options.seed)
    directions = unit(fitted.features[:, fitted.joined.backbone.last].astype(np.float32))
    made = TrainingOutput(
        fitted.calibrated,
        model,
        measure(data, fitted.found, fitted.calibrated),
        replace(baseline, data_version=options.data_version),
        neighbor_votes(directions, data.labels, fitted.calibrated.probabilities),
        fitted.found.new_source,
    )
    terms = Hyperparameters(options.classes, side, "", options.seed, options.data_version)
    model_file = write_output(job, terms, fitted.channels, made, lambda about, _: _card(about, fitted))
    # It must serve, too: within the limits that the endpoint's server sets.
    Model(model_file).warm(2)
    _say(f"note=preprocessing {fitted.choice.way}; photos are compared by {fitted.joined.guard}")
    return model_file


def fit_foreign(job: TrainingJob, options: RegistrationOptions) -> Fitted:
    """Try the model out, find its preprocessing and its last layer, and calibrate it on the job's photos.

    Raises:
        CannotRegister: it is no photo classifier of these classes that can be served.
    """
    onnx_file = job.folder / "input" / "config" / MODEL_FILE
    foreign = read_foreign(onnx_file.read_bytes(), parse_preprocessing(options.preprocess), options.output)
    side, classes = foreign.side, len(options.classes)
    noise = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    foreign, answering = try_out(foreign, noise, classes)
    seconds = max(answering.photo_seconds, 1e-4)
    affordable = min(_MAX_PHOTO_BYTES // (3 * side**2), int(_MAX_FEATURE_SECONDS / seconds))
    _thin(job, options.classes, affordable // classes)
    channels = read_photos(job, Hyperparameters(options.classes, side, "", options.seed, options.data_version), _say)
    data = channels.data
    _say(f"note=a photo takes {1000 * seconds:.0f} ms: about {(_DAMAGED_PHOTOS + len(data.photos)) * seconds:.0f} s")
    some = _spread(data, min(_CHOICE_PHOTOS[-1], max(_CHOICE_PHOTOS[0], int(_CHOICE_SECONDS / seconds))))
    choice = choose_preprocessing(foreign, answering, resize(data.photos[some], side), data.labels[some], _tried)
    joined = _join(foreign, choice, resize(data.photos[_spread(data, _PARITY_PHOTOS)], side))
    extractor = FeatureExtractor(joined.backbone.model, side, kind=np.float32)
    features = _extract(extractor, data)
    found = _as_cross_validated(joined, features, extractor.see(data.outliers), data, options.seed)
    _check_order(found.photos, data.labels, options.classes)
    calibrated = calibrate(data, found)
    average = features.mean(axis=0, dtype=np.float32)
    model = FittedModel(joined.backbone, found.final, calibrated.ood_detector, calibrated.temperature, average)
    return Fitted(choice, joined, model, channels, found, calibrated, features)


def _thin(job: TrainingJob, classes: Sequence[str], per_class: int) -> None:
    """Delete photos of this job's own folder that there is neither time nor memory for."""
    for name in classes:
        paths = sorted(path for path in (job.channel / name).rglob("*") if path.is_file())
        keep = max(_FEWEST, per_class)
        if len(paths) > keep:
            kept = {paths[at * len(paths) // keep] for at in range(keep)}
            for path in paths:
                if path not in kept:
                    path.unlink()
            _say(f"note={keep} of {len(paths)} photos of {name} are used: the model is slow, or takes large photos")


def _spread(data: TrainingData, count: int) -> npt.NDArray[np.intp]:
    """Choose photos evenly; they come sorted by class."""
    return np.unique(np.linspace(0, len(data.photos) - 1, count).astype(np.intp))


def _tried(way: str, accuracy: float) -> None:
    _say(f"tried={way} accuracy={accuracy:.3f}")


def _join(foreign: ForeignGraph, choice: Choice, sample: npt.NDArray[np.uint8]) -> JoinedModel:
    """Join it so that its last layer becomes the head, unless that answers something else than the model."""
    expected = soften(ask(foreign, choice, sample), 1.0)
    for exact in (True, False):
        joined = join(foreign, choice, sample, exact=exact)
        features = FeatureExtractor(joined.backbone.model, foreign.side, kind=np.float32).see(sample)
        found = soften(features @ joined.weights + joined.bias, 1.0)
        if np.isfinite(features).all() and np.abs(found - expected).max() < _PARITY:
            return joined
    raise CannotRegister(
        "its answers change when its graph is joined to another, or its features are not finite",
        "export it for inference, in float32",
    )


def _extract(extractor: FeatureExtractor, data: TrainingData) -> Features:
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        _say(f"progress={0.8 * done / len(data.photos):.3f}")

    return extractor.see(data.photos, report=report)


def _as_cross_validated(
    joined: JoinedModel, features: Features, outliers: Features, data: TrainingData, seed: int
) -> CrossValidation:
    """Answer for each photo by the model, whose last layer is fixed, with a guard that did not see the photo."""
    folds = assign_folds(data, seed)

    def head(rows: npt.NDArray[np.intp]) -> Head:
        known = features[rows[spread_sample(len(rows))], joined.backbone.last].astype(np.float32)
        none = np.zeros(len(joined.weights), np.float32)
        return Head(joined.weights, joined.bias, none, 0.0, unit(known), joined.backbone.last)

    final = head(np.arange(len(features)))
    photos = final.ask(features)
    heads = []
    for fold in range(folds.count):
        heads.append(head(np.flatnonzero(folds.photos != fold)))
        held_out = folds.photos == fold
        photos.strangeness[held_out] = heads[-1].ask(features[held_out]).strangeness
    new_source = np.full((len(features), data.classes), np.nan)
    return CrossValidation(final, tuple(heads), folds, {}, photos, final.ask(outliers), new_source)


def _check_order(answers: HeadOutputs, labels: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
    """Refuse classes in an order in which the model is mostly wrong, if it is mostly right in another.

    Raises:
        CannotRegister: with the other order.
    """
    order = class_order(answers.log_probabilities, labels)
    if order.tolist() != list(range(len(classes))):
        chosen = answers.log_probabilities.argmax(axis=1)
        right, otherwise = float((chosen == labels).mean()), float((order[chosen] == labels).mean())
        raise CannotRegister(
            f"{right:.0%} of {len(labels)} photos are right with the classes {','.join(classes)}, and {otherwise:.0%} "
            f"with its outputs in another order",
            f"name them in the outputs' order: --classes {','.join(classes[number] for number in order.tolist())}",
        )


def _card(about: ModelDescription, fitted: Fitted) -> str:
    names, joined, choice = about.classes, fitted.joined, fitted.choice
    counts = np.bincount(fitted.channels.data.labels, minlength=len(names)).tolist()
    rows = {
        "photos": zip(names, map(str, counts), strict=True),
        "metrics": ((name, metric_figure(name, value)) for name, value in about.metrics.items()),
        "tried": ((way, f"{accuracy:.1%}") for way, accuracy in choice.accuracies.items()),
    }
    tables = {key: "\n".join(f"| {markdown_text(a)} | {b} |" for a, b in pairs) for key, pairs in rows.items()}
    maps = "each place's share of the logits" if joined.backbone.places else "not available"
    title = " or ".join(map(markdown_text, names)) if len(names) <= 4 else f"{len(names)} classes"
    limit = about.unfamiliar_above or 0.0
    return _CARD.format(title=title, about=about, maps=maps, choice=choice, joined=joined, limit=limit, **tables)


_CARD: Final = """\
# Model card: {title}

This model was trained elsewhere and registered with Scones, which knows neither its training photos nor its method.

| | |
|---|---|
| input | `photos`, uint8 [N, {about.image_size}, {about.image_size}, 3], RGB, squashed to a square |
| outputs | `probabilities`, float32 [N, classes], in the order below; `unfamiliarity`, float32 [N] |
| preprocessing | {choice.way} |
| the model's answers | {choice.answering.form} |
| explanation by places | {maps} |
| explanation by photos | the photos below that are nearest by {joined.guard} |
| refuse a photo | when its unfamiliarity exceeds {limit:.3f}, as 2% of the photos below do |
| temperature | {about.temperature:.3f}, fitted on the photos below |
| data version | {about.data_version} |
| created | {about.created} |

## Photos

| class | photos |
|---|---|
{photos}

## Measured on them

If the model was trained on some of these photos, the figures are too high, and so is its confidence. Accuracy on test
photos is measured later, at the endpoint.

| measure | value |
|---|---|
{metrics}

## Preprocessing that was tried

| preprocessing | accuracy |
|---|---|
{tried}

## Limits

- It returns probabilities of its classes for a photo of anything else too, often with high confidence: use
  `unfamiliarity` to detect it.
- Photos are squashed to a square. A model that was trained on crops from their middle may do a little worse.
"""


def _say(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def main() -> int:
    """Make the model file of the job in the folder that is the only argument, and give the exit status."""
    job = TrainingJob(Path(sys.argv[1]))
    options = msgspec.json.decode(
        (job.folder / "input" / "config" / OPTIONS_FILE).read_bytes(), type=RegistrationOptions
    )
    try:
        with failure_reported(job), memory_limit():
            try:
                make_model_file(job, options)
            except MemoryError as error:
                reason = f"it needs more than {MAX_MEMORY_GB} GB of memory"
                raise CannotRegister(reason, "take a smaller network, or quantize it") from error
    except SconesError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Train: one training job, from the folders that SageMaker mounts to the model file and its card."""

import datetime
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from scones.data.dataset import NO_NEW_SOURCE, ONE_SOURCE
from scones.data.decode import resize
from scones.domain.statistics import wilson_interval
from scones.domain.text import markdown_text
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, corrupt
from scones.model.model_file import (
    BASELINE,
    MODEL,
    OUT_OF_FOLD,
    ModelDescription,
    ModelFile,
    metric_figure,
    write_model_file,
)
from scones.model.out_of_fold import OutOfFoldPredictions, SourceAnswers, fingerprints
from scones.monitoring.drift.baseline import Baseline, LabelledPhotos, SimulatedDamage
from scones.monitoring.drift.features import ContentDirections, clip_ood_score, measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.training.backbone import BACKBONES, backbone_weights
from scones.training.calibration import (
    OodDetector,
    fit_ood_detector,
    fit_temperature,
    negative_log_likelihood,
    soften,
    spread_sample,
)
from scones.training.cross_validation import CrossValidation, HeldOutPredictor, assign_folds, cross_validate
from scones.training.custom_backbone import InvalidBackbone, build_custom_backbone
from scones.training.export import CALIBRATION_PHOTOS, FeatureModel, FittedModel, build_backbone, check_parity, export
from scones.training.features import VIEWS, FeatureExtractor, Features, Photos, TrainingData
from scones.training.head import LayerGroups, StudySet
from scones.training.label_issues import neighbor_votes
from scones.training.sagemaker_entrypoint import (
    Hyperparameters,
    TrainingChannels,
    TrainingJob,
    read_hyperparameters,
    read_photos,
)

Floats = npt.NDArray[np.float64]
_PARITY_PHOTOS: Final = 64


def train(job: TrainingJob) -> ModelFile:
    """Train on the job's channel, write the model file to its model folder, and say on stdout how it goes.

    Raises:
        SconesError: the job's input cannot be used, or training failed.
    """
    started = time.monotonic()
    hyperparameters = read_hyperparameters(job)
    custom = _custom_backbone(job, hyperparameters)
    if custom:
        hyperparameters = replace(hyperparameters, image_size=custom.image_size)
    weights = {} if custom else backbone_weights(hyperparameters.backbone)
    channels = read_photos(job, hyperparameters, _say)
    data, size = channels.data, channels.image_size
    folds = assign_folds(data, hyperparameters.seed)
    classes = ",".join(hyperparameters.classes)
    _say(f"photos={len(data.labels)} outliers={len(data.outliers)} {classes=!s} size={size}")
    _say(f"backbone={hyperparameters.backbone} photo_size={data.photos.shape[1]} sources={len(set(data.sources))}")
    some = data.photos[:: -(-len(data.photos) // CALIBRATION_PHOTOS)]
    backbone = custom or build_backbone(weights, resize(some, size))
    extractor = FeatureExtractor(backbone.model, size, job.checkpoints, np.float32 if custom else np.float16)
    imagenet = None if custom else (np.ascontiguousarray(weights["_fc.weight"].T), weights["_fc.bias"])
    views, outliers = extract(data, extractor, hyperparameters.seed)
    # On several threads, its products are slower: those mostly wait for each other.
    with threadpool_limits(1):
        groups = LayerGroups(views, backbone.last, imagenet)
        study = StudySet(views, data.labels, data.classes, outliers, backbone.last, groups)
        found = cross_validate(study, folds, data.sources, lambda share: _progress(_SEEN, _FITTED, share))
    _say("penalties=" + ",".join(f"{name}:{penalty:g}" for name, penalty in found.penalties.items()))
    calibrated = calibrate(data, found)
    fitted = FittedModel(
        backbone,
        found.final,
        calibrated.ood_detector,
        calibrated.temperature,
        study.views[0].mean(axis=0, dtype=np.float32),
    )
    model = export(fitted)
    sample = data.photos[:_PARITY_PHOTOS]
    check_parity(model, fitted, resize(sample, size), found.final.ask(study.views[0][:_PARITY_PHOTOS]))
    baseline = baseline_of(data, extractor, found, calibrated, hyperparameters.seed)
    made = TrainingOutput(
        calibrated,
        model,
        measure(data, found, calibrated),
        replace(baseline, data_version=hyperparameters.data_version),
        neighbor_votes(study.groups.whitened(), data.labels, calibrated.probabilities),
        found.new_source,
    )

    def card(about: ModelDescription, known: OutOfFoldPredictions) -> str:
        return model_card(about, data.labels.tolist(), len(data.outliers), data.sources, known.by_source())

    model_file = write_output(job, hyperparameters, channels, made, card)
    _forget_features(job.checkpoints, model_file.version)
    for name, value in model_file.metrics.items():
        _say(f"{name}={value:.4f}")
    seconds = time.monotonic() - started
    _say(f"temperature={model_file.temperature:.3f} version={model_file.version} seconds={seconds:.1f} progress=1.000")
    if "new_source_accuracy" not in model_file.metrics:
        _say(f"warning={(NO_NEW_SOURCE if len(set(data.sources)) > 1 else ONE_SOURCE)!r}")
    return model_file


def _custom_backbone(job: TrainingJob, hyperparameters: Hyperparameters) -> FeatureModel | None:
    """Build the user's own backbone, if the job is to use one."""
    if hyperparameters.backbone in BACKBONES:
        return None
    path = job.backbones / hyperparameters.backbone
    custom = build_custom_backbone(path.read_bytes(), path.stem)
    if hyperparameters.image_size not in {0, custom.image_size}:
        wanted = f"image_size is {hyperparameters.image_size}"
        raise InvalidBackbone(f"it takes photos of {custom.image_size} pixels, and {wanted}", "set image_size to 0")
    return custom


_SEEN: Final = 0.6
"""The share of the work that is done when all features are there."""
_FITTED: Final = 0.8
"""The share when the heads are fitted, too; the rest is the baseline."""


def extract(data: TrainingData, extractor: FeatureExtractor, seed: int) -> tuple[list[Features], Features]:
    """Extract the features of all views of the photos, and those of the outliers."""
    total, done, told, started = VIEWS * len(data.photos) + len(data.outliers), 0, 0.0, time.monotonic()

    def report(count: int) -> None:
        nonlocal done, told
        done += count
        data.release()
        if done / total - told >= _TELL_EVERY:
            told = done / total
            seconds = (time.monotonic() - started) / told * (1 - told)
            _progress(0, _SEEN, told, f" seconds_left={seconds:.0f}")

    _say(f"seconds_expected={_expected(data, extractor, total):.0f}")
    views = [extractor.see(data.photos, view, seed, report) for view in range(VIEWS)]
    return views, extractor.see(data.outliers, report=report)


_TELL_EVERY: Final = 0.05
_TIMED: Final = 64
"""Photos that show how long all will take."""


def _expected(data: TrainingData, extractor: FeatureExtractor, total: int) -> float:
    """The seconds that the whole job will take, by those of some photos; their features are kept for it."""
    started = time.monotonic()
    some = extractor.see(data.photos[:_TIMED])
    return (time.monotonic() - started) / len(some) * total / _SEEN


class ModelCalibration(NamedTuple):
    """What the out-of-fold answers say: how sure to be, what to refuse, and the *probabilities*, [N, classes]."""

    temperature: float
    ood_detector: OodDetector
    probabilities: Floats


def calibrate(data: TrainingData, found: CrossValidation) -> ModelCalibration:
    """Fit temperature and OOD detector to the out-of-fold answers."""
    temperature = fit_temperature(found.photos.log_probabilities, data.labels)
    ood_detector = fit_ood_detector(found.photos.strangeness, learnt=len(data.outliers) > 0)
    return ModelCalibration(temperature, ood_detector, soften(found.photos.log_probabilities, temperature))


def measure(data: TrainingData, found: CrossValidation, calibrated: ModelCalibration) -> dict[str, float]:
    """Give the figures of the out-of-fold answers, and of the answers to photos of new sources, if there are any."""
    detector, probabilities = calibrated.ood_detector, calibrated.probabilities
    metrics = {
        "oof_accuracy": float((probabilities.argmax(axis=1) == data.labels).mean()),
        "oof_log_loss": negative_log_likelihood(probabilities, data.labels),
        "oof_refused": float((detector.score(found.photos.strangeness) > detector.refused_above).mean()),
    }
    if len(data.outliers):
        accepted = detector.score(found.outliers.strangeness) <= detector.refused_above
        metrics["oof_outliers_accepted"] = float(accepted.mean())
    judged = np.isfinite(found.new_source).all(axis=1)
    if judged.any():
        right = found.new_source[judged].argmax(axis=1) == data.labels[judged]
        metrics["new_source_accuracy"] = float(right.mean())
    return metrics


_PHOTOS: Final = 120
"""Photos of each damage: with 27 damages, about four seconds on two processors."""
_FEWEST: Final = 30
_SMALL_SIDE: Final = 40


def baseline_of(
    data: TrainingData, extractor: FeatureExtractor, found: CrossValidation, calibrated: ModelCalibration, seed: int
) -> Baseline:
    """Measure the out-of-fold answers, simulate unchanged streams, and damage some photos.

    The data's version is left for the caller to add.
    """
    strange = clip_ood_score(calibrated.ood_detector.score(found.photos.strangeness))
    last = found.final.last
    # Chunks that were seen before are read from the job's checkpoints.
    features = np.concatenate([extractor.see(data.photos[part])[:, last] for part in data.parts()])
    content = ContentDirections.of(features, data.labels)
    parts = [
        measure_features(
            _as_monitored(data.photos[part], extractor.size),
            calibrated.probabilities[part],
            strange[part],
            content.measure(features[part]),
        )
        for part in data.parts()
    ]
    channels = np.concatenate(parts)
    clean = _judge(channels, calibrated.probabilities, data.labels)

    def look(photos: Photos) -> _Seen:
        found_in_them = extractor.see(photos)
        return found_in_them, _as_monitored(photos, extractor.size), content.measure(found_in_them[:, last])

    # It is mostly computed outside of Python, as the features are: side by side they take less time.
    with ThreadPoolExecutor(1) as beside:
        calibration = beside.submit(calibrate_stream, channels, seed=seed)
        damage = SimulatedDamage(clean, _damaged(data, look, found, calibrated, seed))
        return Baseline(channels, calibration=calibration.result(), simulated_damage=damage, content=content)


_Seen = tuple[Features, Photos, Floats]
"""Of some photos: the backbone's features, the photos as monitoring measures them, and their content."""


def _damaged(
    data: TrainingData,
    look: Callable[[Photos], _Seen],
    found: CrossValidation,
    calibrated: ModelCalibration,
    seed: int,
) -> dict[str, LabelledPhotos]:
    """Damage a sample of photos in each way, and ask the head that had seen neither the photo nor the damage."""
    side = data.photos.shape[1]
    # Large photos take longer, by the square; the estimate needs no more of them.
    count = min(len(data.photos), max(_FEWEST, _PHOTOS * _SMALL_SIDE // max(side, _SMALL_SIDE)))
    rng = np.random.default_rng(seed)
    unseen = HeldOutPredictor(found.of_fold, found.folds.photos)
    familiar = float(clip_ood_score(calibrated.ood_detector.score(found.photos.strangeness)).min())
    damaged = {}
    cases = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]
    for number, (kind, severity) in enumerate(cases):
        rows = np.sort(rng.choice(len(data.photos), count, replace=False))
        features, photos, content = look(corrupt(data.photos[rows], kind, severity, seed))
        said = unseen.ask(features, rows)
        answers = soften(said.log_probabilities, calibrated.temperature)
        strange = np.maximum(clip_ood_score(calibrated.ood_detector.score(said.strangeness)), familiar)
        values = measure_features(photos, answers, strange, content)
        damaged[f"{kind} {severity}"] = _judge(values, answers, data.labels[rows])
        _progress(_FITTED, 1.0, (number + 1) / len(cases))
    return damaged


def _as_monitored(photos: Photos, size: int) -> Photos:
    """Scale photos to the model's size and back, as monitoring does before it measures them."""
    return resize(resize(photos, size), photos.shape[1])


def _judge(channels: Floats, probabilities: Floats, labels: npt.NDArray[np.int64]) -> LabelledPhotos:
    return LabelledPhotos(channels, probabilities, probabilities.argmax(axis=1) == labels)


def _forget_features(checkpoints: Path, version: str) -> None:
    """Leave only which model was trained: the command that waits for the job knows by it that there is one."""
    for path in checkpoints.glob("*.npy"):
        path.unlink()
    (checkpoints / "trained").write_text(f"{version}\n", encoding="ascii")


class TrainingOutput(NamedTuple):
    """What training made: how sure to be, the model and its figures, the baseline, and the votes on labels."""

    calibrated: ModelCalibration
    model: bytes
    metrics: dict[str, float]
    baseline: Baseline
    votes: Floats
    new_source: Floats


def write_output(
    job: TrainingJob,
    hyperparameters: Hyperparameters,
    channels: TrainingChannels,
    made: TrainingOutput,
    card: Callable[[ModelDescription, OutOfFoldPredictions], str],
) -> ModelFile:
    """Write the model file into the job's model folder, with the *card* of its description and answers."""
    data = channels.data
    description = ModelDescription(
        classes=hyperparameters.classes,
        image_size=channels.image_size,
        photo_size=data.photos.shape[1],
        backbone=hyperparameters.backbone,
        temperature=made.calibrated.temperature,
        data_version=hyperparameters.data_version,
        metrics=made.metrics,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=hyperparameters.seed,
        unfamiliar_above=made.calibrated.ood_detector.refused_above,
    )
    job.model.mkdir(parents=True, exist_ok=True)
    (job.model / MODEL).write_bytes(made.model)
    made.baseline.save(job.model / BASELINE)
    classes = hyperparameters.classes
    known = OutOfFoldPredictions(
        classes=classes,
        names=channels.names,
        labels=tuple(classes[number] for number in data.labels),
        probabilities=made.calibrated.probabilities,
        fingerprints=tuple(mark for part in data.parts() for mark in fingerprints(data.photos[part])),
        votes=made.votes,
        sources=data.sources,
        new_source=made.new_source,
        reference=np.arange(len(data.labels))[spread_sample(len(data.labels))],
    )
    known.save(job.model / OUT_OF_FOLD)
    return write_model_file(job.model, description, card(description, known))


def model_card(
    description: ModelDescription,
    labels: Sequence[int],
    outliers: int,
    sources: Sequence[str],
    left_out: SourceAnswers | None,
) -> str:
    """Write the card of a model that was trained on photos with these *labels* (class numbers), and so many others.

    *sources* are the photos' own; *left_out* are the answers to photos whose source was left out.
    """
    counts = Counter(labels)
    names = description.classes
    photos = "\n".join(f"| {markdown_text(name)} | {counts[number]} |" for number, name in enumerate(names))
    metrics = "\n".join(
        f"| {markdown_text(name)} | {metric_figure(name, value)} |" for name, value in description.metrics.items()
    )
    return _CARD.format(
        title=" or ".join(map(markdown_text, names)) if len(names) <= 4 else f"{len(names)} classes",
        size=description.image_size,
        photos=photos,
        metrics=metrics,
        outliers=outliers,
        network=(_KNOWN if description.backbone in BACKBONES else _CUSTOM).format(description.backbone),
        terms=_KNOWN_TERMS
        if description.backbone in BACKBONES
        else "The backbone is a file of the user's, with its own terms.",
        ood_detector=_LEARNT if outliers else _BY_DISTANCE,
        by_source="\n".join(_source_rows(sources, left_out)),
        sources=_NO_SOURCE_LEFT_OUT if left_out is None or not len(left_out.right) else _SEVERAL_SOURCES,
        scale=_SMALL if description.photo_size < description.image_size else "",
        about=description,
    )


_SHOWN: Final = 20
"""The largest sources, which the card lists."""


def _source_rows(sources: Sequence[str], left_out: SourceAnswers | None) -> Iterator[str]:
    counts = Counter(sources)
    for source, count in counts.most_common(_SHOWN):
        right = left_out.right[np.array(left_out.sources) == source] if left_out and left_out.sources else np.zeros(0)
        found = wilson_interval(int(right.sum()), len(right)) if len(right) else None
        accuracy = f"{right.mean():.1%} | {found.low:.1%} to {found.high:.1%}" if found else "- | -"
        yield f"| {markdown_text(source) or '(not named)'} | {count} | {accuracy} |"
    if len(counts) > _SHOWN:
        others = sorted(counts.values())[:-_SHOWN]
        yield f"| {len(others)} more | {sum(others)} | - | - |"


_LEARNT = (
    "The out-of-distribution detector was trained on photos of other things; the share of outliers accepted above\n"
    "  was measured on them, out of fold. It may accept more of things that are unlike any of them."
)
_BY_DISTANCE = (
    "The out-of-distribution detector was trained without photos of other things; it uses only the distance from\n"
    "  the training photos."
)
_KNOWN = "EfficientNet-{}, trained on ImageNet, in int8; a linear head on many of its layers"
_CUSTOM = "the user's own, `{}`, in its own precision; a linear head on its features"
_KNOWN_TERMS = "The backbone's weights (Apache-2.0) were learnt from ImageNet, whose photos have terms of their own."
_NO_SOURCE_LEFT_OUT = (
    "No source of photos could be left out of training, so nothing here says how well the model does on photos of\n"
    "  another: expect less."
)
_SEVERAL_SOURCES = (
    "`new_source_accuracy` is that on photos of sources left out of training, and the one to expect of photos from\n"
    "  elsewhere; the table of sources has it for each."
)
_SMALL = (
    "\n- It was trained on small photos, enlarged. On ordinary photos it is less accurate than a model that was\n"
    "  trained on ordinary photos."
)

_CARD = """\
# Model card: {title}

Given one photo, this model returns a probability for each class. Its purpose is to route orders to couriers by vehicle.

| | |
|---|---|
| input | `photos`, uint8 [N, {size}, {size}, 3], RGB, squashed to a square |
| outputs | `probabilities`, float32 [N, classes], in the order below; `unfamiliarity`, float32 [N] |
| on request | `logits`, `evidence` (each place's share of the logits), `features`, `nearest` and `similarity` |
| refuse a photo | when its unfamiliarity exceeds {about.unfamiliar_above:.3f}, as 2% of known photos do out of fold |
| preprocessing | smoothing of noisy photos, more contrast for flat ones |
| network | {network} |
| training | logistic regression on photos, mirror images, crops and damaged copies (noise, contrast, blur, JPEG) |
| temperature | {about.temperature:.3f}, fitted on out-of-fold predictions |
| photo size | {about.photo_size} pixels a side |
| data version | {about.data_version} |
| seed | {about.seed} |
| created | {about.created} |

## Training photos

| class | photos |
|---|---|
{photos}
| (other things) | {outliers} |

| source | photos | accuracy when it is left out | 95% interval |
|---|---|---|---|
{by_source}

## Measured on the training photos, out of fold

Each photo was predicted by a head that was not trained on it, so the figures are a bit pessimistic for the final head,
which is trained on all photos. Accuracy on test photos is measured later, at the endpoint.

| measure | value |
|---|---|
{metrics}

## Limits

- It returns probabilities of its classes for a photo of anything else too, often with high confidence: use
  `unfamiliarity` to detect it.
- {ood_detector}
- {sources}{scale}
- Strong noise lowers accuracy; watch the drift report.
- It was trained on photos of whole vehicles. It is not meant to recognize people, license plates or places.
- {terms}
"""


def _progress(begin: float, end: float, share: float, more: str = "") -> None:
    _say(f"progress={begin + (end - begin) * share:.3f}{more}")


def _say(line: str) -> None:
    # Whoever follows the log wants each line at once.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

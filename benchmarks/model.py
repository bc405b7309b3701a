"""How good the model is: every target, with mean, spread and n, and two peers on the same photos.

`make bench-model` trains five models as SageMaker would run the program, judges each on the test photos,
cross-validates on the training photos, trains on natural photos, and writes the table into docs/model.md: about ten
minutes on two quiet cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.model_measures import HeldOutPhotos, Pixels, measure, predict
from benchmarks.model_peers import Labels, hog_and_svm, imagenet_classes
from threadpoolctl import threadpool_limits

from scones.config.settings import Settings
from scones.data.decode import decode, resize
from scones.data.loading import load_dataset
from scones.domain.decision import VEHICLES
from scones.model.inference import Model
from scones.model.model_file import read_model_file
from scones.training.backbone import backbone_weights
from scones.training.calibration import fit_ood_detector, fit_temperature, soften
from scones.training.cross_validation import CrossValidation, assign_folds, cross_validate
from scones.training.export import build_backbone
from scones.training.features import VIEWS, FeatureExtractor, Features, TrainingData
from scones.training.head import LayerGroups, StudySet
from scones.training.label_issues import neighbor_votes, rank_label_issues

PHOTOS = Path(os.environ.get("SCONES_PHOTOS", "photos"))
PAGE = Path(__file__).parents[1] / "docs" / "model.md"
BEGIN, END = "<!-- measured: written by make bench-model -->", "<!-- end of measured -->"
SIDE = 32
SIZE, NATURAL_SIZE = 160, 224
FEW = 20
FLIPPED = 0.05
FIRST = 50
RIDER = "-r.jpg"
"""How the names of natural photos end that show a person with the bicycle."""

# Figure, target as text, and whether a mean meets it.
TARGETS: Mapping[str, tuple[str, str, Callable[[float], bool]]] = {
    "accuracy": ("test accuracy", ">= .965", lambda x: x >= 0.965),
    "cv": ("5-fold cross-validation on the training photos", ">= .958", lambda x: x >= 0.958),
    "wall": ("training job, seconds of wall time", "<= 30", lambda x: x <= 30),
    "noise": ("accuracy with noise of severity 3", ">= .91", lambda x: x >= 0.91),
    "contrast": ("accuracy with contrast of severity 5", ">= .94", lambda x: x >= 0.94),
    "ece": ("ECE on the test photos, beyond what chance shows", "<= 0", lambda x: x <= 0),
    "covered": ("accuracy at 90% coverage", ">= .988", lambda x: x >= 0.988),
    "nothing": ("unfamiliar: AUROC of flat and noise pictures", ">= .98", lambda x: x >= 0.98),
    "others": ("unfamiliar: AUROC of CIFAR's other classes", ">= .95", lambda x: x >= 0.95),
    "accepted": ("other classes accepted", "<= .06", lambda x: x <= 0.06),
    "refused": ("two-wheelers refused", "<= .02", lambda x: x <= 0.02),
    "planted": (f"planted label errors: precision among the first {FIRST}", ">= .85", lambda x: x >= 0.85),
    "milliseconds": ("CPU milliseconds for an answer, one thread", "<= 3", lambda x: x <= 3),
    "size": ("model file, MB", "<= 12", lambda x: x <= 12),
    "natural": ("asked about natural photos: balanced accuracy", ">= .935", lambda x: x >= 0.935),
    "riders": ("asked about natural photos: ridden bicycles", ">= .88", lambda x: x >= 0.88),
    "natural_cv": (
        "trained on natural photos: balanced accuracy, validated",
        ">= .985",
        lambda x: x >= 0.985,
    ),
    "natural_accepted": (
        "trained on natural photos: other things accepted",
        "<= .03",
        lambda x: x <= 0.03,
    ),
    "natural_few": (
        f"{FEW} natural photos a class: balanced accuracy on the others",
        ">= .95",
        lambda x: x >= 0.95,
    ),
}


@dataclass(frozen=True)
class Natural:
    """Natural photos at the size of a model for them, which of them show riders, and photos of other things."""

    data: TrainingData
    riders: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bench:
    """The photos, and with how many seeds to train."""

    train: TrainingData
    judges: HeldOutPhotos
    natural: Natural | None
    seeds: int


def main() -> None:
    """Measure, print the table, and with --write put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photos, others = (PHOTOS / name for name in ("cifar100-two-wheelers", "cifar100-others"))
    data = str(photos) if photos.is_dir() else "cifar100"
    parser.add_argument("--data", default=data, help="where the photos come from, as for scones stage")
    known = others if others.is_dir() else None
    parser.add_argument("--others", type=Path, default=known, help="a folder with train/ and test/ of other things")
    parser.add_argument("--seeds", type=int, default=5, help="how many models to train")
    parser.add_argument(
        "--models", type=Path, help="a new folder for the trained models, as for benchmarks.monitor_seeds"
    )
    parser.add_argument("--write", action="store_true", help="write docs/model.md")
    options = parser.parse_args()
    bench = _gather(options)
    started = time.monotonic()
    with nullcontext(options.models) if options.models else tempfile.TemporaryDirectory() as folder:
        figures = _figures(bench, Path(folder))
    lines = list(_page(figures, _peers(bench), bench, time.monotonic() - started))
    print("\n".join(lines))
    if options.write:
        text = PAGE.read_text()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + after)


def _gather(options: argparse.Namespace) -> Bench:
    cache = Settings().cache.expanduser()
    found = load_dataset(options.data, classes=VEHICLES, cache=cache, progress=lambda *_: None)
    parts = {split: [photo for photo in found.photos if photo.split == split] for split in ("train", "test")}
    pixels = {split: np.stack([decode(photo.data, SIDE) for photo in photos]) for split, photos in parts.items()}
    labels = {
        split: np.array([found.classes.index(photo.label) for photo in photos]) for split, photos in parts.items()
    }
    if options.others:
        learnt, unseen = (list(_folder(options.others / split)) for split in ("train", "test"))
    else:
        # The archive's outliers come from its training photos: every fifth is kept from training, to judge by.
        outliers = [decode(photo.data, SIDE) for photo in found.outliers]
        learnt, unseen = [photo for index, photo in enumerate(outliers) if index % 5 != 4], outliers[4::5]
    blank = np.zeros((0, SIDE, SIDE, 3), np.uint8)
    learnt_photos = np.stack(learnt) if learnt else blank
    sources = ("",) * len(labels["train"])
    train = TrainingData(pixels["train"], labels["train"], len(found.classes), learnt_photos, sources)
    judges = HeldOutPhotos(pixels["test"], labels["test"], np.stack(unseen) if unseen else blank)
    return Bench(train, judges, _natural(PHOTOS / "natural"), options.seeds)


def _natural(folder: Path) -> Natural | None:
    """Folders of sources, each with a folder a class, and `other`."""
    files = {name: sorted(folder.glob(f"*/{name}/*.jpg")) for name in (*VEHICLES, "other")}
    if not files[VEHICLES[0]]:
        return None
    pixels = {name: [decode(path.read_bytes(), NATURAL_SIZE) for path in paths] for name, paths in files.items()}
    known = [path for name in VEHICLES for path in files[name]]
    data = TrainingData(
        np.stack([photo for name in VEHICLES for photo in pixels[name]]),
        np.repeat(np.arange(len(VEHICLES)), [len(files[name]) for name in VEHICLES]),
        len(VEHICLES),
        np.stack(pixels["other"]),
        ("",) * len(known),
    )
    return Natural(data, np.array([path.name.endswith(RIDER) for path in known]))


def _folder(folder: Path) -> Iterator[Pixels]:
    for path in sorted(folder.rglob("*.png")):
        yield decode(path.read_bytes(), SIDE)


def _figures(bench: Bench, folder: Path) -> dict[str, list[float]]:
    """Every figure, once for each seed that it was measured with; the jobs are done in *folder*."""
    figures: dict[str, list[float]] = {name: [] for name in TARGETS}
    for seed in range(bench.seeds):
        job = folder / f"seed-{seed}"
        figures["wall"].append(_train(bench, job, seed))
        model_file = read_model_file(job / "model")
        found = measure(model_file, bench.judges)
        found["ece"] -= found.pop("chance")
        if bench.natural:
            found |= _ask_natural(Model(model_file), bench.natural)
        for name, value in found.items():
            figures[name].append(value)
    study = _studied(bench.train, SIZE)
    for seed in range(bench.seeds):
        figures["cv"].append(_right(_validate(study, bench.train, seed), bench.train.labels))
        figures["planted"].append(_precision(study, bench.train, seed))
    if bench.natural:
        _learn_natural(bench.natural.data, bench.seeds, figures)
    return {name: values for name, values in figures.items() if values}


def _studied(data: TrainingData, size: int) -> StudySet:
    """The features of all views, as the training program extracts them."""
    weights = backbone_weights("lite0")
    backbone = build_backbone(weights, resize(data.photos[:: max(1, len(data.photos) // 80)], size))
    extractor = FeatureExtractor(backbone.model, size)
    views = [extractor.see(data.photos, view) for view in range(VIEWS)]
    return _study(data, views, extractor.see(data.outliers), backbone.last)


def _study(data: TrainingData, views: Sequence[Features], outliers: Features, last: slice) -> StudySet:
    weights = backbone_weights("lite0")
    with threadpool_limits(1):
        groups = LayerGroups(views, last, (np.ascontiguousarray(weights["_fc.weight"].T), weights["_fc.bias"]))
    return StudySet(views, data.labels, data.classes, outliers, last, groups)


def _validate(study: StudySet, data: TrainingData, seed: int) -> CrossValidation:
    with threadpool_limits(1):
        return cross_validate(study, assign_folds(data, seed), data.sources, lambda _share: None)


def _right(found: CrossValidation, labels: Labels) -> float:
    return float((found.photos.log_probabilities.argmax(axis=1) == labels).mean())


def _balanced(answers: Labels, labels: Labels) -> float:
    return float(np.mean([(answers[labels == label] == label).mean() for label in np.unique(labels)]))


def _ask_natural(model: Model, natural: Natural) -> dict[str, float]:
    answers = predict(model, natural.data.photos)[:, : natural.data.classes].argmax(axis=1)
    riders = float((answers[natural.riders] == 0).mean())
    return {"natural": _balanced(answers, natural.data.labels), "riders": riders}


def _learn_natural(data: TrainingData, seeds: int, figures: dict[str, list[float]]) -> None:
    study = _studied(data, NATURAL_SIZE)
    for seed in range(seeds):
        found = _validate(study, data, seed)
        figures["natural_cv"].append(_balanced(found.photos.log_probabilities.argmax(axis=1), data.labels))
        known, others = found.photos.strangeness, found.outliers.strangeness
        detector = fit_ood_detector(known, learnt=True)
        figures["natural_accepted"].append(float((detector.score(others) <= detector.refused_above).mean()))
        few = np.concatenate([_some(np.flatnonzero(data.labels == label), seed) for label in range(data.classes)])
        part = replace(data, photos=data.photos[few], labels=data.labels[few], sources=("",) * len(few))
        small = _study(part, [view[few] for view in study.views], study.outliers[:0], study.last)
        head = _validate(small, replace(part, outliers=data.outliers[:0]), seed).final
        left = np.setdiff1d(np.arange(len(data.labels)), few)
        answers = head.ask(study.views[0][left]).log_probabilities.argmax(axis=1)
        figures["natural_few"].append(_balanced(answers, data.labels[left]))


def _some(rows: npt.NDArray[np.intp], seed: int) -> npt.NDArray[np.intp]:
    return np.random.default_rng(seed).choice(rows, FEW, replace=False)


def _train(bench: Bench, job: Path, seed: int) -> float:
    """Run the training program on a job's folder, and give its wall time in seconds."""
    from PIL import Image  # noqa: PLC0415 - only to write what the program will read

    names = [VEHICLES[label] for label in bench.train.labels.tolist()]
    for channel, labels, photos in (
        ("training", names, bench.train.photos),
        ("outliers", ["others"] * len(bench.train.outliers), bench.train.outliers),
    ):
        for number, (label, photo) in enumerate(zip(labels, photos, strict=True)):
            folder = job / "input" / "data" / channel / label
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(folder / f"{number:05}.png")
    config = job / "input" / "config"
    config.mkdir()
    config.joinpath("hyperparameters.json").write_text(json.dumps({"seed": str(seed)}))
    environment = dict(os.environ, SAGEMAKER_BASE_DIR=str(job))
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "scones.training"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def _flipped(data: TrainingData, seed: int) -> Labels:
    chosen = np.random.default_rng(seed).choice(len(data.labels), round(FLIPPED * len(data.labels)), replace=False)
    labels = data.labels.copy()
    labels[chosen] = (labels[chosen] + 1) % data.classes
    return labels


def _precision(study: StudySet, data: TrainingData, seed: int) -> float:
    """The share of flipped labels among those that are doubted most."""
    flipped = replace(data, labels=_flipped(data, seed))
    found = _validate(replace(study, labels=flipped.labels), flipped, seed)
    temperature = fit_temperature(found.photos.log_probabilities, flipped.labels)
    probabilities = soften(found.photos.log_probabilities, temperature)
    votes = neighbor_votes(study.groups.whitened(), flipped.labels, probabilities)
    names = [str(number) for number in range(len(flipped.labels))]
    labels = [VEHICLES[label] for label in flipped.labels.tolist()]
    suspects = rank_label_issues(names, labels, probabilities, VEHICLES, votes)[:FIRST]
    return float(np.mean([flipped.labels[int(one.name)] != data.labels[int(one.name)] for one in suspects]))


def _peers(bench: Bench) -> dict[str, tuple[float, float]]:
    """Each peer's test accuracy and seconds."""
    train, judges = bench.train, bench.judges
    peers: dict[str, Callable[[], Labels]] = {
        "HOG and an SVM with RBF kernel": lambda: hog_and_svm(train.photos, train.labels, judges.photos),
        "EfficientNet-Lite0's own ImageNet classes, no training": lambda: _imagenet(judges.photos),
    }
    found = {}
    for name, answer in peers.items():
        started = time.monotonic()
        accuracy = float((answer() == judges.labels).mean())
        found[name] = accuracy, time.monotonic() - started
    return found


def _imagenet(photos: Pixels) -> Labels:
    weights = backbone_weights("lite0")
    backbone = build_backbone(weights, resize(photos, SIZE))
    last = FeatureExtractor(backbone.model, SIZE).see(photos)[:, backbone.last]
    return imagenet_classes(last, weights["_fc.weight"], weights["_fc.bias"])


def _page(
    figures: Mapping[str, Sequence[float]], peers: Mapping[str, tuple[float, float]], bench: Bench, seconds: float
) -> Iterator[str]:
    test, others = len(bench.judges.photos), len(bench.judges.others)
    yield f"Measured on {datetime.now(UTC):%Y-%m-%d} in {seconds:.0f} s: {len(bench.train.photos)} training photos,"
    yield f"{len(bench.train.outliers)} outliers, {test} test photos, {others} test photos of other things."
    yield ""
    yield "| figure | target | mean | spread | n | met |"
    yield "|---|---|---|---|---|---|"
    for name, (words, target, meets) in TARGETS.items():
        values = figures.get(name, ())
        if not values:
            continue
        mean = statistics.fmean(values)
        met = "yes" if meets(mean) else "**no**"
        digits = 1 if name in ("wall", "milliseconds", "size") else 3
        spread = f"{statistics.stdev(values):.{digits}f}" if len(values) > 1 else "-"
        yield f"| {words} | {target} | {mean:.{digits}f} | {spread} | {len(values)} | {met} |"
    yield ""
    yield "n counts seeds, which choose the folds too; the spread is the standard deviation over them. Noise and"
    yield "contrast are those of CIFAR-10-C: deviation .08, and 15% of the contrast left."
    yield ""
    yield "| peer, on the same photos | test accuracy | seconds |"
    yield "|---|---|---|"
    for name, (accuracy, taken) in peers.items():
        yield f"| {name} | {accuracy:.3f} | {taken:.0f} |"


if __name__ == "__main__":
    main()

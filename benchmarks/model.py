"""How good the model is: every target, with mean, spread and n, and two peers on the same photos.

`make bench-model` trains five models as SageMaker would run the program, judges each on the test photos,
cross-validates on the training photos, and writes the table into docs/model.md: about ten minutes on two quiet cores.
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
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.model_measures import HeldOutPhotos, Pixels, measure
from benchmarks.model_peers import Labels, hog_and_svm, resnet18

from scones.config.settings import Settings
from scones.data.decode import decode
from scones.data.loading import load_dataset
from scones.domain.decision import VEHICLES
from scones.model.model_file import read_model_file
from scones.training.calibration import soften
from scones.training.fit import fit
from scones.training.label_issues import neighbor_votes, rank_label_issues
from scones.training.network import predict
from scones.training.recipe import Recipe, TrainingData, without_outliers

Probabilities = npt.NDArray[np.float64]

PHOTOS = Path(os.environ.get("SCONES_PHOTOS", "photos"))
PAGE = Path(__file__).parents[1] / "docs" / "model.md"
BEGIN, END = "<!-- measured: written by make bench-model -->", "<!-- end of measured -->"
SIDE = 32
FOLDS = 5
PLANTED_FOLDS = 3
FLIPPED = 0.05
FIRST = 50

# Figure, target as text, and whether a mean meets it.
TARGETS: Mapping[str, tuple[str, str, Callable[[float], bool]]] = {
    "accuracy": ("test accuracy", ">= .955", lambda x: x >= 0.955),
    "cv": ("5-fold cross-validation on the training photos", ">= .945", lambda x: x >= 0.945),
    "wall": ("training job, seconds of wall time", "<= 60", lambda x: x <= 60),
    "noise": ("accuracy with noise of severity 3", ">= .85", lambda x: x >= 0.85),
    "contrast": ("accuracy with contrast of severity 5", ">= .80", lambda x: x >= 0.80),
    "ece": ("ECE after calibration", "<= .025", lambda x: x <= 0.025),
    "covered": ("accuracy at 90% coverage", ">= .985", lambda x: x >= 0.985),
    "nothing": ("unfamiliar: AUROC of flat and noise pictures", ">= .98", lambda x: x >= 0.98),
    "others": ("unfamiliar: AUROC of CIFAR's other classes", ">= .95", lambda x: x >= 0.95),
    "accepted": ("other classes accepted", "<= .15", lambda x: x <= 0.15),
    "refused": ("two-wheelers refused", "<= .02", lambda x: x <= 0.02),
    "planted": (f"planted label errors: precision among the first {FIRST}", ">= .8", lambda x: x >= 0.8),
    "int8": ("int8: difference in accuracy", "within .005", lambda x: abs(x) <= 0.005),
    "speed": ("int8: CPU per photo, times less", ">= 2", lambda x: x >= 2),
}


class Opinion(NamedTuple):
    """What one network says of the photos that it did not see, and the features [N, F] that it gives to all of them."""

    probabilities: Probabilities
    features: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bench:
    """The photos, and how much is done with them."""

    train: TrainingData
    judges: HeldOutPhotos
    seeds: int
    epochs: int
    peer_epochs: int


def main() -> None:
    """Measure, print the table, and with --write put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photos, others = (PHOTOS / name for name in ("cifar100-two-wheelers", "cifar100-others"))
    data = str(photos) if photos.is_dir() else "cifar100"
    parser.add_argument("--data", default=data, help="where the photos come from, as for scones stage")
    known = others if others.is_dir() else None
    parser.add_argument("--others", type=Path, default=known, help="a folder with train/ and test/ of other things")
    parser.add_argument("--seeds", type=int, default=5, help="how many models to train")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--peer-epochs", type=int, default=12, help="epochs of ResNet-18")
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
    train = TrainingData(pixels["train"], labels["train"], len(found.classes), np.stack(learnt) if learnt else blank)
    judges = HeldOutPhotos(pixels["test"], labels["test"], np.stack(unseen) if unseen else blank)
    return Bench(train, judges, options.seeds, options.epochs, options.peer_epochs)


def _folder(folder: Path) -> Iterator[Pixels]:
    for path in sorted(folder.rglob("*.png")):
        yield decode(path.read_bytes(), SIDE)


def _figures(bench: Bench, folder: Path) -> dict[str, list[float]]:
    """Every figure, once for each seed that it was measured with; the jobs are done in *folder*."""
    figures: dict[str, list[float]] = {name: [] for name in TARGETS}
    for seed in range(bench.seeds):
        job = folder / f"seed-{seed}"
        figures["wall"].append(_train(bench, job, seed))
        for name, value in measure(read_model_file(job / "model"), bench.judges).items():
            figures[name].append(value)
    # At this size a second thread gains nothing: two fits side by side, of one thread each.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        planted = [
            pool.submit(_doubt, bench, seed, fold) for seed in range(bench.seeds) for fold in range(PLANTED_FOLDS)
        ]
        figures["cv"] = list(pool.map(_validate, [bench] * FOLDS, range(FOLDS)))
        found = [task.result() for task in planted]
    figures["planted"] = [
        _precision(bench, seed, found[PLANTED_FOLDS * seed :][:PLANTED_FOLDS]) for seed in range(bench.seeds)
    ]
    return figures


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
    config.joinpath("hyperparameters.json").write_text(json.dumps({"seed": str(seed), "epochs": str(bench.epochs)}))
    environment = dict(os.environ, SAGEMAKER_BASE_DIR=str(job))
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "scones.training"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def _validate(bench: Bench, fold: int) -> float:
    """The accuracy on one of five folds of the training photos."""
    held_out = _folds(bench.train.labels, FOLDS) == fold
    answers = _answers(bench.train, Recipe(epochs=bench.epochs), held_out, fold).probabilities
    return float((answers.argmax(axis=1) == bench.train.labels[held_out]).mean())


def _doubt(bench: Bench, seed: int, fold: int) -> Opinion:
    """What one fold's network says of photos, some of them with flipped labels; without outliers, to take less time."""
    data = replace(bench.train, labels=_flipped(bench.train, seed), outliers=bench.train.outliers[:0])
    held_out = _folds(data.labels, PLANTED_FOLDS) == fold
    return _answers(data, without_outliers(Recipe(epochs=bench.epochs)), held_out, seed)


def _answers(data: TrainingData, recipe: Recipe, held_out: npt.NDArray[np.bool_], seed: int) -> Opinion:
    torch.set_num_threads(1)
    seen = TrainingData(data.photos[~held_out], data.labels[~held_out], data.classes, data.outliers)
    network = fit(seen, recipe, seed, lambda _epoch: None)
    everything = predict(network, data.photos)
    return Opinion(soften(everything.some(held_out).log_probabilities, 1), everything.features)


def _folds(labels: Labels, count: int) -> Labels:
    rng, fold_of = np.random.default_rng(0), np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold_of[members] = np.arange(len(members)) % count
    return fold_of


def _flipped(data: TrainingData, seed: int) -> Labels:
    chosen = np.random.default_rng(seed).choice(len(data.labels), round(FLIPPED * len(data.labels)), replace=False)
    labels = data.labels.copy()
    labels[chosen] = (labels[chosen] + 1) % data.classes
    return labels


def _precision(bench: Bench, seed: int, of_fold: Sequence[Opinion]) -> float:
    """The share of flipped labels among those that are doubted most."""
    labels = _flipped(bench.train, seed)
    fold_of = _folds(labels, PLANTED_FOLDS)
    probabilities = np.zeros((len(labels), bench.train.classes))
    for fold in range(PLANTED_FOLDS):
        probabilities[fold_of == fold] = of_fold[fold].probabilities
    votes = neighbor_votes(np.concatenate([one.features for one in of_fold], axis=1), labels, probabilities)
    names = [str(number) for number in range(len(labels))]
    suspects = rank_label_issues(names, [VEHICLES[label] for label in labels.tolist()], probabilities, VEHICLES, votes)[
        :FIRST
    ]
    return float(np.mean([labels[int(one.name)] != bench.train.labels[int(one.name)] for one in suspects]))


def _peers(bench: Bench) -> dict[str, tuple[float, float]]:
    """Each peer's test accuracy and seconds."""
    train, judges = bench.train, bench.judges
    peers: dict[str, Callable[[], Labels]] = {
        "HOG and an SVM with RBF kernel": lambda: hog_and_svm(train.photos, train.labels, judges.photos),
        f"ResNet-18, {bench.peer_epochs} epochs from scratch": lambda: resnet18(
            train.photos, train.labels, judges.photos, epochs=bench.peer_epochs
        ),
    }
    found = {}
    for name, answer in peers.items():
        started = time.monotonic()
        accuracy = float((answer() == judges.labels).mean())
        found[name] = accuracy, time.monotonic() - started
    return found


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
        values = figures[name]
        mean = statistics.fmean(values)
        met = "yes" if meets(mean) else "**no**"
        digits = 1 if name in ("wall", "speed") else 3
        spread = f"{statistics.stdev(values):.{digits}f}" if len(values) > 1 else "-"
        yield f"| {words} | {target} | {mean:.{digits}f} | {spread} | {len(values)} | {met} |"
    yield ""
    yield "n counts seeds (folds for cross-validation), and the spread is the standard deviation over them. Noise and"
    yield "contrast are those of CIFAR-10-C: deviation .08, and 15% of the contrast left. Label errors were planted and"
    yield "looked for without outliers, which takes less time."
    yield ""
    yield "| peer, on the same photos | test accuracy | seconds |"
    yield "|---|---|---|"
    for name, (accuracy, taken) in peers.items():
        yield f"| {name} | {accuracy:.3f} | {taken:.0f} |"


if __name__ == "__main__":
    main()

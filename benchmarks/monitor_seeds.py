"""How often does the monitor fire on test photos, and how soon on dark and blurred ones, for each trained model?

`python -m benchmarks.monitor_seeds FOLDER` takes a folder of models, each a `model.tar.gz` or its folder, as
`python -m scones.training` writes it, preferably of one seed each. With each model it does what the demo does: the
test photos pass the stream detector and the window test, then photos that are darkened and blurred. The demo does so
in one order, this in twenty. About five seconds per model.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import darken_and_blur, decode, resize
from scones.model.model_file import open_model_file
from scones.monitoring.drift.features import MIN_PHOTOS, Floats, Photos, clip_ood_score, measure_features
from scones.monitoring.drift.stream_detector import StreamDetector
from scones.monitoring.drift.stream_statistics import statistic_values
from scones.monitoring.drift.window_test import FalseAlarmBudget, window_test
from scones.monitoring.performance.registered_model import RegisteredModel, open_model

ORDERS = 20
DRILL = 100
"""Photos that are darkened and blurred, as in the demo."""
SOON = 40
"""By this photo a darkened and blurred batch should be found."""
NEVER = DRILL + 1


@dataclass(frozen=True)
class Quiet:
    """What one model's monitor said: of all test photos together, and in each order.

    Heights are in units of the threshold. *found* counts the dark and blurred photos until the alarm, or is NEVER.
    """

    name: str
    accuracy: float
    photos: int
    rate: float
    """The share of clean windows of this size that may fire."""
    window: float
    streams: tuple[float, ...]
    found: tuple[int, ...]


def main() -> None:
    """Measure every model in the folder, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="a folder of model_files")
    data = Path(os.environ.get("SCONES_PHOTOS", "photos"), "cifar100-two-wheelers", "test")
    parser.add_argument("--photos", type=Path, default=data, help="the test photos, one folder a class")
    parser.add_argument("--orders", type=int, default=ORDERS)
    options = parser.parse_args()
    found = []
    for model_file in model_files(options.models):
        name = model_file.relative_to(options.models).as_posix()
        found.append(measure_model(name, model_file, options.photos, options.orders))
        print(f"measured {name}", file=sys.stderr)
    print("\n".join(table(found)))


def model_files(folder: Path) -> list[Path]:
    """Find the model_files below *folder*: opened ones, and archives.

    Raises:
        SystemExit: there are none.
    """
    found = sorted({*(path.parent for path in folder.rglob("model.json")), *folder.rglob("model.tar.gz")})
    if not found:
        raise SystemExit(f"{folder} holds no model: neither model.json nor model.tar.gz lies below it")
    return found


def measure_model(name: str, path: Path, photos: Path, orders: int) -> Quiet:
    """Send the test *photos*, one folder a class, in some *orders*, each followed by darkened and blurred ones."""
    with open_model_file(path) as model_file:
        seed = model_file.seed
    model = open_model(path)
    files = [file for name in model.classes for file in sorted((photos / name).glob("*.png"))]
    labels = [model.classes.index(file.parent.name) for file in files]
    side = model.image_size
    clean, right = _measure(model, np.stack([decode(file.read_bytes(), side) for file in files]), labels)
    dirty, _ = _measure(model, np.stack([decode(darken_and_blur(file.read_bytes()), side) for file in files]), labels)
    budget = FalseAlarmBudget()
    rate = budget.of_window(len(clean))
    verdict = window_test(model.baseline, clean, false_alarm_rate=rate)
    detector = model.stream_detector()
    rng = np.random.default_rng(seed)
    count = len(clean)
    rows = [np.append(rng.permutation(count), count + rng.permutation(count)[:DRILL]) for _ in range(orders)]
    heights = _scores(detector, np.concatenate([clean, dirty]), np.stack(rows))
    later = heights[:, count:] > 1
    return Quiet(
        name=name,
        accuracy=right,
        photos=count,
        rate=rate,
        window=verdict.score / verdict.threshold,
        streams=tuple(heights[:, :count].max(axis=1).tolist()),
        found=tuple(np.where(later.any(axis=1), later.argmax(axis=1) + 1, NEVER).tolist()),
    )


def _measure(model: RegisteredModel, photos: Photos, labels: list[int]) -> tuple[Floats, float]:
    """Measure the photos as a monitoring run does; and the share of right predictions."""
    probabilities, ood_score, seen = model.predict(photos)
    clipped = None if ood_score is None else clip_ood_score(ood_score, model.baseline.ood_lower)
    resized = resize(photos, model.photo_size)
    values = measure_features(resized, probabilities.astype(np.float64), clipped, model.content(seen))
    return values, float((probabilities.argmax(axis=1) == labels).mean())


def _scores(detector: StreamDetector, values: Floats, orders: NDArray[np.intp]) -> Floats:
    """The stream's drift score after each photo, [orders, photos], in units of the threshold; all orders at once."""
    steps = detector.reference.increments(values)
    motion, heights = steps.initial(len(orders)), np.zeros(orders.shape)
    for seen, photos in enumerate(orders.T, start=1):
        motion = steps.update(motion, photos)
        if seen >= MIN_PHOTOS:
            heights[:, seen - 1] = detector.threshold.score(statistic_values(motion, seen)) / detector.threshold.height
    return heights


def table(found: Sequence[Quiet]) -> Iterator[str]:
    """Say it in Markdown: a line a model, and a line on all."""
    yield "| model | test accuracy | window, lines | stream: orders that fired | highest, lines | found after, median |"
    yield "|---|---|---|---|---|---|"
    for each in found:
        fired = f"{sum(highest > 1 for highest in each.streams)} of {len(each.streams)}"
        heights = f"{np.median(each.streams):.2f} (most {max(each.streams):.2f})"
        places = f"{np.median(each.found):.0f} (most {_place(max(each.found))})"
        yield f"| {each.name} | {each.accuracy:.3f} | {each.window:.2f} | {fired} | {heights} | {places} |"
    yield ""
    yield from _together(found)


def _together(found: Sequence[Quiet]) -> Iterator[str]:
    first = found[0]
    accuracies, windows = (np.array([getattr(each, name) for each in found]) for name in ("accuracy", "window"))
    streams, places = (np.array([getattr(each, name) for each in found]) for name in ("streams", "found"))
    yield f"{len(found)} models, right on {accuracies.mean():.3f} ± {accuracies.std():.3f} of the {first.photos} test"
    yield f"photos. At the default budget {first.rate:.1%} of windows of so many clean photos may fire, and about"
    yield "as many of the streams. All models see the same photos, so these are not as many independent cases."
    yield ""
    yield f"- windows that fired: {(windows > 1).sum()} of {len(found)}; height {_spread(windows)} times the threshold"
    yield f"- streams that fired: {(streams > 1).sum()} of {streams.size}, of {(streams > 1).any(axis=1).sum()} models;"
    yield f"  highest drift score {_spread(streams)} times the threshold"
    late = (places > SOON).sum()
    yield f"- darkened and blurred photos until the alarm, {places.size} drills: median {np.median(places):.0f},"
    yield f"  largest {_place(places.max())}; later than {SOON}: {late}, never: {(places == NEVER).sum()}"


def _spread(heights: Floats) -> str:
    return f"{heights.mean():.2f} ± {heights.std():.2f}, at most {heights.max():.2f}"


def _place(photos: int) -> str:
    return "never" if photos >= NEVER else str(photos)


if __name__ == "__main__":
    main()

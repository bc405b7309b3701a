"""Demo of the loop: a new camera, reviews, a retraining that replaces the model, and a poisoned one that does not."""

import csv
import itertools
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from scones.config.settings import Settings
from scones.data.dataset import Dataset, LabelledPhoto, Sample, SourceError, Split, path_of
from scones.data.decode import darken_and_blur
from scones.data.labels import Purpose
from scones.data.sources.synthetic import load_sample
from scones.deployment.retrainings import Phase, Retraining
from scones.domain.progress import Silent
from scones.domain.statistics import Interval, wilson_interval
from scones.environment import load_result
from scones.evaluation.challenge import PairedAccuracy
from scones.evaluation.comparison import mcnemar
from scones.monitoring.inspect import MonitorResult
from scones.pipeline import Pipeline
from scones.retraining import begin_retraining, continue_retraining
from scones.steps.classify import ClassifiedPhoto
from scones.steps.deploy import DeployResult

JUDGED, IMPORTED = 100, 100
"""Photos of the new camera that only judge the models, and a supplier's; reviewers see the others."""
REVIEWED: Final = 200
"""Photos of the new camera that reviewers may see."""
TESTED: Final = 300
"""So many test photos or more: fewer cannot show that a model is not worse by the gate's margin."""
_CHOSEN: Final = {"photos": 400, "rendered": 300}
"""So many photos the sampling plan chooses, among all that the model answered: also those before the camera changed."""
_BRIGHTNESS, _BLUR = 0.4, 1 / 24
"""What the new camera makes of a photo."""
TRAINED: Final = 100
"""At least so many photos of each class must be left to train the first model."""
_DRAWN: Final[Mapping[Split, int]] = {"train": 450, "test": 200}
FLIPPED: Final = 0.6
"""The share of the supplier's labels that are wrong."""
_MARGIN = 0.05
_AT_ONCE, _PAUSE_SECONDS = 4, 0.5


@dataclass(frozen=True, slots=True)
class LoopDemo:
    """What became of the loop: the alarm, the labels, both retrainings, and the accuracy that came back."""

    monitored: MonitorResult
    """After the camera changed."""
    labels: int
    measuring: int
    """So many of the labels measure the accuracy, and are not trained on."""
    accuracy: PairedAccuracy
    """Of the model before and after, on photos of the new camera that no person labelled."""
    retraining: Retraining
    release: int
    canary: Mapping[str, int]
    """What became of the photos sent while the new model took over, by outcome."""
    imported: int
    flipped: int
    poisoned: Retraining
    live: int
    """The model that serves at the end."""
    executions: tuple[ClassifiedPhoto, ...]
    training_seconds: float

    def intervals(self) -> tuple[Interval, Interval]:
        """The 95% intervals of the accuracy before and after."""
        n = self.accuracy.n
        before, after = (round(n * share) for share in (self.accuracy.champion, self.accuracy.challenger))
        return wilson_interval(before, n), wilson_interval(after, n)


def loop_settings(settings: Settings) -> Settings:
    """The settings with a second instance, for a short canary, and a margin for the gate that fits so few photos."""
    return replace(
        settings,
        retrain="off",
        gate_margin=max(settings.gate_margin, _MARGIN),
        endpoint_instances=max(settings.endpoint_instances, 2),
        bake_seconds=5,
        alarm_seconds=10,
    )


def hold_back(dataset: Dataset, seed: int) -> tuple[Dataset, tuple[LabelledPhoto, ...]]:
    """Take training photos out of *dataset*, equally many of each class: they arrive later, from the new camera.

    Raises:
        SourceError: a class has too few photos.
    """
    if dataset.name == "sample":
        dataset = replace(load_sample(dataset.classes, lambda *_: None, _DRAWN), notice=dataset.notice)
    classes, rng = dataset.classes, np.random.default_rng(seed)
    tested = sum(photo.split == "test" for photo in dataset.photos)
    more, arriving = max(0, TESTED - tested), REVIEWED + JUDGED + IMPORTED
    kept = [photo for photo in dataset.photos if photo.split == "test"]
    held: list[list[LabelledPhoto]] = []
    test, traffic = (math.ceil(count / len(classes)) for count in (more, arriving))
    for label in classes:
        photos = [photo for photo in dataset.photos if photo.split == "train" and photo.label == label]
        places = rng.permutation(len(photos))
        if len(photos) < test + traffic + TRAINED:
            raise SourceError(
                f"class {label!r} has {len(photos)} training photos; the demo of the loop needs "
                f"{test + traffic + TRAINED}: name other photos with --data, or run the demo without --loop"
            )
        chosen = [photos[place] for place in places.tolist()]
        kept += [replace(photo, split="test", name=f"{photo.sha256}.png") for photo in chosen[:test]]
        held.append(chosen[test : test + traffic])
        kept += chosen[test + traffic :]
    # The classes take turns, so that each part has equally many of each.
    mixed = tuple(photo for turn in zip(*held, strict=True) for photo in turn)
    names = {path_of(photo) for photo in kept}
    notes = tuple(note for note in dataset.findings.notes if note.name in names)
    return replace(dataset, photos=tuple(kept), findings=replace(dataset.findings, notes=notes)), mixed[:arriving]


def run_loop(flow: Pipeline, kind: str, arriving: Sequence[LabelledPhoto]) -> LoopDemo:
    """Change the camera, have people answer, who know the true labels, and retrain twice."""
    tell = flow.report.tell
    tell("the loop: a new camera takes over, and its photos are dark and blurred")
    flow.monitor(acknowledge=True)
    photos = [_of_new_camera(flow, photo) for photo in arriving]
    seen, judged, imported = photos[: -JUDGED - IMPORTED], photos[-JUDGED - IMPORTED : -IMPORTED], photos[-IMPORTED:]
    before = flow.classify_samples([*seen, *judged]).executions
    monitored = flow.monitor(at_least=len(before))
    labels, measuring = _review(flow, {sample.sha256: sample.label for sample in seen}, _CHOSEN[kind])
    tell(f"reviews: {labels} answered; {measuring} of them measure, and no model is trained on those")
    good, canary = _retrain(flow, f"alarm {flow.aws.name}-drift", judged)
    release = load_result(flow.aws, "deploy", DeployResult).release
    after = flow.classify_samples(judged).executions
    accuracy = _paired(before[-len(judged) :], after)
    tell(str(accuracy))
    answered = flow.classify_samples(imported).executions
    flipped = _import_poisoned(flow, imported)
    tell(f"a supplier's file brings labels of {len(imported)} more photos; {flipped} of them are wrong")
    poisoned, _ = _retrain(flow, "new labels", judged)
    return LoopDemo(
        monitored=monitored,
        labels=labels,
        measuring=measuring,
        accuracy=accuracy,
        retraining=good,
        release=release,
        canary=canary,
        imported=len(imported),
        flipped=flipped,
        poisoned=poisoned,
        live=load_result(flow.aws, "deploy", DeployResult).package,
        executions=(*before, *after, *answered),
        training_seconds=sum(flow.aws.sagemaker.training(each.job).seconds for each in (good, poisoned)),
    )


def _of_new_camera(flow: Pipeline, photo: LabelledPhoto) -> Sample:
    changed = darken_and_blur(photo.data, brightness=_BRIGHTNESS, blur_share=_BLUR)
    return flow.upload("new-camera.png", changed, photo.label)


def _review(flow: Pipeline, truth: Mapping[str, str], chosen: int) -> tuple[int, int]:
    """Answer the reviews of photos whose *truth* is known; returns how many, and how many of them measure."""
    with TemporaryDirectory() as folder:
        table = Path(flow.export_reviews(Path(folder) / "reviews.html", chosen, limit=1000).table)
        with table.open(newline="") as file:
            asked = [row["photo"] for row in csv.DictReader(file)]
        _import(flow, {photo: truth[photo] for photo in asked if photo in truth}, "reviewer")
    answered = flow.reviews("answered", 1000).items
    return len(answered), sum(review.purpose is Purpose.MEASURE for review in answered)


def _import_poisoned(flow: Pipeline, samples: Sequence[Sample]) -> int:
    """Import labels of which a share is flipped; returns how many are."""
    wrong = round(FLIPPED * len(samples))
    classes = sorted({sample.label for sample in samples})
    labels = {
        sample.sha256: classes[(classes.index(sample.label) + (place < wrong)) % len(classes)]
        for place, sample in enumerate(samples)
    }
    _import(flow, labels, "supplier")
    return wrong


def _import(flow: Pipeline, labels: Mapping[str, str], by: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_text("photo,label\n" + "".join(f"{photo},{label}\n" for photo, label in labels.items()))
        flow.import_labels(path, by)


def _retrain(flow: Pipeline, reason: str, traffic: Sequence[Sample]) -> tuple[Retraining, Mapping[str, int]]:
    """Retrain as `scones retrain` does; photos are sent while the endpoint is updated, and their outcomes returned."""
    found, sent = begin_retraining(flow, reason), list[ClassifiedPhoto]()
    while found.phase is not Phase.ENDED:
        with _sending(flow, traffic, sent) if found.phase is Phase.DEPLOY else nullcontext():
            found = continue_retraining(flow, found)
    return found, Counter(item.outcome.value for item in sent)


@contextmanager
def _sending(flow: Pipeline, traffic: Sequence[Sample], sent: list[ClassifiedPhoto]) -> Iterator[None]:
    """Send photos, a few at a time, until the block ends."""
    quiet, over = replace(flow, report=Silent()), threading.Event()

    def send() -> None:
        for start in itertools.cycle(range(0, len(traffic), _AT_ONCE)):
            if over.wait(_PAUSE_SECONDS):
                return
            sent.extend(quiet.classify_samples(traffic[start : start + _AT_ONCE]).executions)

    with ThreadPoolExecutor(1) as pool:
        sender = pool.submit(send)
        try:
            yield
        finally:
            over.set()
    sender.result()


def _paired(before: Sequence[ClassifiedPhoto], after: Sequence[ClassifiedPhoto]) -> PairedAccuracy:
    old, new = ([item.label == item.truth for item in part] for part in (before, after))
    pairs = Counter(zip(old, new, strict=True))
    return PairedAccuracy(
        name="photos of the new camera",
        n=len(old),
        champion=sum(old) / len(old),
        challenger=sum(new) / len(new),
        only_champion=pairs[True, False],
        only_challenger=pairs[False, True],
        p_value=mcnemar(pairs[True, False], pairs[False, True]),
    )

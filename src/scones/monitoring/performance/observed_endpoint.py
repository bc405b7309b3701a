"""Observed endpoint: one that Scones did not make, whose captured photos and answers are compared with a baseline.

Its model is not known, so nothing is predicted again: drift is measured on the photos and on the captured answers.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NoReturn

import numpy as np

from scones.domain.errors import MonitoringError
from scones.domain.text import plural
from scones.monitoring.capture.records import CapturedPhoto, CaptureReader
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES, Photos, measure_features
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.window_test import MIN_BASELINE, FalseAlarmBudget
from scones.monitoring.performance.registered_model import RegisteredModel

SIDE: Final = 160
"""Photos are measured at this side, whatever size they were sent at."""
_SEARCHED: Final = 10_000
_HOUR = re.compile(r"(.*?)\d{4}/\d{2}/\d{2}/\d{2}/[^/]+\.jsonl")


class CannotObserve(MonitoringError):
    """An endpoint that Scones did not make cannot be monitored; the message says why and what to do."""


def find_capture(keys: Iterable[str], endpoint: str, where: str) -> str:
    """Find the prefix below which an endpoint's data capture lies by hour, from *keys* of its bucket.

    Raises:
        CannotObserve: there is none, or several variants of the endpoint are captured.
    """
    found = {match[1] for key in islice(keys, _SEARCHED) if (match := _HOUR.fullmatch(key))}
    named = {prefix for prefix in found if f"/{endpoint}/" in f"/{prefix}"}
    prefixes = sorted(named or found)
    if not prefixes:
        raise CannotObserve(
            f"no captured requests lie below {where}; data capture writes yyyy/mm/dd/hh/*.jsonl some minutes after a "
            "request: name the destination of the endpoint's DataCaptureConfig with --capture"
        )
    if len(prefixes) > 1:
        listed = ", ".join(prefixes[:5])
        raise CannotObserve(f"several captures lie below {where}: {listed}; name one of them with --capture")
    return prefixes[0]


def baseline_from_capture(records: CaptureReader, count: int, seed: int) -> Baseline:
    """Make the next *count* captured photos the baseline.

    Raises:
        CannotObserve: fewer are captured, or not in a form that can be used.
    """
    photos = list(islice(records, count))
    if len(photos) < count:
        refused = "; ".join(
            f"{plural(number, 'record')} not used: {reason}" for reason, number in records.refused.items()
        )
        raise CannotObserve(
            f"{len(photos)} of the first {count} photos are captured so far{refused and f' ({refused})'}; "
            "run the command again when there are more, or name fewer with --first"
        )
    return baseline_of_answers(photos, seed)


def baseline_of_answers(photos: Sequence[CapturedPhoto], seed: int) -> Baseline:
    """Measure photos and the endpoint's answers to them.

    Raises:
        CannotObserve: there are too few.
    """
    if len(photos) < MIN_BASELINE:
        raise CannotObserve(
            f"a baseline needs {MIN_BASELINE} photos or more, and there are {len(photos)}; run scones stage, or "
            "name a number of captured photos with --first"
        )
    pixels = np.stack([each.photo for each in photos])
    values = measure_features(pixels, np.array([each.probabilities for each in photos]))
    return Baseline(values, calibration=calibrate_stream(values, seed=seed))


def observed_model(
    classes: Sequence[str], baseline: bytes, where: str, per_thousand: float, seed: int
) -> RegisteredModel:
    """Describe an endpoint by its *classes* and its baseline, as `Baseline.to_bytes` wrote it."""
    found = Baseline.from_bytes(baseline, where)
    mix = [1 / len(classes)] * len(classes)
    if len(classes) == 2:
        second = float((1 / (1 + np.exp(-found.values[:, FEATURES.index("log_odds")]))).mean())
        mix = [1 - second, second]
    return RegisteredModel(
        version=hashlib.sha256(baseline).hexdigest()[:12],
        classes=tuple(classes),
        baseline=found,
        predict=_cannot_predict,
        image_size=SIDE,
        class_mix=tuple(mix),
        budget=FalseAlarmBudget(per_thousand),
        seed=seed,
        known=False,
    )


def _cannot_predict(_photos: Photos) -> NoReturn:
    raise CannotObserve("the model behind the endpoint is not known, so it cannot predict again; ask the endpoint")

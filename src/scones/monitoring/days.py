"""Days: recorded traffic of whole days as the baseline, where photos of one hour are alike: nights, rain, a season.

Photos of training are taken as independent, and come from any hour. Traffic is not: at night one dark photo follows the
other. Whoever knows that some days were sound has the monitor learn them; whole days are then drawn in the simulation.
"""

from collections.abc import Iterable
from datetime import date

import numpy as np

from scones.domain.errors import SconesError
from scones.monitoring.baseline import Baseline
from scones.monitoring.calibration import MIN_BLOCKS, calibrate
from scones.monitoring.measured import MOST_PHOTOS, Measured
from scones.monitoring.scores import MIN_PHOTOS


class TooFewDays(SconesError):
    """There are not days enough of this model's traffic to learn from."""


def learnt_key(model: str) -> str:
    """Say where in the bucket the days learnt for the *model* of this version lie."""
    return f"monitor/days/{model}.npz"


def learn_days(trained: Baseline, traffic: Iterable[Measured], model: str, days: int, seed: int) -> Baseline:
    """Make a baseline of the last *days* days (in UTC) of the *model*'s traffic; the rest is as *trained* has it.

    Days of fewer than MIN_PHOTOS photos do not count, so a clock that jumps takes no other day's place; photos whose
    time nobody knows are left out. Of very many photos some are taken, evenly.

    Raises:
        TooFewDays: fewer than five days are left.
    """
    parts = [part for part in traffic if part.model == model]
    times = np.array([_day(time) for part in parts for time in part.times], dtype="datetime64[D]")
    different, counts = np.unique(times[~np.isnat(times)], return_counts=True)
    learnt = different[counts >= MIN_PHOTOS][-days:]
    kept = np.isin(times, learnt)
    if len(learnt) < MIN_BLOCKS:
        told = f"{len(learnt)} days of {MIN_PHOTOS} photos or more of the model {model}, of the last {days}"
        raise TooFewDays(f"{told}; learn once there are {MIN_BLOCKS}, better fourteen")
    joined = Measured.join(parts)
    order = np.flatnonzero(kept)[np.argsort(np.array(joined.times)[kept], kind="stable")]
    rows = order[np.linspace(0, len(order) - 1, min(len(order), MOST_PHOTOS)).astype(np.intp)]
    numbers = np.unique(times[rows], return_inverse=True)[1].astype(np.intp)
    values = joined.channels[rows]
    calibration = calibrate(values, numbers, seed=seed)
    return Baseline(values, trained.data_version, calibration, trained.lesson, numbers)


def _day(time: str) -> str:
    """The day of a captured time; "NaT" where it cannot be read."""
    try:
        return str(date.fromisoformat(time[:10]))
    except ValueError:
        return "NaT"

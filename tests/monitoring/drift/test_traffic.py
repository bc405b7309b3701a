"""What is kept of each photo reads back, and damage is named."""

import numpy as np
import pytest

from scones.domain.text import plural
from scones.monitoring.drift.baseline import Baseline
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.stream_statistics import calibrate_stream
from scones.monitoring.drift.traffic import RecordedTraffic, TooFewDays, UnreadableTraffic, learn_days
from scones.monitoring.drift.window_test import window_test


def measured(count: int, start: int = 0) -> RecordedTraffic:
    """Some photos of the model "m"."""
    names = [str(start + number) for number in range(count)]
    values = np.random.default_rng(start).normal(size=(count, len(FEATURES)))
    return RecordedTraffic(
        "m", tuple(f"e{name}" for name in names), ("t",) * count, tuple(names), np.full((count, 2), 0.5), values
    )


def test_what_is_kept_reads_back_to_the_last_bit() -> None:
    """Numbers rounded by a bit would lie beside the baseline's own, and fire."""
    before = RecordedTraffic.join([measured(3), measured(2, start=3)])
    after = RecordedTraffic.from_bytes(before.to_bytes(), "here")
    assert (after.model, after.events, after.times, after.hashes) == (
        before.model,
        ("e0", "e1", "e2", "e3", "e4"),
        before.times,
        before.hashes,
    )
    assert (after.features == before.features).all()
    assert (after.probabilities == before.probabilities).all()


def test_of_many_photos_some_are_taken_evenly() -> None:
    """The first and the last are among them; of few all stay."""
    assert measured(100).thinned(3).hashes == ("0", "49", "99")
    assert len(measured(5).thinned(9)) == 5


@pytest.mark.parametrize("body", [b"", b"hello", b"PK\x03\x04broken", measured(3).to_bytes()[:200]])
def test_damage_is_one_clear_error(body: bytes) -> None:
    """It names the file."""
    with pytest.raises(UnreadableTraffic, match="cannot read here"):
        RecordedTraffic.from_bytes(body, "here")


A_DAY, HALF = 60, 30
BRIGHTNESS = FEATURES.index("brightness")


def a_day(day: int, model: str = "m", photos: int = A_DAY) -> RecordedTraffic:
    """Half of a day's photos are dark, and come first."""
    values = np.random.default_rng(day).normal(size=(photos, len(FEATURES)))
    values[: photos // 2, BRIGHTNESS] -= 3
    times = tuple(f"2026-11-{day:02d}T{24 * number // photos:02d}:00:00Z" for number in range(photos))
    names = tuple(f"{day}-{number}" for number in range(photos))
    return RecordedTraffic(model, names, times, names, np.full((photos, 2), 0.5), values)


def trained() -> Baseline:
    """What training left: photos of any hour."""
    return Baseline(np.random.default_rng(0).normal(size=(100, len(FEATURES))), "v")


def test_a_night_fires_until_days_are_learned() -> None:
    """Thirty dark photos in a row are nothing new where every day begins with them; dark by day as well, they are."""
    photos = np.concatenate([a_day(day).features for day in range(1, 9)])
    alike = Baseline(photos[np.random.default_rng(1).permutation(len(photos))])
    learned = learn_days(trained(), [a_day(day) for day in range(1, 9)], "m", 30, 0)
    night = a_day(20).features[:HALF]
    assert window_test(alike, night, false_alarm_rate=0.05).alarm
    assert not window_test(learned, night, false_alarm_rate=0.05).alarm
    night[:, BRIGHTNESS] -= 5
    assert window_test(learned, night, false_alarm_rate=0.05).alarm


def test_days_of_the_model_alone_are_learnt_in_the_order_of_time() -> None:
    """Another model's, those of few photos, of no readable time, of a clock that jumped and of long ago are not."""
    odd = RecordedTraffic(
        "m", ("x", "y"), ("soon", "2099-01-01T00:00:00Z"), ("x", "y"), np.ones((2, 2)), np.ones((2, len(FEATURES)))
    )
    days = [a_day(day) for day in (9, 3, 4, 5, 6, 7)]
    learned = learn_days(trained(), [*days, a_day(8, model="other"), a_day(2, photos=10), a_day(1), odd], "m", 6, 0)
    assert (learned.data_version, len(learned.values)) == ("v", 6 * A_DAY)
    assert learned.days is not None
    assert learned.days.tolist() == sorted(learned.days.tolist())
    assert (learned.values[:A_DAY] == a_day(3).features).all()
    assert learned.calibration is not None
    of_days = calibrate_stream(learned.values, learned.days, seed=0)
    assert learned.calibration.highest == pytest.approx(of_days.highest, rel=1e-6)


@pytest.mark.parametrize("days", [0, 1, 4])
def test_few_days_are_refused(days: int) -> None:
    """Four days cannot say how much days differ; nor can none."""
    with pytest.raises(TooFewDays, match=f"^{plural(days, 'day')} with"):
        learn_days(trained(), [a_day(day) for day in range(1, 1 + days)], "m", 30, 0)


def test_learned_days_are_kept_with_the_baseline() -> None:
    """They read back."""
    learned = learn_days(trained(), [a_day(day) for day in range(1, 7)], "m", 30, 0)
    again = Baseline.from_bytes(learned.to_bytes(), "here")
    assert again.days is not None
    assert (again.days == learned.days).all()
    assert (again.values == learned.values).all()

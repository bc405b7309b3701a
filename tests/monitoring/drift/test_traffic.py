"""What is kept of each photo reads back, and damage is named."""

import numpy as np
import pytest

from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.traffic import RecordedTraffic, UnreadableTraffic


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

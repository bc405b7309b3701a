"""Rules say what they mean, or are refused."""

import pytest

from scones.dispatch.orders import InvalidRules, Rules, VehicleLimits


def test_the_default_rules_overlap_in_the_middle() -> None:
    """Bicycles take the near trips, motorcycles the far ones, and some suit both."""
    rules = Rules()
    assert rules.bicycle.min_trip_km < rules.motorcycle.min_trip_km < rules.bicycle.max_trip_km
    assert rules.bicycle.max_trip_km < rules.motorcycle.max_trip_km


@pytest.mark.parametrize("limits", [VehicleLimits(5, 2, 1, 1, 1, 1), VehicleLimits(0, 2, 1, 1, 0, 1)])
def test_contradicting_limits_are_refused(limits: VehicleLimits) -> None:
    """A shortest trip above the longest, or no speed at all, is an error."""
    with pytest.raises(InvalidRules, match="bicycle"):
        Rules(bicycle=limits)

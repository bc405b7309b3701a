"""Couriers and orders for the tests: a few by hand, and any at all for hypothesis."""

from hypothesis import strategies as st

from scones.dispatch.orders import Courier, Order, Place

MUCH_LATER = 1000


def courier(identity: str, vehicle: str = "bicycle", confidence: float = 0.99, capacity: int = 1) -> Courier:
    """A courier at the centre."""
    return Courier(identity, vehicle, confidence, 0, 0, capacity)


def order(
    identity: str, trip_km: float, litres: float = 10, east_km: float = 0, due_minute: float = MUCH_LATER
) -> Order:
    """An order that is ready, and starts *east_km* from the centre."""
    return Order(identity, Place(east_km, 0), Place(east_km + trip_km, 0), litres, 0, due_minute)


_kilometres = st.floats(-12, 12)
_minutes = st.floats(0, 120)
_places = st.builds(Place, _kilometres, _kilometres)
any_courier = st.builds(
    Courier,
    st.uuids().map(str),
    st.sampled_from(["bicycle", "motorcycle", ""]),
    st.floats(0, 1),
    _kilometres,
    _kilometres,
    st.integers(0, 3),
    _minutes,
)
any_couriers = st.lists(any_courier, max_size=8)
any_orders = st.lists(
    st.builds(Order, st.uuids().map(str), _places, _places, st.floats(0, 120), _minutes, _minutes), max_size=12
)

from hypothesis import given
from hypothesis import strategies as st

from scones.dispatch.order_book import assign_order, courier_of, open_order, order_of, register_courier
from scones.dispatch.orders import Courier, Order, Place
from scones.domain.naming import from_minutes, to_minutes

KM = st.floats(-50, 50)
MINUTES = st.integers(29_000_000, 40_000_000).map(float)


@given(st.builds(Order, st.text(min_size=1), st.builds(Place, KM, KM), st.builds(Place, KM, KM), KM, MINUTES, MINUTES))
def test_an_order_comes_back_from_its_item(order: Order) -> None:
    """What is written to the table is read again as it was."""
    assert order_of(open_order(order)) == order


@given(MINUTES, MINUTES)
def test_moments_sort_as_minutes_do(one: float, other: float) -> None:
    """A condition on seen_at compares texts."""
    assert (from_minutes(one) < from_minutes(other)) == (one < other)
    assert to_minutes(from_minutes(one)) == one


def test_a_courier_comes_back_from_the_write_that_registers_them() -> None:
    """They are free from when they were seen."""
    courier = Courier("c", "bicycle", 0.9, 1.5, -2.0, 3, 29_500_000.0)
    write = register_courier(courier, "p", from_minutes(courier.free_minute))
    assert courier_of({**write.key, **write.set}) == courier


def test_an_order_is_taken_only_while_it_is_open() -> None:
    """The condition looks at the status, and the item says who has it and where they load."""
    write = assign_order("o", "c", "A")
    assert write.set == {"status": "assigned", "courier_id": "c", "bay": "A"}
    assert (write.condition, write.values) == ("#status = :open", {":open": "open"})

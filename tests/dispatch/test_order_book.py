from hypothesis import given
from hypothesis import strategies as st

from scones.dispatch.order_book import assign_order, courier_of, open_order, order_of, register_courier, use_capacity
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


def test_a_courier_is_registered_unless_a_newer_photo_is_known() -> None:
    """The same photo may be written again."""
    write = register_courier(Courier("c", "bicycle", 0.9, 1.5, -2.0, 3, 0), "p", "2026")
    newest = "attribute_not_exists(#courier_id) OR #seen_at < :seen OR (#seen_at = :seen AND #photo_id = :photo)"
    assert (write.key, write.condition) == ({"courier_id": "c"}, newest)
    assert write.values == {":seen": "2026", ":photo": "p"}
    assert (write.set["photo_id"], write.set["seen_at"]) == ("p", "2026")


def test_capacity_is_used_only_if_nothing_changed_since_it_was_read() -> None:
    """Neither the capacity nor the photo."""
    write = use_capacity({"courier_id": "c", "capacity": 3, "seen_at": "2026"}, 2)
    assert (write.key, write.set) == ({"courier_id": "c"}, {"capacity": 1})
    assert write.condition == "#capacity = :held AND #seen_at = :seen"
    assert write.values == {":held": 3, ":seen": "2026"}


def test_an_order_is_taken_only_while_it_is_open() -> None:
    """The condition looks at the status, and the item says who has it and where they load."""
    write = assign_order("o", "c", "A")
    assert write.set == {"status": "assigned", "courier_id": "c", "bay": "A"}
    assert (write.condition, write.values) == ("#status = :open", {":open": "open"})

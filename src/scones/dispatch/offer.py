"""Offer: what one courier who was just seen is given at once. The dispatch function carries this file.

`assign` weighs all couriers against each other; this is for the moment of the photo, when there is only one.
"""

from collections.abc import Iterable
from heapq import nsmallest

from scones.dispatch.orders import Courier, Order
from scones.dispatch.rules import Rules


def choose(courier: Courier, open_orders: Iterable[Order], rules: Rules) -> tuple[Order, ...]:
    """Choose the orders that *courier* takes now, the best first, as many as they can hold; equal input, equal offer.

    An order comes first that is near, and that must soon be picked up to be in time: a minute nearer counts as much
    as a minute more urgent. The same orders are allowed as in `assign`.
    """
    limits = rules.limits(courier)

    def minutes_to_spare(order: Order) -> float:
        """Minutes from now until the order must have left its pick-up; an order that is late already has none."""
        ride = limits.minutes(order.trip_km) + 2 * limits.stop_minutes
        return max(0.0, order.due_minute - ride - courier.free_minute)

    def rank(order: Order) -> tuple[float, str]:
        approach = limits.minutes(courier.place.distance_km(order.pickup))
        wait = max(0.0, order.ready_minute - courier.free_minute - approach)
        return approach + wait + minutes_to_spare(order), order.id

    allowed = (
        order
        for order in open_orders
        if rules.suits(limits, order) and courier.place.distance_km(order.pickup) <= limits.max_approach_km
    )
    return tuple(nsmallest(courier.capacity, allowed, key=rank))

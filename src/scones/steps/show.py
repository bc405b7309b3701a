"""Show: what is known of models, monitoring, orders and data, for pages and programs; change nothing."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from scones.aws.connection import Aws
from scones.aws.registry import ModelPackage
from scones.aws.sagemaker import Endpoint
from scones.config.settings import Settings
from scones.deployment.releases import Release, list_releases, live_release
from scones.dispatch.order_book import ASSIGNED, OLDEST_MINUTES, OPEN, Item, courier_of, order_of
from scones.dispatch.orders import Courier, Order, Rules
from scones.domain.decision import VEHICLES
from scones.domain.naming import MONITOR_STATE_KEY, PLAN_KEY, evaluation_id, history_prefix, report_key
from scones.domain.vehicles import vehicle_limits
from scones.monitoring.alerts.notices import ActiveAlarm
from scones.monitoring.history import HistoryPoint, from_lines
from scones.monitoring.monitor_state import MonitorState

if TYPE_CHECKING:
    from scones.dispatch.business_value import BusinessValue, ValueSimulation
    from scones.evaluation.evaluation import Evaluation

Read = TypeVar("Read")

MAX_MODELS = 20
_MAX_RUNS = 200
_MAX_ORDERS = 300


@dataclass(frozen=True, slots=True)
class Serving:
    """The endpoint, and the kept releases, newest first."""

    endpoint: Endpoint | None
    releases: tuple[Release, ...]

    @property
    def live(self) -> Release | None:
        """The release that the endpoint serves, as `live_release` finds it."""
        return live_release(self.releases, self.endpoint)


def show_serving(aws: Aws) -> Serving:
    """Read the endpoint and its releases."""
    return Serving(aws.sagemaker.find_endpoint(aws.name), tuple(reversed(list_releases(aws.bucket))))


def show_models(aws: Aws) -> tuple[ModelPackage, ...]:
    """Read the newest registered models, newest first."""
    return tuple(aws.registry.get(number) for number in sorted(aws.registry.numbers(), reverse=True)[:MAX_MODELS])


@dataclass(frozen=True, slots=True)
class MonitoringState:
    """The active alarms, and the windows of the newest monitoring runs in the order of time."""

    alarms: tuple[ActiveAlarm, ...]
    points: tuple[HistoryPoint, ...]


def show_monitoring(aws: Aws) -> MonitoringState:
    """Read the monitor's state and history; both are empty before its first run."""
    body = aws.bucket.find(MONITOR_STATE_KEY)
    state = MonitorState() if body is None else MonitorState.from_json(body, aws.bucket.uri(MONITOR_STATE_KEY))
    keys = [item.key for item in aws.bucket.list(history_prefix(aws.name))][-_MAX_RUNS:]
    points = [point for lines in aws.bucket.get_all(keys) for point in from_lines(lines)]
    return MonitoringState(state.alarms, tuple(sorted(points, key=lambda point: point.time)))


def explain_photo(aws: Aws, endpoint: str, photo: bytes, photo_id: str) -> Mapping[str, Any]:
    """Ask the endpoint why it decides as it does about a photo; monitoring ignores the request.

    Raises:
        AwsError: the endpoint refuses the photo, or does not answer.
    """
    found = json.loads(aws.sagemaker.explain(endpoint, photo, evaluation_id(photo_id), why=True))
    answer: Mapping[str, Any] = found[0] if isinstance(found, list) else found
    return answer


def show_dataset(aws: Aws, version: str) -> Mapping[str, Any] | None:
    """Read the figures of a data version's report; None if there is none."""
    body = aws.bucket.find(report_key(version, "json"))
    return None if body is None else msgspec.json.decode(body, type=dict[str, Any])


@dataclass(frozen=True, slots=True)
class CourierChoice:
    """A courier as a candidate for an order; *reason* says why not, and is empty if they may take it."""

    courier: Courier
    bay: str
    approach_km: float
    minutes: float
    """Riding time to the hand-over."""
    reason: str


@dataclass(frozen=True, slots=True)
class OrderBookView:
    """The newest orders with the couriers who have them, and all couriers seen lately."""

    open: tuple[Order, ...]
    assigned: tuple[tuple[Order, str, str], ...]
    """Order, courier and loading bay."""
    couriers: tuple[Courier, ...]
    complete: bool
    """Whether these are all orders."""


def show_orders(aws: Aws) -> OrderBookView:
    """Read the order book, at most some hundred orders of each kind; what others wrote and is no order is left out."""
    opened, more = aws.tables.orders.newest("by_status", {"status": OPEN}, _MAX_ORDERS)
    taken, more_taken = aws.tables.orders.newest("by_status", {"status": ASSIGNED}, _MAX_ORDERS)
    orders, assigned = list(_readable(opened, order_of)), list(_readable(taken, order_of))
    couriers = (courier for _, courier in _readable(aws.tables.couriers.scan(), courier_of))
    return OrderBookView(
        open=tuple(order for _, order in orders),
        assigned=tuple((order, str(item.get("courier_id", "")), str(item.get("bay", ""))) for item, order in assigned),
        couriers=tuple(sorted(couriers, key=lambda courier: courier.id)),
        complete=not (more or more_taken) and len(orders) + len(assigned) == len(opened) + len(taken),
    )


def _readable(items: Iterable[Item], read: Callable[[Item], Read]) -> Iterator[tuple[Item, Read]]:
    """Each item with what it is, but for those that cannot be read."""
    for item in items:
        with suppress(KeyError, ValueError, TypeError):
            yield item, read(item)


def unassigned_reasons(aws: Aws) -> Mapping[str, str]:
    """Why the last `scones dispatch` left orders without a courier: order -> reason."""
    body = aws.bucket.find(PLAN_KEY)
    try:
        plan = msgspec.json.decode(body or b"{}", type=_StoredPlan)
    except msgspec.DecodeError:
        return {}
    return {item.order.id: item.reason for item in plan.unassigned}


class _StoredOrder(msgspec.Struct):
    id: str


class _StoredReason(msgspec.Struct):
    order: _StoredOrder
    reason: str


class _StoredPlan(msgspec.Struct):
    unassigned: tuple[_StoredReason, ...] = ()


def choices(order: Order, couriers: Sequence[Courier], rules: Rules, now_minute: float) -> tuple[CourierChoice, ...]:
    """Every courier as a candidate for *order*: those who may take it first, then the nearest."""
    found = []
    for courier in couriers:
        if not rules.cover(courier):
            which = f"class {courier.vehicle!r} has no" if courier.vehicle else "no class has"
            found.append(CourierChoice(courier, "", 0.0, 0.0, f"{which} dispatch rules"))
            continue
        limits = rules.limits(courier)
        approach = courier.place.distance_km(order.pickup)
        reason = ""
        if now_minute - courier.free_minute > OLDEST_MINUTES:
            reason = f"their photo is older than {OLDEST_MINUTES} minutes"
        elif courier.capacity <= 0:
            reason = "they have all the orders that they can take"
        elif not rules.suits(limits, order):
            reason = f"{order.trip_km:.1f} km with {order.size_litres:.0f} litres does not suit their vehicle"
        elif approach > limits.max_approach_km:
            reason = f"the pick-up is {approach:.1f} km away, more than {limits.max_approach_km:g} km"
        minutes = limits.minutes(approach + order.trip_km) + 2 * limits.stop_minutes
        found.append(CourierChoice(courier, limits.bay, approach, minutes, reason))
    return tuple(sorted(found, key=lambda choice: (bool(choice.reason), choice.minutes, choice.courier.id)))


def simulate_value(
    evaluation: "Evaluation", settings: Settings, trial: "ValueSimulation | None" = None
) -> "BusinessValue":
    """Simulate days in a city in which the model answers as it did for the test photos of its evaluation.

    Without a *trial* only at the settings' threshold, beside no classifier and perfect knowledge.
    """
    from scones.dispatch.business_value import (  # noqa: PLC0415 - scipy takes 40 MB
        ValueSimulation,
        measured_classifier,
        simulate_business_value,
    )

    trial = trial or ValueSimulation(accuracies=(), thresholds=())
    predictions = evaluation.predictions
    found = measured_classifier(predictions.labels, predictions.probabilities, evaluation.metrics.classes)
    rules = Rules(vehicle_limits(VEHICLES, settings.dispatch))
    return simulate_business_value(found, trial, rules, settings.threshold)

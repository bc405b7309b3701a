"""Measure dispatch: a large assignment beside the exact optimum, and simulated days by accuracy, threshold and fleet.

Usage: python -m benchmarks.dispatch [--days 10] [--write]; with --write the tables go into docs/dispatch.md.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from scones.dispatch.assignment import CourierColumns, OrderColumns, assign, cost_matrix, match
from scones.dispatch.business_value import (
    DispatchScenario,
    ValueSimulation,
    hypothetical_classifier,
    simulate_business_value,
)
from scones.dispatch.orders import Rules
from scones.dispatch.simulation import City, example_couriers, example_orders

PAGE = Path(__file__).parents[1] / "docs" / "dispatch.md"
BEGIN, END = "<!-- figures: written by make bench-dispatch -->", "<!-- end of figures -->"
COURIERS, ORDERS, BOOKS = 1000, 3000, 5
NEVER = 1e7
RULES, THRESHOLD = Rules(), 0.8


@dataclass(frozen=True)
class Solved:
    """One order book, assigned by us and by the exact solver: seconds, orders that move, and the total cost."""

    seconds: float
    cpu_seconds: float
    orders: int
    cost: float
    exact_seconds: float
    exact_orders: int
    exact_cost: float


def solve(seed: int) -> Solved:
    """Assign one large order book both ways."""
    rng = np.random.default_rng(seed)
    seen = [(f"c{n}", ("bicycle", "motorcycle")[n % 2], float(rng.uniform(0.6, 1))) for n in range(COURIERS)]
    couriers, orders = example_couriers(seen, seed), example_orders(ORDERS, seed)
    began, cpu = time.perf_counter(), time.process_time()
    assign(couriers, orders, RULES)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    pairs = cost_matrix(CourierColumns.of(couriers, RULES), OrderColumns.of(orders), RULES)
    capacity = np.array([courier.capacity for courier in couriers])
    rows, columns, turns = match(pairs.cost, pairs.allowed, capacity, RULES.queue_minutes)
    began = time.perf_counter()
    owner = np.repeat(np.arange(COURIERS), capacity)
    places = np.where(pairs.allowed, pairs.cost, NEVER)[:, owner] + RULES.queue_minutes * (np.arange(len(owner)) % 2)
    best = linear_sum_assignment(places)
    exact_seconds = time.perf_counter() - began
    kept = places[best] < NEVER / 2
    return Solved(
        seconds=seconds,
        cpu_seconds=cpu,
        orders=len(rows),
        cost=float(pairs.cost[rows, columns].sum() + RULES.queue_minutes * turns.sum()),
        exact_seconds=exact_seconds,
        exact_orders=int(kept.sum()),
        exact_cost=float(places[best][kept].sum()),
    )


def assignment_lines() -> Iterator[str]:
    """The assignment as a table."""
    solve(0)
    yield f"{COURIERS:,} couriers with two places each, {ORDERS:,} orders, {BOOKS} order books:"
    yield ""
    yield "| order book | seconds | CPU seconds | exact solver, seconds | orders moved | exact | above the exact |"
    yield "|---|---|---|---|---|---|---|"
    found = [solve(seed) for seed in range(BOOKS)]
    for number, item in enumerate(found, start=1):
        above = item.cost / item.orders - item.exact_cost / item.exact_orders
        yield (
            f"| {number} | {item.seconds:.2f} | {item.cpu_seconds:.2f} | {item.exact_seconds:.2f} | {item.orders:,} "
            f"| {item.exact_orders:,} | {above:.2f} minutes an order |"
        )
    yield f"| median | {statistics.median(item.seconds for item in found):.2f} | | | | | |"


def day_lines(days: int) -> Iterator[str]:
    """Days by accuracy and threshold, and by the size of the fleet."""
    trial = ValueSimulation(seeds=tuple(range(days)), accuracies=(0.6, 0.7, 0.8, 0.9, 0.95, 0.98))
    found = simulate_business_value(None, trial, RULES, THRESHOLD)
    city = trial.city
    yield f"{city.couriers} couriers, {city.orders:,} orders, {days} days; ± is the deviation from day to day:"
    yield ""
    yield "| couriers as seen by | threshold | unsure | on time | minutes late | cancelled | km an order |"
    yield "|---|---|---|---|---|---|---|"
    yield from (_row(line, line.name) for line in (found.perfect, found.blind))
    yield from (_row(line, f"accuracy {line.accuracy:.2f}, calibrated confidence") for line in found.hypothetical)
    yield ""
    yield "The same with smaller and larger fleets:"
    yield ""
    yield "| couriers | perfect knowledge | accuracy .95, sure from .8 | unsure couriers checked | no classifier |"
    yield "|---|---|---|---|---|"
    for couriers in (120, 140, 160, 200):
        sized = replace(City(), couriers=couriers)
        fleet = simulate_business_value(
            hypothetical_classifier(0.95), replace(trial, city=sized, accuracies=(), thresholds=()), RULES, THRESHOLD
        )
        assert fleet.reviewed
        shown = (fleet.perfect, fleet.measured[0], fleet.reviewed, fleet.blind)
        yield f"| {couriers} | " + " | ".join(_percent(line) for line in shown) + " |"


def _row(line: DispatchScenario, name: str) -> str:
    threshold = f"{line.threshold:.2f}" if line.threshold > 0.5 else "none"
    return (
        f"| {name} | {threshold} | {line.unsure:.1%} | {_percent(line)} | {line.minutes_late.mean:.1f} | "
        f"{line.cancelled.mean:.1%} | {line.km_per_order.mean:.2f} |"
    )


def _percent(line: DispatchScenario) -> str:
    return f"{line.on_time.mean:.1%} ± {100 * line.on_time.spread:.1f}"


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = "\n".join([BEGIN, *assignment_lines(), "", *day_lines(arguments.days), END])
    print(text)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + text + rest.partition(END)[2])


if __name__ == "__main__":
    main()

"""The matching is exact among few, and near the optimum among many."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from scones.dispatch.assignment import match
from scones.dispatch.cost_matrix import Floats, Mask

NEVER = 1e6


def optimum(cost: Floats, allowed: Mask) -> tuple[int, float]:
    """How many pairs the exact solver makes, and at what cost."""
    rows, columns = linear_sum_assignment(np.where(allowed, cost, NEVER))
    made = allowed[rows, columns]
    return int(made.sum()), float(cost[rows, columns][made].sum())


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_among_few_the_matching_is_the_exact_one(seed: int, orders: int, couriers: int) -> None:
    """As many pairs as the exact solver makes, at the same cost."""
    rng = np.random.default_rng(seed)
    cost, allowed = rng.uniform(-50, 50, (orders, couriers)), rng.random((orders, couriers)) < 0.4
    rows, columns, turns = match(cost, allowed, np.ones(couriers, dtype=np.intp), 0)
    assert allowed[rows, columns].all()
    assert len(set(columns.tolist())) == len(columns)
    assert not turns.any()
    pairs, least = optimum(cost, allowed)
    assert len(rows) == pairs
    assert np.isclose(cost[rows, columns].sum(), least)


def test_among_many_the_matching_is_near_the_exact_one() -> None:
    """A hundred and fifty couriers in a plane: as many orders, at most 5% dearer."""
    rng = np.random.default_rng(0)
    kitchens, couriers = rng.normal(0, 2, (400, 1, 2)), rng.normal(0, 2, (150, 2))
    cost = np.linalg.norm(kitchens - couriers, axis=2) + 1
    allowed = (cost < 4) & (rng.random(cost.shape) < 0.5)
    rows, columns, _ = match(cost, allowed, np.ones(150, dtype=np.intp), 0)
    pairs, least = optimum(cost, allowed)
    assert len(rows) == pairs
    assert cost[rows, columns].sum() <= 1.05 * least


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_as_many_orders_move_as_can(seed: int) -> None:
    """However few pairs are weighed, none that could move stays."""
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 50, (40, 30)) + np.arange(30)
    allowed = rng.random((40, 30)) < 0.06
    rows, columns, _ = match(cost, allowed, np.ones(30, dtype=np.intp), 0)
    assert len(set(columns.tolist())) == len(rows) == optimum(cost, allowed)[0]


def test_a_courier_s_second_place_costs_more_than_their_first() -> None:
    """With room for two each, two orders go to two couriers."""
    rows, columns, turns = match(np.ones((2, 2)), np.ones((2, 2), dtype=bool), np.array([2, 2]), 10)
    assert sorted(columns.tolist()) == [0, 1]
    assert rows.tolist() == [0, 1]
    assert turns.tolist() == [0, 0]

"""Matching: pair as many orders as possible with couriers' places, at little cost.

An exact solver would weigh every allowed pair: in a large city there are millions, and most are far-fetched. Each order
is therefore matched among its cheapest couriers, and each courier among their cheapest orders; what is left over is
matched with the places still free in the same way, until nothing more fits. Where more orders could move, the pairs of
a matching that moves them all are let in, and all is solved once more. So the number of orders is always the largest;
the cost is the least with few couriers and orders, and docs/dispatch.md says what it is with many.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from scones.dispatch.pairs import Floats, Ints, Mask

_CANDIDATES = 16
# Dearer than any plan's minutes, so the solver leaves an order out only when it must.
_LEFT_OUT = 1e7


def match(cost: Floats, allowed: Mask, capacity: Ints, queue_cost: float) -> tuple[Ints, Ints, Ints]:
    """Match orders (rows) with couriers (columns) of so much *capacity*; each further place costs *queue_cost* more.

    Returns the matched orders, ascending, the courier of each, and how many places of that courier come before.
    """
    owner: Ints = np.repeat(np.arange(len(capacity)), capacity)
    turn = np.arange(len(owner)) - np.searchsorted(owner, owner)
    queue: Floats = queue_cost * turn.astype(np.float64)
    cost, allowed = cost[:, owner] + queue, allowed[:, owner]
    orders, places = _in_rounds(cost, allowed)
    if len(orders) < min(allowed.any(axis=1).sum(), allowed.any(axis=0).sum()):
        orders, places = _widened(cost, allowed, orders, places)
    ranked = np.argsort(orders)
    return orders[ranked], owner[places[ranked]], turn[places[ranked]]


def _widened(cost: Floats, allowed: Mask, orders: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Improve a matching that may not be the largest: solve again, with the pairs of a largest one let in."""
    widest = maximum_bipartite_matching(csr_array(allowed), perm_type="column")
    movable = np.flatnonzero(widest >= 0)
    if len(movable) == len(orders):
        return orders, places
    chosen = _promising(cost, allowed)
    chosen[orders, places] = chosen[movable, widest[movable]] = True
    return _solve(cost, chosen)


def _in_rounds(cost: Floats, allowed: Mask) -> tuple[Ints, Ints]:
    """Match among the promising pairs, then what is left over among its own, until nothing more fits."""
    orders, places = np.zeros((2, 0), dtype=np.intp)
    left, free = np.arange(cost.shape[0]), np.arange(cost.shape[1])
    while len(left) and len(free):
        pairs = np.ix_(left, free)
        rows, columns = _solve(cost[pairs], _promising(cost[pairs], allowed[pairs]))
        if not len(rows):
            break
        orders, places = np.concatenate([orders, left[rows]]), np.concatenate([places, free[columns]])
        left, free = np.delete(left, rows), np.delete(free, columns)
    return orders, places


def _solve(cost: Floats, chosen: Mask) -> tuple[Ints, Ints]:
    """Match among the *chosen* pairs; a way out of its own for each order lets any of them stay."""
    count, places = cost.shape
    rows, columns = np.nonzero(chosen)
    if not len(rows):
        return rows, columns
    weights = cost[rows, columns]
    # The solver takes a weight of nothing for no pair at all.
    weights += 1 - weights.min()
    ways_out = np.arange(count)
    graph = csr_array(
        (
            np.concatenate([weights, np.full(count, _LEFT_OUT)]),
            (np.concatenate([rows, ways_out]), np.concatenate([columns, places + ways_out])),
        ),
        shape=(count, places + count),
    )
    orders, ends = min_weight_full_bipartite_matching(graph)
    kept = ends < places
    return orders[kept].astype(np.intp), ends[kept].astype(np.intp)


def _promising(cost: Floats, allowed: Mask) -> Mask:
    """The cheapest pairs of each row and of each column; all of them where there are few."""
    rows, columns = cost.shape
    if min(rows, columns) <= _CANDIDATES:
        return allowed.copy()
    dear = np.where(allowed, cost, np.inf).astype(np.float32)
    chosen = np.zeros_like(allowed)
    chosen[np.arange(rows)[:, None], _cheapest(dear)] = True
    chosen[_cheapest(np.ascontiguousarray(dear.T)).T, np.arange(columns)] = True
    return chosen & allowed


def _cheapest(dear: NDArray[np.float32]) -> Ints:
    return np.argpartition(dear, _CANDIDATES, axis=1)[:, :_CANDIDATES]

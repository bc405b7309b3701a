"""Matching: pair as many orders as possible with couriers' places, at the least cost.

An exact solver would weigh every allowed pair: in a large city there are millions, and most are far-fetched. Each order
is therefore matched among its cheapest couriers, and each courier among their cheapest orders; what is left over is
matched with the places still free in the same way, until nothing more fits. With few couriers or orders that is the
optimum; docs/dispatch.md says what it costs with many.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

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
    orders, places = np.zeros((2, 0), dtype=np.intp)
    left, free = np.arange(len(cost)), np.arange(len(owner))
    while len(left) and len(free):
        pairs = np.ix_(left, owner[free])
        rows, columns = _sparse(cost[pairs] + queue[free], allowed[pairs])
        if not len(rows):
            break
        orders, places = np.concatenate([orders, left[rows]]), np.concatenate([places, free[columns]])
        left, free = np.delete(left, rows), np.delete(free, columns)
    ranked = np.argsort(orders)
    return orders[ranked], owner[places[ranked]], turn[places[ranked]]


def _sparse(cost: Floats, allowed: Mask) -> tuple[Ints, Ints]:
    """Match among the promising pairs; a way out of its own for each order lets any of them stay."""
    count, places = cost.shape
    rows, columns = np.nonzero(_promising(cost, allowed))
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
        return allowed
    dear = np.where(allowed, cost, np.inf).astype(np.float32)
    chosen = np.zeros_like(allowed)
    chosen[np.arange(rows)[:, None], _cheapest(dear)] = True
    chosen[_cheapest(np.ascontiguousarray(dear.T)).T, np.arange(columns)] = True
    return chosen & allowed


def _cheapest(dear: NDArray[np.float32]) -> Ints:
    return np.argpartition(dear, _CANDIDATES, axis=1)[:, :_CANDIDATES]

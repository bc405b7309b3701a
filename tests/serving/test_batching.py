"""Photos of one tick go through the model together, and each request gets its own rows back."""

from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.model.inference import Pixels, Probabilities
from scones.serving.batching import Batcher


class Tick:
    """A loop that runs when told; its model returns each photo's first value."""

    def __init__(self, batch: int = 4, queue: int = 100) -> None:
        self.calls: deque[Callable[[], None]] = deque()
        self.sizes: list[int] = []
        self.broken = False
        self.batcher = Batcher(
            self.predict, self.calls.append, lambda _, photos: self.sizes.append(photos), batch=batch, queue=queue
        )

    def predict(self, photos: Pixels) -> Probabilities:
        """Return the photos' first values."""
        if self.broken:
            raise ArithmeticError("broken")
        return photos[:, 0, 0, :1].astype(np.float32)

    def run(self) -> None:
        """Run what was scheduled, and what that schedules."""
        while self.calls:
            self.calls.popleft()()


def photos(*values: int) -> list[Pixels]:
    """Photos told apart by their values."""
    return [np.full((2, 2, 3), value, np.uint8) for value in values]


def test_requests_of_one_tick_are_one_batch() -> None:
    """Three requests wait for the tick's end and then run the model once."""
    tick = Tick()
    answers: list[float] = []
    for value in (5, 6, 7):
        tick.batcher.submit(photos(value), lambda rows: answers.append(float(rows[0, 0])))  # type: ignore[index]
    assert answers == []
    tick.run()
    assert answers == [5, 6, 7]
    assert tick.sizes == [3]


def test_a_failing_model_leaves_no_request_waiting() -> None:
    """Every request of the batch hears of the failure, the error surfaces, and the next batch runs."""
    tick = Tick()
    tick.broken = True
    answers: list[Probabilities | None] = []
    tick.batcher.submit(photos(1), answers.append)
    tick.batcher.submit(photos(2), answers.append)
    with pytest.raises(ArithmeticError):
        tick.run()
    assert answers == [None, None]
    tick.broken = False
    tick.batcher.submit(photos(3), answers.append)
    tick.run()
    assert answers[-1] is not None


def test_a_full_queue_takes_no_more() -> None:
    """What does not fit is refused at once; after the tick there is room again."""
    tick = Tick(queue=3)
    assert tick.batcher.submit(photos(1, 2), lambda _: None)
    assert not tick.batcher.submit(photos(3, 4), lambda _: None)
    assert tick.batcher.submit(photos(3), lambda _: None)
    tick.run()
    assert tick.batcher.waiting == 0
    assert tick.batcher.submit(photos(1, 2, 3, 4), lambda _: None)


@given(st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=9), max_size=12), st.integers(1, 6))
def test_every_request_gets_its_own_rows(requests: list[list[int]], batch: int) -> None:
    """Whatever the sizes: all are answered in order, and only a single large request exceeds the batch."""
    tick = Tick(batch=batch, queue=1000)
    answers: list[list[float]] = []
    for values in requests:
        tick.batcher.submit(photos(*values), lambda rows: answers.append(rows[:, 0].tolist()))  # type: ignore[index]
    tick.run()
    assert answers == requests
    assert sum(tick.sizes) == sum(map(len, requests))
    assert all(size <= batch or size in map(len, requests) for size in tick.sizes)

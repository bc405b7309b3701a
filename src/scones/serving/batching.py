"""Batching: photos that arrive in the same tick of the event loop go through the model together."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scones.model.inference import Answers, Pixels

Deliver = Callable[[Answers | None], None]
"""Takes the model's answers to a request's N photos, or None if the model failed."""


@dataclass(slots=True)
class _Job:
    photos: Sequence[Pixels]
    deliver: Deliver


class Batcher:
    """Collects photos and runs the model inline, once a tick; no timer, hence no added wait.

    *observe* is told the seconds and the photos of each batch.
    """

    def __init__(
        self,
        answer: Callable[[Pixels], Answers],
        call_soon: Callable[[Callable[[], None]], object],
        observe: Callable[[float, int], None],
        *,
        batch: int,
        queue: int,
    ) -> None:
        self._answer = answer
        self._call_soon = call_soon
        self._observe = observe
        self._batch = batch
        self._queue = queue
        self._jobs: deque[_Job] = deque()
        self.waiting = 0

    def submit(self, photos: Sequence[Pixels], deliver: Deliver) -> bool:
        """Queue a request's photos, uint8 [H, W, 3] each; False if too many wait already."""
        if self.waiting and self.waiting + len(photos) > self._queue:
            return False
        if not self._jobs:
            self._call_soon(self._run)
        self._jobs.append(_Job(photos, deliver))
        self.waiting += len(photos)
        return True

    def _run(self) -> None:
        jobs = self._take()
        if self._jobs:
            # Between two batches the loop reads on, so that pings and refusals need not wait for all of them.
            self._call_soon(self._run)
        photos = np.stack([photo for job in jobs for photo in job.photos])
        answers = None
        start = time.perf_counter()
        try:
            answers = self._answer(photos)
        finally:
            # Whatever the model raises, every client gets an answer; the event loop logs the traceback.
            self._observe(time.perf_counter() - start, len(photos))
            _hand_out(jobs, answers)

    def _take(self) -> list[_Job]:
        jobs = [self._jobs.popleft()]
        count = len(jobs[0].photos)
        while self._jobs and count + len(self._jobs[0].photos) <= self._batch:
            jobs.append(self._jobs.popleft())
            count += len(jobs[-1].photos)
        self.waiting -= count
        return jobs


def _hand_out(jobs: Sequence[_Job], answers: Answers | None) -> None:
    at = 0
    for job in jobs:
        end = at + len(job.photos)
        job.deliver(None if answers is None else answers[at:end])
        at = end

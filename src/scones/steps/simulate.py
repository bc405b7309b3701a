"""Simulate: send a stream of couriers' photos through the workflow, and report the outcome of each."""

import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.aws.stepfunctions import ExecutionResult
from scones.data.dataset import Sample
from scones.data.decode import darken_and_blur
from scones.dispatch.order_book import DispatchStatus
from scones.dispatch.orders import USUAL_CAPACITY
from scones.dispatch.simulation import CITY_SPREAD_KM
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.errors import DispatchError
from scones.domain.naming import ASKED_PREFIX
from scones.domain.progress import Reporter
from scones.domain.result import StepResult

USUAL_SHARES = (0.05, 0.02, 0.1)
"""The shares of duplicates, corrupt and shifted photos, unless others are asked for."""
# The sum of shares such as 0.7, 0.2 and 0.1 may exceed 1 by as much.
_ROUNDING = 1e-9


class EventKind(StrEnum):
    """The kind of an event: a plain photo, or one of the disturbances."""

    PLAIN = "plain"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    SHIFTED = "shifted"


class BadStream(DispatchError):
    """A stream that cannot be sent."""


@dataclass(frozen=True, slots=True)
class Stream:
    """How many events, how many per second (0: all at once), and the shares of disturbances.

    A share that is None has its usual value, or less where the other shares leave less room.
    """

    events: int = 200
    per_second: float = 20.0
    duplicates: float | None = None
    corrupt: float | None = None
    shifted: float | None = None

    def __post_init__(self) -> None:
        """Reject shares that are none, or sum to more than 1."""
        given = [share for share in self._given() if share is not None]
        if not all(0 <= share <= 1 for share in given) or sum(given) > 1 + _ROUNDING:
            raise BadStream("duplicates, corrupt and shifted are shares of all events: together they are 1 at most")
        if self.events < 1 or not 0 <= self.per_second < math.inf:
            raise BadStream("events must be 1 or more, and events per second 0 or more")

    def _given(self) -> tuple[float | None, ...]:
        return self.duplicates, self.corrupt, self.shifted

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of duplicates, corrupt and shifted photos; they sum to 1 at most."""
        given = self._given()
        left = max(0.0, 1 - sum(share for share in given if share is not None))
        usual = sum(share for share, wish in zip(USUAL_SHARES, given, strict=True) if wish is None)
        scale = min(1.0, left / usual) if usual else 1.0
        return tuple(scale * share if wish is None else wish for share, wish in zip(USUAL_SHARES, given, strict=True))


@dataclass(frozen=True, slots=True)
class PhotoEvent:
    """One photo's event. A duplicate has the number, photo and courier of an earlier one."""

    number: int
    kind: EventKind
    sample: Sample
    shape: EventKind
    """The kind of its photo; for a duplicate, that of the original."""
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SimulationResult(StepResult):
    """The outcomes of all events, by kind; *orders* counts the assigned orders, *errors* the failures by name.

    A classified photo that moved no orders counts under its dispatch status: `duplicate`, `outdated` or `too old`.
    """

    TABLE = "outcomes"
    FIGURE = ("outcomes", "name", "classified")

    events: int
    seconds: float
    outcomes: Mapping[str, Mapping[str, int]]
    orders: int
    errors: Mapping[str, int]

    def count(self, outcome: Outcome | DispatchStatus) -> int:
        """The number of events with this outcome."""
        return sum(counts.get(outcome, 0) for counts in self.outcomes.values())


def simulate(
    aws: Aws, workflow_arn: str, events: Sequence[PhotoEvent], rate: tuple[float, int], report: Reporter
) -> SimulationResult:
    """Send *events*, at *rate* (events a second, or 0; clients at most), and wait until each has ended.

    An event that fails is counted and its error named; the next run sends other photos, so nothing of this one counts.
    """
    run = uuid.uuid4().hex[:8]
    started = time.monotonic()
    tally: Counter[tuple[EventKind, Outcome | DispatchStatus]] = Counter()
    errors: Counter[str] = Counter()
    orders = 0
    with closing(_send_all(aws, workflow_arn, run, events, rate)) as sent:
        for event, ended in sent:
            outcome, moved, error = _read(ended)
            tally[event.kind, outcome] += 1
            orders += moved
            errors.update([error] if error else [])
            report.progress(tally.total(), len(events), "events ended")
    kinds = [kind for kind in EventKind if any(event.kind is kind for event in events)]
    return SimulationResult(
        events=len(events),
        seconds=time.monotonic() - started,
        outcomes={
            kind: {name: tally[kind, name] for name in (*Outcome, *DispatchStatus) if tally[kind, name]}
            for kind in kinds
        },
        orders=orders,
        errors=errors,
    )


def plan_events(samples: Sequence[Sample], stream: Stream, seed: int) -> tuple[PhotoEvent, ...]:
    """Plan a stream: photos of *samples* in random order, again and again, mixed with disturbances.

    Raises:
        BadStream: there is no sample.
    """
    if not samples:
        raise BadStream("no test photo is staged; run: scones stage")
    rng = np.random.default_rng(seed)
    shares = stream.shares
    troubles = [EventKind.DUPLICATE, EventKind.CORRUPT, EventKind.SHIFTED, EventKind.PLAIN]
    kinds = rng.choice(len(troubles), stream.events, p=[*shares, max(0.0, 1 - sum(shares))])
    order = rng.permutation(len(samples))
    events: list[PhotoEvent] = []
    for number, kind in enumerate(troubles[index] for index in kinds.tolist()):
        if kind is EventKind.DUPLICATE and events:
            first = events[int(rng.integers(len(events)))]
            events.append(PhotoEvent(first.number, kind, first.sample, first.shape, first.place))
            continue
        shape = EventKind.PLAIN if kind is EventKind.DUPLICATE else kind
        east, north = rng.normal(0, CITY_SPREAD_KM, 2).round(3).tolist()
        events.append(PhotoEvent(number, shape, samples[int(order[number % len(samples)])], shape, (east, north)))
    return tuple(events)


def _send_all(
    aws: Aws, workflow_arn: str, run: str, events: Sequence[PhotoEvent], rate: tuple[float, int]
) -> Generator[tuple[PhotoEvent, ExecutionResult | AwsError]]:
    """Send each event at its time, and yield those that have ended, in their order."""
    per_second, clients = rate
    started = time.monotonic()
    waiting: deque[tuple[PhotoEvent, Future[ExecutionResult | AwsError]]] = deque()
    pool = ThreadPoolExecutor(clients)
    try:
        for number, event in enumerate(events):
            if per_second:
                time.sleep(max(0.0, started + number / per_second - time.monotonic()))
            waiting.append((event, pool.submit(_send, aws, workflow_arn, run, event)))
            while waiting and waiting[0][1].done():
                first, ended = waiting.popleft()
                yield first, ended.result()
        for event, ended in waiting:
            yield event, ended.result()
    finally:
        # After Ctrl-C no further event starts.
        pool.shutdown(cancel_futures=True)


def _send(aws: Aws, workflow_arn: str, run: str, event: PhotoEvent) -> ExecutionResult | AwsError:
    east, north = event.place
    courier = {"id": f"{run}-{event.number}", "x_km": east, "y_km": north, "capacity": USUAL_CAPACITY}
    key = f"{ASKED_PREFIX}{run}/{event.number:05d}"
    try:
        aws.bucket.put(key, _photo(aws.bucket.get(event.sample.key), event, run), "application/x-image")
        request = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": key, "courier": courier}
        return aws.workflow.run(workflow_arn, uuid.uuid4().hex, request)
    except AwsError as error:
        return error


def _photo(photo: bytes, event: PhotoEvent, run: str) -> bytes:
    """The event's photo, with a hash of its own and the same pixels, like another shot of the vehicle."""
    if event.shape is EventKind.CORRUPT:
        # Half of them are truncated, and half are not photos.
        photo = photo[: len(photo) // 2] if event.number % 2 else b"no photo"
    if event.shape is EventKind.SHIFTED:
        rng = np.random.default_rng(event.number)
        photo = darken_and_blur(photo, brightness=rng.uniform(0.3, 0.8), blur_share=rng.uniform(0, 1 / 16))
    # Image decoders ignore bytes after the end of the image.
    return photo + f"\n{run} {event.number}".encode()


def _read(ended: ExecutionResult | AwsError) -> tuple[Outcome | DispatchStatus, int, str]:
    """The outcome of an event, the number of orders that it moved, and the error's name where it failed."""
    if isinstance(ended, AwsError):
        return Outcome.FAILED, 0, ended.code
    if ended.output is None:
        outcome = outcome_of_error(ended.error or ended.status)
        return outcome, 0, ended.error if outcome is Outcome.FAILED else ""
    status = DispatchStatus(ended.output["dispatch"])
    return (Outcome.CLASSIFIED, len(ended.output["orders"]), "") if status is DispatchStatus.DONE else (status, 0, "")

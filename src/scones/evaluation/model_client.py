"""Model client: predictions of an endpoint or a model file, one after another or under load."""

import hashlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scones.data.decode import decode
from scones.domain.errors import EvaluationError, SconesError
from scones.domain.naming import evaluation_id
from scones.domain.wire import Answer, read_answers

_BATCH = 64
_MAX_REASON = 300

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


class PredictionFailed(EvaluationError):
    """A model that could be opened fails on a photo."""


class ModelOutput(NamedTuple):
    """A model's output for N photos: *probabilities* [N, C], and *ood_scores* [N] if it has an OOD detector."""

    probabilities: Floats
    ood_scores: Floats | None


Predict = Callable[[Sequence[bytes]], ModelOutput]
"""Classify encoded photos."""
InvokeEndpoint = Callable[[str, bytes, str], bytes]
"""Send a photo with an inference id to an endpoint, by its name; gives the detailed response, as JSON."""
Progress = Callable[[int, int, str], None]


def endpoint_predictor(invoke: InvokeEndpoint, endpoint: str, clients: int, progress: Progress) -> Predict:
    """Classify with an endpoint, *clients* photos at a time; monitoring ignores these requests."""

    def predict_one(photo: bytes) -> Answer:
        return read_answers(invoke(endpoint, photo, evaluation_id(hashlib.sha256(photo).hexdigest())))[0]

    def predict(photos: Sequence[bytes]) -> ModelOutput:
        responses = []
        with ThreadPoolExecutor(clients) as pool:
            for response in pool.map(predict_one, photos):
                responses.append(response)
                progress(len(responses), len(photos), "photos evaluated")
        table = np.array([response["probabilities"] for response in responses], np.float64)
        scores = [response.get("unfamiliarity") for response in responses]
        return ModelOutput(table, None if None in scores else np.array(scores, np.float64))

    return predict


def model_predictor(answer: Callable[[Pixels], NDArray[np.floating]], classes: int, size: int) -> Predict:
    """Classify in this process: *answer* turns uint8 [N, size, size, 3] into [N, C], or [N, C + 1] with OOD scores.

    What it returns raises PredictionFailed if the model fails on a photo, and what `decode` raises.
    """

    def predict(photos: Sequence[bytes]) -> ModelOutput:
        batches = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
        try:
            table = np.concatenate([answer(decode_photos(batch, size)) for batch in batches]).astype(np.float64)
        except SconesError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base
            raise PredictionFailed(f"the model fails on a photo: {repr(error)[:_MAX_REASON]}") from error
        return ModelOutput(table[:, :classes], table[:, classes] if table.shape[1] > classes else None)

    return predict


def decode_photos(photos: Sequence[bytes], size: int) -> Pixels:
    """Decode photos as a model sees them, uint8 [N, size, size, 3]."""
    return np.stack([decode(photo, size) for photo in photos])


CLIENTS = (1, 4, 16, 64)
"""The numbers of concurrent clients, measured one after the other."""

Send = Callable[[int], str]
"""Send the request of this number; gives the error in a word, or an empty string."""


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """When a level ends: after this many seconds or requests, whichever comes first."""

    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """One number of clients: *per_second* counts responses without an error; latencies are theirs, in milliseconds.

    Latencies are None where every request failed. *errors* counts each kind of error.
    """

    clients: int
    requests: int
    seconds: float
    per_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One target at every level."""

    target: str
    levels: tuple[LoadLevel, ...]


def measure_load(target: str, send: Send, limits: LoadLimits, progress: Callable[[int, int, str], None]) -> LoadResult:
    """Send requests with 1, 4, 16 and 64 clients; each waits for its response before it sends the next."""
    levels: list[LoadLevel] = []
    for clients in CLIENTS:
        levels.append(measure_level(send, clients, limits))
        progress(len(levels), len(CLIENTS), f"load levels, {target}")
    return LoadResult(target, tuple(levels))


def measure_level(send: Send, clients: int, limits: LoadLimits) -> LoadLevel:
    """Send requests with this many clients until a limit is reached; then wait for those under way."""
    numbers = itertools.count()
    # Taking a number is not atomic everywhere.
    lock = threading.Lock()
    results: list[tuple[float, str]] = []
    started = time.monotonic()

    def client() -> None:
        while time.monotonic() - started < limits.seconds:
            with lock:
                number = next(numbers)
            if number >= limits.requests:
                return
            sent = time.monotonic()
            error = _outcome(send, number)
            results.append((time.monotonic() - sent, error))

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(client) for _ in range(clients)]:
            future.result()
    return summarize_level(clients, results, time.monotonic() - started)


def summarize_level(clients: int, results: Sequence[tuple[float, str]], seconds: float) -> LoadLevel:
    """Summarize the *results*, each a duration in seconds and its error or an empty string."""
    good = [1000 * took for took, error in results if not error]
    p50, p95, p99 = (float(value) for value in np.percentile(good, [50, 95, 99])) if good else (None, None, None)
    return LoadLevel(
        clients=clients,
        requests=len(results),
        seconds=seconds,
        per_second=len(good) / seconds if seconds > 0 else 0.0,
        p50=p50,
        p95=p95,
        p99=p99,
        errors=dict(Counter(error for _, error in results if error)),
    )


def _outcome(send: Send, number: int) -> str:
    try:
        return send(number)
    except SconesError as error:
        return str(getattr(error, "code", type(error).__name__))

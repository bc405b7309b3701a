"""Load is bounded, counted and honest about errors."""

import threading
import time

import pytest

from scones.aws.client import AwsError
from scones.evaluation.model_client import CLIENTS, LoadLimits, measure_level, measure_load, summarize_level


def test_the_count_is_a_bound() -> None:
    """No more requests than allowed are sent, each number once, whatever the number of clients."""
    seen: list[int] = []

    def send(number: int) -> str:
        seen.append(number)
        return ""

    level = measure_level(send, 16, LoadLimits(seconds=30, requests=50))
    assert sorted(seen) == list(range(50))
    assert (level.requests, level.errors) == (50, {})
    assert level.per_second == pytest.approx(50 / level.seconds)


def test_the_time_is_a_bound() -> None:
    """A slow target is not waited for beyond the request under way."""
    started = time.monotonic()

    def send(_: int) -> str:
        time.sleep(0.05)
        return ""

    level = measure_level(send, 4, LoadLimits(seconds=0.2, requests=10_000))
    assert time.monotonic() - started < 60
    assert 1 <= level.requests < 1000


def test_as_many_ask_at_once_as_there_are_clients() -> None:
    """Four clients meet at a barrier of four."""
    barrier = threading.Barrier(4)

    def send(_: int) -> str:
        barrier.wait(timeout=10)
        return ""

    assert measure_level(send, 4, LoadLimits(seconds=10, requests=8)).requests == 8


def test_errors_are_counted_by_kind_and_not_as_answers() -> None:
    """What AWS refuses and what a workflow reports are errors; only answers make throughput and latency."""

    def send(number: int) -> str:
        if number % 4 == 0:
            raise AwsError("sagemaker-runtime", "invoke_endpoint", "ThrottlingException", "slow down")
        return "States.Timeout" if number % 4 == 1 else ""

    level = measure_level(send, 2, LoadLimits(seconds=30, requests=40))
    assert level.errors == {"ThrottlingException": 10, "States.Timeout": 10}
    assert level.per_second == pytest.approx(20 / level.seconds)


def test_without_answers_there_are_no_latencies() -> None:
    """None, not zero."""
    level = summarize_level(1, [(0.1, "Failed")], 0.1)
    assert (level.p50, level.p95, level.p99, level.per_second) == (None, None, None, 0)


def test_percentiles_are_in_milliseconds() -> None:
    """Of 1 to 100 ms."""
    level = summarize_level(1, [(0.001 * count, "") for count in range(1, 101)], 10)
    assert (level.p50, level.p95, level.p99) == pytest.approx((50.5, 95.05, 99.01))
    assert level.per_second == 10


def test_every_level_is_tried() -> None:
    """1, 4, 16 and 64 clients, and progress after each."""
    told: list[tuple[int, int, str]] = []
    load = measure_load("endpoint", lambda _: "", LoadLimits(5, 70), lambda *words: told.append(words))
    assert [level.clients for level in load.levels] == list(CLIENTS) == [1, 4, 16, 64]
    assert told[-1] == (4, 4, "load levels, endpoint")

"""A closed-loop HTTP client: so many connections, each asking as soon as it is answered, every answer checked."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import uvloop

# float32 arithmetic differs a little with the size of the batch.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Question:
    """A whole request as it goes over the wire, and the probabilities that answer it."""

    wire: bytes
    answer: Sequence[float]


@dataclass
class Outcome:
    """What the answers were, and how long each took in seconds."""

    good: int = 0
    wrong: int = 0
    refused: int = 0
    broken: int = 0
    latencies: list[float] = field(default_factory=list)

    def p50_ms(self) -> float:
        """The median time to an answer in milliseconds."""
        return 1000 * statistics.median(self.latencies)


def ask(port: int, questions: Sequence[Question], *, connections: int, requests: int) -> Outcome:
    """Send so many requests in all."""
    outcome = Outcome()

    async def run() -> None:
        numbers = iter(range(requests))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(_client(port, questions, numbers, outcome))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return outcome


async def _client(port: int, questions: Sequence[Question], numbers: Iterator[int], outcome: Outcome) -> None:
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    for number in numbers:
        question = questions[number % len(questions)]
        try:
            if reader is None or writer is None or writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = time.perf_counter()
            writer.write(question.wire)
            status, keep, body = await _read(reader)
            outcome.latencies.append(time.perf_counter() - start)
            _judge(status, body, question, outcome)
            if not keep:
                writer.close()
        except (OSError, asyncio.IncompleteReadError):
            outcome.broken += 1
            reader = writer = None
    if writer is not None:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return status, b"connection: close" not in head, await reader.readexactly(length)


def _judge(status: int, body: bytes, question: Question, outcome: Outcome) -> None:
    if status != 200:
        outcome.refused += 1
        return
    found = json.loads(body)
    close = all(abs(one - other) < TOLERANCE for one, other in zip(found, question.answer, strict=True))
    outcome.good += close
    outcome.wrong += not close


def wait_for_ping(port: int, path: str, seconds: float, poll_seconds: float = 0.005) -> float:
    """Ask until 200 comes; return how long that took.

    Raises:
        TimeoutError: it never came.
    """

    async def once() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return (await reader.read(12)).endswith(b" 200")
        finally:
            writer.close()

    async def poll() -> None:
        while True:
            try:
                if await asyncio.wait_for(once(), 2):
                    return
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(poll_seconds)

    start = time.perf_counter()
    with asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(poll(), seconds))
    return time.perf_counter() - start

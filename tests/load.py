"""Steady load on an endpoint, with every answer and every failure kept."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from access_keys import BOTO_KEYS
from waiting import eventually

WAIT_FOR_THREADS_SECONDS = 30.0


class Load:
    """Several threads that ask in turn, until the block ends; a failed request is counted and never repeated."""

    def __init__(self, ask: Callable[[], Any], per_second: float = 40, threads: int = 4) -> None:
        self.answers: list[Any] = []
        self.failures: list[str] = []
        self._ask = ask
        self._pause_seconds = threads / per_second
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Load":
        """Begin."""
        for thread in self._threads:
            thread.start()
            time.sleep(self._pause_seconds / len(self._threads))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, once every request has its answer."""
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_FOR_THREADS_SECONDS)

    def more(self, requests: int) -> bool:
        """Wait until so many further requests have ended."""
        until = len(self.answers) + len(self.failures) + requests
        return eventually(lambda: len(self.answers) + len(self.failures) >= until)

    def _run(self) -> None:
        while not self._over.wait(self._pause_seconds):
            try:
                self.answers.append(self._ask())
            except (ClientError, BotoCoreError) as error:
                self.failures.append(str(error))


def asker(endpoint_url: str, endpoint: str, body: bytes, content_type: str = "image/png") -> Callable[[], bytes]:
    """What asks an endpoint once, through plain boto3 that does not try again."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        **BOTO_KEYS,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=16),
    )

    def ask() -> bytes:
        reply = client.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
        answer: bytes = reply["Body"].read()
        return answer

    return ask

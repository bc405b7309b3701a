"""Clients whose every reply is held against botocore's models; with SCONES_LIVE=1 the same tests ask AWS itself.

A live run needs credentials, and SCONES_LIVE_ROLE: the ARN of a role that Lambda, Step Functions and SageMaker may
assume. It leaves out what needs our container image. It creates resources and deletes them again, and costs cents.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.model import OperationModel

from access_keys import BOTO_KEYS, KEY
from contract.shapes import error_faults, reply_faults
from scones_local import cloud

LOCAL = Path(__file__).parents[1] / "scones_local"
LIVE = os.environ.get("SCONES_LIVE") == "1"  # noqa: TID251 - the opt-in is a variable
ROLE = os.environ.get("SCONES_LIVE_ROLE", "arn:aws:iam::000000000000:role/contract")  # noqa: TID251
PROGRAMS = cloud.Programs(
    image_prefix="scones",
    train=(sys.executable, str(LOCAL / "stand_in_train.py")),
    serve=(sys.executable, str(LOCAL / "stand_in_serve.py")),
)


class Checked:
    """boto3 clients that note each operation, and every fault in its reply."""

    def __init__(self, **options: Any) -> None:
        self.live = LIVE
        self.role = ROLE
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.faults: list[str] = []
        self._options = options
        self._clients: dict[str, Any] = {}
        self._body = b""

    def __call__(self, service: str) -> Any:
        """The client of *service*."""
        if service not in self._clients:
            config = Config(inject_host_prefix=self.live, retries={"mode": "standard", "max_attempts": 3})
            client = boto3.client(service, config=config, **self._options)
            client.meta.events.register("before-parse", self._keep)
            client.meta.events.register("after-call", self._check)
            self._clients[service] = client
        return self._clients[service]

    def _keep(self, response_dict: dict[str, Any], **_: Any) -> None:
        body = response_dict["body"]
        self._body = body if isinstance(body, bytes) else b""

    def _check(self, model: OperationModel, parsed: dict[str, Any], **_: Any) -> None:
        self.seen[model.service_model.service_name].add(model.name)
        if parsed["ResponseMetadata"]["HTTPStatusCode"] >= 300:
            self.faults += error_faults(model, parsed)
        else:
            self.faults += reply_faults(model, parsed, self._body)


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    """Checked clients, of AWS when that was asked for, else of a local cloud."""
    if LIVE:
        if boto3.Session().get_credentials() is None:
            pytest.skip("SCONES_LIVE=1, and no credentials were found")
        yield Checked()
        return
    running = cloud.start(tmp_path_factory.mktemp("contract") / "state", programs=PROGRAMS, key=KEY)
    yield Checked(endpoint_url=running.endpoint_url, region_name=running.region, **BOTO_KEYS)
    cloud.stop(running)


@pytest.fixture
def aws(checked: Checked) -> Iterator[Checked]:
    """The checked clients; a fault in any reply fails the test that caused it."""
    checked.faults.clear()
    yield checked
    assert checked.faults == []

"""Step Functions: run one photo through the Express workflow and wait for its end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scones.aws.client import Client


@dataclass(frozen=True, slots=True)
class Ended:
    """One execution that has ended: its output where it succeeded, else the error's name and cause."""

    arn: str
    status: str
    output: dict[str, Any] | None
    error: str
    cause: str
    started: datetime
    stopped: datetime


class Workflow:
    """The environment's Express state machine."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, arn: str, name: str, event: Mapping[str, object]) -> Ended:
        """Start an execution and wait for it, five minutes at most; raises AwsError when it cannot start."""
        reply = self._client.call("start_sync_execution", stateMachineArn=arn, name=name, input=json.dumps(event))
        return Ended(
            arn=reply["executionArn"],
            status=reply["status"],
            output=json.loads(reply["output"]) if reply["status"] == "SUCCEEDED" else None,
            error=reply.get("error", ""),
            cause=reply.get("cause", ""),
            started=reply["startDate"],
            stopped=reply["stopDate"],
        )

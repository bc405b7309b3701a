"""Step Functions and Lambda: run the Express workflow for one photo, one of its functions, and batch executions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scones.aws.client import AwsError, Client
from scones.domain.errors import CloudError

_NO_HISTORY = {"ExecutionDoesNotExist", "StateMachineTypeNotSupported", "InvalidArn", "ValidationException"}


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """An ended execution: its output if it succeeded, else the error's name and cause."""

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

    def run(self, arn: str, name: str, event: Mapping[str, object]) -> ExecutionResult:
        """Run an execution to its end, five minutes at most; raises AwsError if it cannot start."""
        reply = self._client.call("start_sync_execution", stateMachineArn=arn, name=name, input=json.dumps(event))
        return ExecutionResult(
            arn=reply["executionArn"],
            status=reply["status"],
            output=json.loads(reply["output"]) if reply["status"] == "SUCCEEDED" else None,
            error=reply.get("error", ""),
            cause=reply.get("cause", ""),
            started=reply["startDate"],
            stopped=reply["stopDate"],
        )

    def definition(self, arn: str) -> dict[str, Any]:
        """Read the state machine's definition, in Amazon States Language."""
        found: dict[str, Any] = json.loads(
            self._client.call("describe_state_machine", stateMachineArn=arn)["definition"]
        )
        return found

    def states(self, arn: str, name: str) -> dict[str, str]:
        """What became of each state of the execution called *name* so far: "running", "succeeded" or "failed".

        Empty where there is no history: AWS keeps none of Express executions, the local cloud until they end.
        """
        found: dict[str, str] = {}
        current = ""
        where = {"executionArn": execution_arn(arn, name), "includeExecutionData": False}
        try:
            for page in self._client.pages("get_execution_history", **where):
                for event in page["events"]:
                    if entered := event.get("stateEnteredEventDetails"):
                        current = str(entered["name"])
                        found[current] = "running"
                    elif left := event.get("stateExitedEventDetails"):
                        # A state whose task failed, and that caught the error, is left, too.
                        found[str(left["name"])] = "failed" if found.get(str(left["name"])) == "failed" else "succeeded"
                    elif current and str(event["type"]).endswith(("Failed", "TimedOut")):
                        found[current] = "failed"
        except AwsError as error:
            if error.code not in _NO_HISTORY:
                raise
        return found


class FunctionFailed(CloudError):
    """A Lambda function raised an error; *transient*, because what it needs may be back a little later."""

    transient = True


class Functions:
    """The workflow's Lambda functions, by their live versions; *prefix* is the stack's name."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def call(self, name: str, event: Mapping[str, object]) -> dict[str, Any]:
        """Call one function, and return its answer.

        Raises:
            FunctionFailed: it raised an error, or was ended.
        """
        which = {"FunctionName": f"{self._prefix}-{name}", "Qualifier": "live"}
        reply = self._client.call("invoke", **which, Payload=json.dumps(event).encode())
        answer: dict[str, Any] = json.loads(reply["Payload"].read())
        if "FunctionError" in reply:
            kind, message = answer.get("errorType", reply["FunctionError"]), answer.get("errorMessage", "")
            raise FunctionFailed(f"function {self._prefix}-{name} failed: {kind}: {message}")
        return answer


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """The state of an execution; *error* is why it failed."""

    status: str
    error: str

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.status in {"RUNNING", "PENDING_REDRIVE"}


class Batches:
    """Executions of a Standard machine with one Distributed Map; every method raises AwsError as its call does."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(self, machine: str, name: str, event: dict[str, object]) -> None:
        """Start an execution under a new name."""
        self._client.call("start_execution", stateMachineArn=machine, name=name, input=json.dumps(event))

    def find(self, execution: str) -> ExecutionStatus | None:
        """Describe an execution; None if there is none."""
        found = self._client.find("describe_execution", executionArn=execution)
        return ExecutionStatus(found["status"], found.get("error", "")) if found else None

    def answer(self, token: str, output: Mapping[str, object]) -> bool:
        """Give the task that waits for *token* its result; tell whether it still waits."""
        try:
            self._client.call("send_task_success", taskToken=token, output=json.dumps(output))
        except AwsError as error:
            if error.code in {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}:
                return False
            raise
        return True

    def items_left(self, execution: str) -> int | None:
        """How many items its map run has left; None before it has one."""
        runs = self._client.call("list_map_runs", executionArn=execution)["mapRuns"]
        if not runs:
            return None
        counts = self._client.call("describe_map_run", mapRunArn=runs[0]["mapRunArn"])["itemCounts"]
        return int(counts["pending"] + counts["running"])

    def stop_all(self, machine: str) -> int:
        """Stop all running executions of a state machine, if it exists, and return how many."""
        which = {"stateMachineArn": machine, "statusFilter": "RUNNING"}
        pages = self._client.find_pages("list_executions", **which)
        running = [each["executionArn"] for page in pages for each in page["executions"]]
        for execution in running:
            self._client.call("stop_execution", executionArn=execution)
        return len(running)


def execution_arn(machine: str, name: str) -> str:
    """Name the execution called *name* of a state machine."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

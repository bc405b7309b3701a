"""CloudFormation: bring one stack to a template by change set, follow it, delete it."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scones.aws.client import AwsError, Client
from scones.aws.waiting import wait
from scones.errors import SconesError

_STACK_SECONDS = 1800.0
_CHANGE_SET_SECONDS = 120.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_DEAD = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"}

Tell = Callable[[str], None]
"""Told one line of progress."""


class StackFailed(SconesError):
    """CloudFormation could not bring the stack to the template."""

    def __init__(self, name: str, status: str, reason: str) -> None:
        super().__init__(f"stack {name!r} is {status}: {reason}; mend it and run the same command again")
        self.name = name
        self.status = status


class StackMissing(SconesError):
    """The stack, or the part of it that a step needs, does not stand yet."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(f"stack {name!r} has no {output} yet; run: scones stage, then scones up")
        self.name = name


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it stands."""

    name: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


class Stacks:
    """The stack called *name*."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def find(self) -> Stack | None:
        """Describe the stack, or None where there is none."""
        try:
            found = self._client.call("describe_stacks", StackName=self.name)["Stacks"]
        except AwsError as error:
            if error.code == "ValidationError" and "does not exist" in error.message:
                return None
            raise
        if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
            return None
        outputs = {item["OutputKey"]: item["OutputValue"] for item in found[0].get("Outputs", ())}
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found[0].get("Parameters", ())}
        return Stack(self.name, found[0]["StackStatus"], outputs, parameters)

    def find_output(self, key: str) -> str:
        """Read one output of the stack.

        Raises:
            StackMissing: there is no stack, or it has no such output yet.
        """
        stack = self.find()
        if stack is None or key not in stack.outputs:
            raise StackMissing(self.name, key)
        return stack.outputs[key]

    def deploy(self, template: Mapping[str, object], parameters: Mapping[str, str], tell: Tell) -> Stack:
        """Create or update the stack; one that already matches is left as it is.

        Raises:
            StackFailed: with the first reason that CloudFormation gives.
        """
        stack = self.find()
        if stack and stack.status in _DEAD:
            tell(f"stack {self.name} is {stack.status}: removing it first")
            self.delete()
            stack = None
        if self._apply_change_set("UPDATE" if stack else "CREATE", template, parameters):
            stack = wait(f"stack {self.name} settling", self._settled, _STACK_SECONDS)
            if stack.status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
                raise StackFailed(self.name, stack.status, self._first_reason())
        tell(f"stack {self.name} is ready")
        return stack or self._must_find()

    def delete(self) -> None:
        """Delete the stack and wait until it is gone; nothing happens where there is none.

        Raises:
            StackFailed: something in it could not be deleted.
        """
        if self.find() is None:
            return
        self._client.call("delete_stack", StackName=self.name)

        def gone() -> bool | None:
            stack = self.find()
            if stack and stack.status == "DELETE_FAILED":
                raise StackFailed(self.name, stack.status, self._first_reason())
            return True if stack is None else None

        wait(f"stack {self.name} going", gone, _STACK_SECONDS)

    def _apply_change_set(self, kind: str, template: Mapping[str, object], parameters: Mapping[str, str]) -> bool:
        name = f"scones-{uuid.uuid4().hex[:12]}"
        self._client.call(
            "create_change_set",
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": "scones:env", "Value": self.name}],
        )
        which = {"StackName": self.name, "ChangeSetName": name}

        def made() -> dict[str, Any] | None:
            reply = self._client.call("describe_change_set", **which)
            return None if reply["Status"] in {"CREATE_PENDING", "CREATE_IN_PROGRESS"} else reply

        change_set = wait(f"change set {name}", made, _CHANGE_SET_SECONDS)
        if change_set["Status"] == "FAILED":
            self._client.call("delete_change_set", **which)
            reason = change_set.get("StatusReason", "no reason given")
            if any(words in reason for words in _NO_CHANGES):
                return False
            raise StackFailed(self.name, "unchanged", reason)
        self._client.call("execute_change_set", **which)
        return True

    def _settled(self) -> Stack | None:
        stack = self._must_find()
        return None if stack.status.endswith("_IN_PROGRESS") else stack

    def _must_find(self) -> Stack:
        stack = self.find()
        if stack is None:
            raise StackFailed(self.name, "gone", "somebody deleted it meanwhile")
        return stack

    def _first_reason(self) -> str:
        events = self._client.call("describe_stack_events", StackName=self.name)["StackEvents"]
        for event in reversed(events):
            if event["ResourceStatus"].endswith("_FAILED"):
                return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        return "no reason given"

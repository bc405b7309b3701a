"""CloudFormation: change sets, stacks and stack drift."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scones.aws.client import AwsError, Client, WaitTimeout, poll, wait
from scones.aws.s3 import Bucket
from scones.domain.errors import SconesError
from scones.domain.keys import code_key
from scones.domain.progress import Reporter, Silent
from scones.domain.tags import ENV_TAG

_HOLDS_DATA = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")


class ChangeAction(StrEnum):
    """What happens to one resource."""

    ADD = "add"
    MODIFY = "modify"
    MAY_REPLACE = "may replace"
    REPLACE = "replace"
    REMOVE = "remove"


_REPLACEMENTS = {"True": ChangeAction.REPLACE, "Conditional": ChangeAction.MAY_REPLACE}
_LOSING = {ChangeAction.MAY_REPLACE, ChangeAction.REPLACE, ChangeAction.REMOVE}


class DataAtRisk(SconesError):
    """A change set would replace or remove what holds data, and nobody said that it may."""

    def __init__(self, stack: str, losses: Iterable[str]) -> None:
        super().__init__(
            f"stack {stack!r} stays as it is, for this would lose data: {', '.join(losses)}; "
            "save it elsewhere, then run: scones up --replace-data"
        )
        self.stack = stack


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """One resource's *action*; *why* names the properties or parameters that change."""

    action: ChangeAction
    name: str
    kind: str
    why: tuple[str, ...] = ()

    @property
    def loses_data(self) -> bool:
        """Whether photos, orders or decisions could be lost; a replacement that is only possible counts."""
        return self.kind in _HOLDS_DATA and self.action in _LOSING


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that waits to be executed; *new* says that its stack does not stand yet."""

    name: str
    new: bool
    changes: tuple[ResourceChange, ...]

    def losses(self) -> list[str]:
        """Name what holds data and would be replaced or removed."""
        return [f"{item.action} {item.kind} {item.name}" for item in self.changes if item.loses_data]

    def lines(self) -> Iterable[str]:
        """The table for a person: what is added by kind, everything else one by one."""
        counts = Counter(item.action for item in self.changes)
        yield "changes: " + (
            ", ".join(f"{counts[action]} to {action}" for action in ChangeAction if counts[action]) or "none"
        )
        added = Counter(item.kind for item in self.changes if item.action is ChangeAction.ADD)
        yield from (_row(ChangeAction.ADD, kind, f"x {count}") for kind, count in sorted(added.items()))
        for item in sorted(self.changes, key=lambda each: (each.action, each.name)):
            if item.action is not ChangeAction.ADD:
                why = f" ({', '.join(item.why)})" if item.why else ""
                yield _row(item.action, item.kind, item.name + why)


def parse_change(reply: Mapping[str, Any]) -> ResourceChange:
    """Read one entry of DescribeChangeSet's `Changes`."""
    found = reply["ResourceChange"]
    action = {"Add": ChangeAction.ADD, "Remove": ChangeAction.REMOVE}.get(found["Action"], ChangeAction.MODIFY)
    if action is ChangeAction.MODIFY:
        action = _REPLACEMENTS.get(found.get("Replacement", ""), ChangeAction.MODIFY)
    targets = (detail.get("Target", {}) for detail in found.get("Details", ()))
    why = dict.fromkeys(target.get("Name") or target.get("Attribute", "") for target in targets)
    return ResourceChange(action, found["LogicalResourceId"], found["ResourceType"], tuple(filter(None, why)))


def _row(action: ChangeAction, kind: str, what: str) -> str:
    return f"  {action:<11}  {kind:<38}  {what}"


_DETECTION_SECONDS = 180.0
_CHANGED = {"MODIFIED", "DELETED"}


@dataclass(frozen=True, slots=True)
class StackDrift:
    """How many of a stack's resources could be looked at, and which differ; *why* nobody could look, if so."""

    resources: int = 0
    checked: int = 0
    changed: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """The line for a person."""
        if self.why:
            return f"not checked here: {self.why}"
        rest = self.resources - self.checked
        aside = f"; {rest} were not checked, for they cannot be here" if rest else ""
        words = "; ".join(self.changed) or "none"
        return f"{words}, in {self.checked} of {self.resources} resources{aside}"


def detect_drift(client: Client, stack: str) -> StackDrift:
    """Have CloudFormation compare what stands with what it made; takes a minute on AWS, and changes nothing."""
    try:
        detection = client.call("detect_stack_drift", StackName=stack)["StackDriftDetectionId"]

        def detected() -> dict[str, Any] | None:
            found = client.call("describe_stack_drift_detection_status", StackDriftDetectionId=detection)
            return None if found["DetectionStatus"] == "DETECTION_IN_PROGRESS" else found

        wait(f"drift detection of {stack}", detected, _DETECTION_SECONDS)
        looked = list(_looked_at(client, stack))
        pages = client.pages("list_stack_resources", StackName=stack)
        resources = sum(len(page["StackResourceSummaries"]) for page in pages)
    except AwsError as error:
        return StackDrift(why=f"{error.code}: {error.message}")
    except WaitTimeout as error:
        return StackDrift(why=str(error))
    return summarize_drift(looked, resources)


def summarize_drift(looked: Iterable[Mapping[str, Any]], resources: int) -> StackDrift:
    """Judge a stack of so many *resources* by those that CloudFormation *looked* at, not always with success."""
    checked = [each for each in looked if each["StackResourceDriftStatus"] in {"IN_SYNC", *_CHANGED}]
    changed = tuple(_words(each) for each in checked if each["StackResourceDriftStatus"] in _CHANGED)
    return StackDrift(resources, len(checked), changed)


def _looked_at(client: Client, stack: str) -> Iterator[dict[str, Any]]:
    # boto3 has no paginator for it.
    more: dict[str, str] = {}
    while True:
        reply = client.call("describe_stack_resource_drifts", StackName=stack, **more)
        yield from reply["StackResourceDrifts"]
        if "NextToken" not in reply:
            return
        more = {"NextToken": reply["NextToken"]}


def _words(drift: Mapping[str, Any]) -> str:
    paths = ", ".join(each["PropertyPath"] for each in drift.get("PropertyDifferences", ()))
    what = f"{drift['StackResourceDriftStatus'].lower()} {drift['LogicalResourceId']} ({drift['ResourceType']})"
    return f"{what} at {paths}" if paths else what


STACK_SECONDS = 1800.0
"""The longest that one change or deletion of a stack may take."""
_CHANGE_SET_SECONDS = 120.0
# Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_BODY_BYTES = 51_200
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_REVIEW = "REVIEW_IN_PROGRESS"
"""A stack of which nothing was made yet: somebody was stopped before the first change set was carried out."""
# Carrying one change set out deletes all others of the stack.
_OVERTAKEN = {"ChangeSetNotFound", "InvalidChangeSetStatus"}
_STUCK = "UPDATE_ROLLBACK_FAILED"
_DEAD = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", _REVIEW}

Tell = Callable[[str], None]
"""Told one line of progress."""


class StackFailed(SconesError):
    """CloudFormation could not bring the stack to the template."""

    def __init__(self, name: str, status: str, reason: str) -> None:
        super().__init__(f"stack {name!r} is {status}: {reason}; mend it and run the same command again")
        self.name = name
        self.status = status
        self.reason = reason


class StackMissing(SconesError):
    """The stack, or the part of it that a step needs, does not stand yet."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(f"stack {name!r} has no {output} yet; run: scones stage, then scones up")
        self.name = name


class StackDeletionIncomplete(SconesError):
    """Somebody began to delete the stack, and it stands still: it can only go on going."""

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"stack {name!r} is {status}, and can only be deleted to its end; run: scones down")
        self.name = name


class ForeignStack(SconesError):
    """A stack of the environment's name stands, and Scones did not make it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"stack {name!r} is somebody else's: it has no tag {ENV_TAG}={name}; nothing was touched: use another --env"
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class StackResource:
    """One resource of a stack: its name in the template, its type, and what it is called in its service."""

    logical_id: str
    type: str
    physical_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it stands."""

    name: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def never_created(self) -> bool:
        """Whether it ended before it was made: it can only be deleted."""
        return self.status in _DEAD


class Stacks:
    """The stack called *name*."""

    def __init__(self, client: Client, name: str, bucket: Bucket) -> None:
        self._client = client
        self._bucket = bucket
        self.name = name

    def find(self) -> Stack | None:
        """Describe the stack, or None where there is none.

        Raises:
            ForeignStack: there is one, and Scones did not make it.
        """
        try:
            found = self._client.call("describe_stacks", StackName=self.name)["Stacks"]
        except AwsError as error:
            if error.code == "ValidationError" and "does not exist" in error.message:
                return None
            raise
        if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
            return None
        # A stack has its tags from its first change set on, which is carried out once it is no longer in review.
        tag = {"Key": ENV_TAG, "Value": self.name}
        if found[0]["StackStatus"] != _REVIEW and tag not in found[0].get("Tags", ()):
            raise ForeignStack(self.name)
        outputs = {item["OutputKey"]: item["OutputValue"] for item in found[0].get("Outputs", ())}
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found[0].get("Parameters", ())}
        return Stack(self.name, found[0]["StackStatus"], outputs, parameters)

    def base_exists(self, tell: Tell) -> bool:
        """Tell whether the foundation stands, once nobody is changing it; who began it may not have got that far."""
        stack = self._at_rest(tell)
        return stack is not None and "BucketName" in stack.outputs

    def find_output(self, key: str) -> str:
        """Read one output of the stack.

        Raises:
            StackMissing: there is no stack, or it has no such output yet.
        """
        stack = self.find()
        if stack is None or key not in stack.outputs:
            raise StackMissing(self.name, key)
        return stack.outputs[key]

    def key(self) -> str:
        """The ARN of the environment's own key; empty where it has none."""
        stack = self.find()
        return stack.outputs.get("KeyArn", "") if stack else ""

    def deploy(self, template: Mapping[str, object], parameters: Mapping[str, str], tell: Tell) -> Stack:
        """Create or update the stack; one that already matches is left as it is.

        One that somebody else is changing is waited for; one that is stuck is freed, or removed where it never stood.

        Raises:
            StackFailed: with the first reason that CloudFormation gives.
            StackDeletionIncomplete: its deletion began before; it has to go first.
            ForeignStack: Scones did not make it.
        """
        change_set = self.prepare(template, parameters, tell)
        stack = self.execute(change_set, Silent()) if change_set else self.must_find()
        tell(f"stack {self.name} is ready")
        return stack

    def prepare(self, template: Mapping[str, object], parameters: Mapping[str, str], tell: Tell) -> ChangeSet | None:
        """Make a change set, and change nothing yet; None where the stack matches already.

        What an earlier run began is waited for: CloudFormation goes on when nobody looks.

        Raises:
            StackFailed: CloudFormation refuses the template.
        """
        stack = self._ready_for_change(tell)
        return self._make_change_set("UPDATE" if stack else "CREATE", template, parameters)

    def execute(self, change_set: ChangeSet, report: Reporter) -> Stack:
        """Carry a change set out and wait for its end, telling how many resources are done, and which is under way.

        Raises:
            StackFailed: with the first reason that CloudFormation gives.
        """
        before = next((event["EventId"] for event in self._events()), "")
        try:
            self._client.call("execute_change_set", **self._which(change_set.name))
        except AwsError as error:
            if error.code not in _OVERTAKEN:
                raise
            raise StackFailed(self.name, "unchanged", "another command was quicker to change it") from error

        def finished() -> Stack | None:
            events = list(self._events(since=before))
            done, now = _progress(events, self.name)
            if change_set.changes:
                # The clean-up after an update touches resources a second time.
                total = len(change_set.changes)
                report.progress(min(done, total), total, f"resources of {self.name}", now)
            # Right after the call the stack may still show the state before it; its events do not.
            return self._find_settled() if any(_of_stack(event, self.name) for event in events) else None

        stack = wait(f"stack {self.name} settling", finished, STACK_SECONDS)
        if stack.status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise StackFailed(self.name, stack.status, self._first_reason(since=before))
        return stack

    def drift(self) -> StackDrift:
        """Compare what stands with what CloudFormation made."""
        return detect_drift(self._client, self.name)

    def discard(self, change_set: ChangeSet) -> None:
        """Forget a change set that nobody wants, with the empty stack that it was to fill."""
        self._client.call("delete_change_set", **self._which(change_set.name))
        if change_set.new:
            self.delete(Silent().tell)

    def resources(self) -> list[StackResource]:
        """List what the stack has made and not deleted; nothing where there is no stack."""
        if self.find() is None:
            return []
        pages = self._client.pages("list_stack_resources", StackName=self.name)
        found = [
            StackResource(
                each["LogicalResourceId"],
                each["ResourceType"],
                each.get("PhysicalResourceId", ""),
                each["ResourceStatus"],
            )
            for page in pages
            for each in page["StackResourceSummaries"]
        ]
        # What failed to be made may bear the name of what somebody else made before.
        return [each for each in found if each.status not in {"CREATE_FAILED", "DELETE_COMPLETE"}]

    def delete(self, tell: Tell, *, retain_failed: bool = False) -> None:
        """Delete the stack and wait until it is gone; nothing happens where there is none.

        What could not be deleted the last time is tried again; with *retain_failed* it is left standing, for the
        caller to delete, and the stack goes without it.

        Raises:
            StackFailed: something in it could not be deleted.
            ForeignStack: Scones did not make it.
        """
        stack = self._at_rest(tell)
        if stack is None:
            return
        failed = [each.logical_id for each in self.resources() if each.status == "DELETE_FAILED"]
        left = {"RetainResources": failed} if retain_failed and stack.status == "DELETE_FAILED" else {}
        self._client.call("delete_stack", StackName=self.name, **left)

        def gone() -> bool | None:
            stack = self.find()
            if stack and stack.status == "DELETE_FAILED":
                raise StackFailed(self.name, stack.status, self._first_reason())
            return True if stack is None else None

        wait(f"stack {self.name} going", gone, STACK_SECONDS)

    def _make_change_set(
        self, kind: str, template: Mapping[str, object], parameters: Mapping[str, str]
    ) -> ChangeSet | None:
        name = f"scones-{uuid.uuid4().hex[:12]}"
        which = self._which(name)
        self._client.call(
            "create_change_set",
            **which,
            ChangeSetType=kind,
            **self._sent(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": ENV_TAG, "Value": self.name}],
        )

        def made() -> dict[str, Any] | None:
            reply = self._client.call("describe_change_set", **which)
            return None if reply["Status"] in {"CREATE_PENDING", "CREATE_IN_PROGRESS"} else reply

        found = wait(f"change set {name}", made, _CHANGE_SET_SECONDS)
        if found["Status"] == "FAILED":
            self._client.call("delete_change_set", **which)
            reason = found.get("StatusReason", "no reason given")
            if any(words in reason for words in _NO_CHANGES):
                return None
            raise StackFailed(self.name, "unchanged", reason)
        pages = self._client.pages("describe_change_set", **which)
        return ChangeSet(
            name, kind == "CREATE", tuple(parse_change(item) for page in pages for item in page["Changes"])
        )

    def _which(self, change_set: str) -> dict[str, str]:
        return {"StackName": self.name, "ChangeSetName": change_set}

    def _ready_for_change(self, tell: Tell) -> Stack | None:
        """Bring the stack to where a change set may begin; None where there is none, or none that ever stood."""
        stack = self._at_rest(tell)
        if stack and stack.status == _STUCK:
            tell(f"stack {self.name} is {stack.status}: going on with it")
            self._client.call("continue_update_rollback", StackName=self.name)
            stack = wait(f"stack {self.name} settling", self._find_settled, STACK_SECONDS)
            if stack.status == _STUCK:
                raise StackFailed(self.name, stack.status, self._first_reason())
        if stack and stack.status == "DELETE_FAILED":
            raise StackDeletionIncomplete(self.name, stack.status)
        if stack and stack.never_created:
            tell(f"stack {self.name} is {stack.status}: removing it first")
            self.delete(tell)
            return None
        return stack

    def _at_rest(self, tell: Tell) -> Stack | None:
        """The stack, once nobody is changing it any more; None where there is none, or it went meanwhile."""
        told = False
        for _ in poll(f"stack {self.name} settling", STACK_SECONDS):
            stack = self.find()
            if stack is None or stack.status == _REVIEW or not stack.status.endswith("_IN_PROGRESS"):
                return stack
            if not told:
                tell(f"stack {self.name} is {stack.status}: waiting until it is not")
            told = True
        raise AssertionError("poll ends only by raising")

    def _sent(self, template: Mapping[str, object]) -> Mapping[str, str]:
        """The template itself, or, where it is too long for a request, its place in the environment's bucket."""
        text = json.dumps(template, separators=(",", ":")).encode()
        if len(text) <= _LONGEST_BODY_BYTES:
            return {"TemplateBody": text.decode()}
        key = code_key(f"template-{hashlib.sha256(text).hexdigest()[:16]}.json")
        self._bucket.put(key, text, "application/json")
        return {"TemplateURL": self._bucket.url(key)}

    def _find_settled(self) -> Stack | None:
        stack = self.must_find()
        return None if stack.status.endswith("_IN_PROGRESS") else stack

    def must_find(self) -> Stack:
        """Describe the stack, which stands.

        Raises:
            StackFailed: it does not, any more.
        """
        stack = self.find()
        if stack is None:
            raise StackFailed(self.name, "gone", "somebody deleted it meanwhile")
        return stack

    def _events(self, since: str = "") -> Iterator[dict[str, Any]]:
        """Yield the stack's events, newest first, back to the one called *since*."""
        for page in self._client.pages("describe_stack_events", StackName=self.name):
            for event in page["StackEvents"]:
                if event["EventId"] == since:
                    return
                yield event

    def _first_reason(self, since: str = "") -> str:
        for event in reversed(list(self._events(since))):
            if event["ResourceStatus"].endswith("_FAILED"):
                reason = event.get("ResourceStatusReason", "no reason given")
                # What is found before anything is made, such as a name that is taken, is told somewhere else.
                if "DescribeEvents" in reason:
                    reason = self._validation() or reason
                return f"{event['LogicalResourceId']}: {reason}"
        return "no reason given"

    def _validation(self) -> str:
        failed = {"FailedEvents": True}
        events = self._client.call("describe_events", StackName=self.name, Filters=failed)["OperationEvents"]
        return "; ".join(each["ValidationStatusReason"] for each in events if each.get("ValidationStatusReason"))


def _of_stack(event: Mapping[str, Any], stack: str) -> bool:
    return bool(event["LogicalResourceId"] == stack and event["ResourceType"] == "AWS::CloudFormation::Stack")


def _progress(events: Iterable[Mapping[str, Any]], stack: str) -> tuple[int, str]:
    """How many resources are done, and which is under way; *events* come newest first."""
    newest: dict[str, str] = {}
    for event in events:
        if not _of_stack(event, stack):
            newest.setdefault(event["LogicalResourceId"], event["ResourceStatus"])
    under_way = [name for name, status in newest.items() if status.endswith("_IN_PROGRESS")]
    done = sum(status.endswith("_COMPLETE") for status in newest.values())
    return done, under_way[0] if under_way else ""

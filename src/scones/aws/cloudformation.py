"""CloudFormation: change sets, stacks and stack drift."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from scones.aws.client import AwsError, Client, ContactLost, WaitTimeout, continues, wait
from scones.aws.s3 import Bucket
from scones.domain.errors import CloudError
from scones.domain.naming import ENV_TAG, code_key
from scones.domain.progress import Reporter, Silent, fold

_HOLDS_DATA = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")


class ChangeAction(StrEnum):
    """What a change set does to a resource."""

    ADD = "add"
    MODIFY = "modify"
    MAY_REPLACE = "may replace"
    REPLACE = "replace"
    REMOVE = "remove"


_REPLACEMENTS = {"True": ChangeAction.REPLACE, "Conditional": ChangeAction.MAY_REPLACE}
_CERTAIN = {ChangeAction.REPLACE, ChangeAction.REMOVE}
_WORDS = {ChangeAction.MAY_REPLACE: "replace, perhaps"}
_LOSING = {ChangeAction.MAY_REPLACE, ChangeAction.REPLACE, ChangeAction.REMOVE}


class DataAtRisk(CloudError):
    """A change set would replace or remove a resource that holds data, without --replace-data."""

    def __init__(self, stack: str, losses: Iterable[str]) -> None:
        super().__init__(
            f"stack {stack!r} is unchanged, because this would lose data: {', '.join(losses)}; "
            "save the data elsewhere, then run: scones up --replace-data"
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
        """Whether photos, orders or decisions could be lost; a possible replacement counts."""
        return self.kind in _HOLDS_DATA and self.action in _LOSING


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that is not executed yet; *new* if its stack does not exist."""

    name: str
    new: bool
    changes: tuple[ResourceChange, ...]

    def losses(self) -> list[str]:
        """Name the resources with data that would be replaced or removed."""
        return [f"{item.action} {item.kind} {item.name}" for item in self.changes if item.loses_data]

    def lines(self) -> Iterable[str]:
        """The table for a person: what may lose something one by one; then additions by kind, and updates, folded."""
        counts = Counter(item.action for item in self.changes)
        yield "changes: " + (
            ", ".join(f"{counts[action]} to {_WORDS.get(action, action)}" for action in ChangeAction if counts[action])
            or "none"
        )
        added = Counter(item.kind for item in self.changes if item.action is ChangeAction.ADD)
        rows: dict[bool, list[str]] = {True: [], False: []}
        rows[False] += [_row(ChangeAction.ADD, kind, f"x {count}") for kind, count in sorted(added.items())]
        for item in sorted(self.changes, key=lambda each: (each.action, each.name)):
            if item.action is not ChangeAction.ADD:
                why = f" ({', '.join(item.why)})" if item.why else ""
                rows[item.loses_data or item.action in _CERTAIN].append(_row(item.action, item.kind, item.name + why))
        yield from rows[True]
        yield from fold(rows[False], "  ")


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
_OWN_CHANGES = {"SilenceAlarm": frozenset({"/ActionsEnabled"})}
"""Properties that Scones changes itself, by resource: the monitor enables that alarm after the first photo."""


@dataclass(frozen=True, slots=True)
class StackDrift:
    """How many of a stack's resources were checked, and which were changed by hand; *why* none was, if so."""

    resources: int = 0
    checked: int = 0
    changed: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """The line for a person."""
        if self.why:
            return f"not checked: {self.why}"
        rest = self.resources - self.checked
        aside = f"; {rest} cannot be checked here" if rest else ""
        words = "; ".join(self.changed) or "none"
        return f"{words}, in {self.checked} of {self.resources} resources{aside}"


def detect_drift(client: Client, stack: str) -> StackDrift:
    """Let CloudFormation compare the resources with the template; takes a minute on AWS, and changes nothing."""
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
    except (WaitTimeout, ContactLost) as error:
        return StackDrift(why=str(error))
    return summarize_drift(looked, resources)


def summarize_drift(looked: Iterable[Mapping[str, Any]], resources: int) -> StackDrift:
    """Summarize the drift of a stack of so many *resources*; CloudFormation cannot check all of them."""
    checked = [each for each in looked if each["StackResourceDriftStatus"] in {"IN_SYNC", *_CHANGED}]
    changed = [each for each in checked if each["StackResourceDriftStatus"] in _CHANGED and not _is_expected(each)]
    return StackDrift(resources, len(checked), tuple(map(_words, changed)))


def _is_expected(drift: Mapping[str, Any]) -> bool:
    """Whether a resource was changed by Scones itself, and in nothing else."""
    differences = {each["PropertyPath"] for each in drift.get("PropertyDifferences", ())}
    return bool(differences) and differences <= _OWN_CHANGES.get(drift["LogicalResourceId"], frozenset())


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
_MAX_BODY_BYTES = 51_200
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_NAME_HELD = "conflicting conditional operation"
"""S3's OperationAborted, in CloudFormation's reason."""
HIDDEN = "****"
"""What AWS shows instead of a parameter with NoEcho; sent back, it means the value that the stack has."""
_REVIEW = "REVIEW_IN_PROGRESS"
"""A stack without resources: a command was stopped before it executed the first change set."""
# Executing a change set deletes all others of the stack.
_OVERTAKEN = {"ChangeSetNotFound", "InvalidChangeSetStatus"}
_STUCK = "UPDATE_ROLLBACK_FAILED"
_DEAD = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", _REVIEW}

Tell = Callable[[str], None]
T = TypeVar("T")
"""Receives one line of progress."""


class StackFailed(CloudError):
    """CloudFormation could not create or update the stack."""

    def __init__(self, name: str, status: str, reason: str) -> None:
        held = "S3 keeps the name of a deleted bucket for up to an hour: wait, or use another --env,"
        todo = f"{held} and" if _NAME_HELD in reason else "correct that and"
        super().__init__(f"stack {name!r} is {status}: {reason}; {todo} run the same command again")
        self.name = name
        self.status = status
        self.reason = reason


class StackMissing(CloudError):
    """The stack, or an output that a step needs, does not exist yet."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(f"stack {name!r} has no {output} yet; run: scones stage, then scones up")
        self.name = name


class StackDeletionIncomplete(CloudError):
    """The stack's deletion began and did not finish."""

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"stack {name!r} is {status}, so it can only be deleted; run: scones down")
        self.name = name


class ForeignStack(CloudError):
    """A stack of the environment's name exists that Scones did not create."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"stack {name!r} was not created by Scones: it has no tag {ENV_TAG}={name}; nothing was changed; "
            "use another --env"
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class StackResource:
    """One resource of a stack: its name in the template, its type, and its name in its service."""

    logical_id: str
    type: str
    physical_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Stack:
    """The state of a stack."""

    name: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def never_created(self) -> bool:
        """Whether its creation failed or never began: it can only be deleted."""
        return self.status in _DEAD


class Stacks:
    """The stack called *name*."""

    def __init__(self, client: Client, name: str, bucket: Bucket) -> None:
        self._client = client
        self._bucket = bucket
        self._continues = f"stack {name} continues to change in the account; the same command waits for it again"
        self.name = name

    def function_classes(self) -> tuple[str, ...]:
        """The classes that the stack's functions expect, in the order of the probabilities; none before `up`."""
        found = self.find()
        return tuple(filter(None, (found.parameters.get("Classes", "") if found else "").split(",")))

    def find(self) -> Stack | None:
        """Describe the stack, or None where there is none.

        Raises:
            ForeignStack: Scones did not create it.
        """
        reply = self._client.find("describe_stacks", StackName=self.name)
        found = reply["Stacks"] if reply else ()
        if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
            return None
        # A stack has its tags once its first change set is executed, which ends the review.
        tag = {"Key": ENV_TAG, "Value": self.name}
        if found[0]["StackStatus"] != _REVIEW and tag not in found[0].get("Tags", ()):
            raise ForeignStack(self.name)
        outputs = {item["OutputKey"]: item["OutputValue"] for item in found[0].get("Outputs", ())}
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found[0].get("Parameters", ())}
        return Stack(self.name, found[0]["StackStatus"], outputs, parameters)

    def base_exists(self, tell: Tell) -> bool:
        """Wait until the stack is not changing, and tell whether the base stack exists."""
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
        """The ARN of the environment's own KMS key; empty if it has none."""
        stack = self.find()
        return stack.outputs.get("KeyArn", "") if stack else ""

    def deploy(self, template: Mapping[str, object], parameters: Mapping[str, str], tell: Tell) -> Stack:
        """Create or update the stack; one that matches already is unchanged.

        Waits while another command changes it; continues a failed rollback, and first removes a stack that was never
        created.

        Raises:
            StackFailed: with CloudFormation's first reason.
            StackDeletionIncomplete: its deletion has begun; finish it first.
            ForeignStack: Scones did not create it.
        """
        change_set = self.prepare(template, parameters, tell)
        stack = self.execute(change_set, Silent()) if change_set else self.must_find()
        tell(f"stack {self.name} is ready")
        return stack

    def prepare(self, template: Mapping[str, object], parameters: Mapping[str, str], tell: Tell) -> ChangeSet | None:
        """Create a change set, and change nothing yet; None if the stack matches already.

        Waits for a change that an earlier run began: CloudFormation finishes it by itself.

        Raises:
            StackFailed: CloudFormation rejects the template.
        """
        stack = self._ready_for_change(tell)
        return self._make_change_set("UPDATE" if stack else "CREATE", template, parameters)

    def execute(self, change_set: ChangeSet, report: Reporter) -> Stack:
        """Execute a change set and wait for its end, with progress.

        Raises:
            StackFailed: with CloudFormation's first reason.
        """
        before = next((event["EventId"] for event in self._events()), "")
        try:
            self._client.call("execute_change_set", **self._which(change_set.name))
        except AwsError as error:
            if error.code not in _OVERTAKEN:
                raise
            raise StackFailed(self.name, "unchanged", "another command changed it first") from error

        def finished() -> Stack | None:
            events = list(self._events(since=before))
            done, now = _progress(events, self.name)
            if change_set.changes:
                # The clean-up after an update touches resources a second time.
                total = len(change_set.changes)
                report.progress(min(done, total), total, f"resources of {self.name}", now)
            # Right after the call the stack may still show the state before it; its events do not.
            return self._find_settled() if any(_of_stack(event, self.name) for event in events) else None

        stack = self._wait("settling", finished)
        if stack.status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise StackFailed(self.name, stack.status, self._first_reason(since=before))
        return stack

    def drift(self) -> StackDrift:
        """Compare the resources with the template."""
        return detect_drift(self._client, self.name)

    def discard(self, change_set: ChangeSet) -> None:
        """Delete a change set, and the empty stack if it was to create one."""
        self._client.call("delete_change_set", **self._which(change_set.name))
        if change_set.new:
            self.delete(Silent().tell)

    def resources(self) -> list[StackResource]:
        """List the stack's resources; empty if there is no stack."""
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
        # A resource that failed may have the name of one that already existed.
        return [each for each in found if each.status not in {"CREATE_FAILED", "DELETE_COMPLETE"}]

    def delete(self, tell: Tell, *, retain_failed: bool = False) -> None:
        """Delete the stack, if it exists, and wait until it is gone.

        Resources that could not be deleted the last time are tried again; with *retain_failed* they are kept, for the
        caller to delete, and the stack is deleted without them.

        Raises:
            StackFailed: a resource could not be deleted.
            ForeignStack: Scones did not create it.
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

        self._wait("going", gone)

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
            Parameters=[
                {"ParameterKey": key, **({"UsePreviousValue": True} if value == HIDDEN else {"ParameterValue": value})}
                for key, value in parameters.items()
            ],
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
        """Make the stack ready for a change set; None if there is none, or only one that was never created."""
        stack = self._at_rest(tell)
        if stack and stack.status == _STUCK:
            tell(f"stack {self.name} is {stack.status}: continuing the rollback")
            self._client.call("continue_update_rollback", StackName=self.name)
            stack = self._wait("settling", self._find_settled)
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
        """The stack, once it is not changing; None if there is none, or it is deleted meanwhile."""
        reported = False

        def at_rest() -> tuple[Stack | None] | None:
            nonlocal reported
            stack = self.find()
            if stack is None or stack.status == _REVIEW or not stack.status.endswith("_IN_PROGRESS"):
                return (stack,)
            if not reported:
                tell(f"stack {self.name} is {stack.status}: waiting")
            reported = True
            return None

        return self._wait("settling", at_rest)[0]

    def _wait(self, doing: str, look: Callable[[], T | None]) -> T:
        with continues(self._continues):
            return wait(f"stack {self.name} {doing}", look, STACK_SECONDS)

    def _sent(self, template: Mapping[str, object]) -> Mapping[str, str]:
        """The template itself, or its URL in the environment's bucket if it is too long for a request."""
        text = json.dumps(template, separators=(",", ":")).encode()
        if len(text) <= _MAX_BODY_BYTES:
            return {"TemplateBody": text.decode()}
        key = code_key(f"template-{hashlib.sha256(text).hexdigest()[:16]}.json")
        self._bucket.put(key, text, "application/json")
        return {"TemplateURL": self._bucket.url(key)}

    def _find_settled(self) -> Stack | None:
        stack = self.must_find()
        return None if stack.status.endswith("_IN_PROGRESS") else stack

    def must_find(self) -> Stack:
        """Describe the stack, which should exist.

        Raises:
            StackFailed: it does not exist any more.
        """
        stack = self.find()
        if stack is None:
            raise StackFailed(self.name, "gone", "it was deleted meanwhile")
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
                # Reasons of validations before the start, such as a name that is taken, are in other events.
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
    """How many resources are done, and which is being changed; *events* come newest first."""
    newest: dict[str, str] = {}
    for event in events:
        if not _of_stack(event, stack):
            newest.setdefault(event["LogicalResourceId"], event["ResourceStatus"])
    under_way = [name for name, status in newest.items() if status.endswith("_IN_PROGRESS")]
    done = sum(status.endswith("_COMPLETE") for status in newest.values())
    return done, under_way[0] if under_way else ""

"""Drift of a stack: what somebody changed by hand since CloudFormation made it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scones.aws.client import AwsError, Client
from scones.aws.waiting import TookTooLong, wait

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


def find_drift(client: Client, stack: str) -> StackDrift:
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
    except TookTooLong as error:
        return StackDrift(why=str(error))
    return drift_of(looked, resources)


def drift_of(looked: Iterable[Mapping[str, Any]], resources: int) -> StackDrift:
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

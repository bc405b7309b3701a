"""Hosting: how an endpoint serves a model, on instances or serverless, and how it is updated."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from scones.config.settings import Settings

ENDPOINT_SECONDS = 1800.0
VARIANT = "AllTraffic"
# The server starts within seconds. SageMaker would wait for an hour, and the endpoint cannot be deleted meanwhile.
_STARTUP_SECONDS = 300

# Instances with disks of their own: the letter d, as in m5d or g4dn, and families that all have them.
# Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/InstanceStorage.html
_LOCAL_DISKS = re.compile(r"ml\.([a-z]+[0-9][a-z]*d[a-z]*|gr?[5-9][a-z]*|p[5-9][a-z]*|trn[0-9][a-z]*)\.")


@dataclass(frozen=True, slots=True)
class Realtime:
    """Instances, with data capture and gradual updates that roll back if *alarm* fires."""

    instance: str
    instances: int
    capture_uri: str
    alarm: str
    canary_percent: int
    bake_seconds: int
    key: str = ""
    """The ARN of the KMS key for the capture and the disks; empty for AWS's own."""
    keeps_count: bool = False
    """Whether an update keeps the current number of instances."""

    def variant(self) -> dict[str, Any]:
        """The members of the production variant."""
        return {
            "InstanceType": self.instance,
            "InitialInstanceCount": self.instances,
            "ContainerStartupHealthCheckTimeoutInSeconds": _STARTUP_SECONDS,
        }

    def capture(self) -> dict[str, Any]:
        """Capture every request and response."""
        return {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": self.capture_uri,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
                **optional_member("KmsKeyId", self.key),
            }
        }

    def disk(self) -> dict[str, str]:
        """How the instances' disks are encrypted."""
        return optional_member("KmsKeyId", disk_key(self.instance, self.key))

    @property
    def shares(self) -> tuple[int, ...]:
        """The new fleet's percentage of the requests in each step of an update."""
        return (self.canary_percent, 100) if self.instances > 1 and self.bake_seconds else (100,)

    def unwatched(self) -> "Realtime":
        """The same with updates that no alarm ends."""
        return replace(self, bake_seconds=0, alarm="")

    def update(self) -> dict[str, Any]:
        """Blue/green; a canary can be at most half of the fleet, so a single instance is updated all at once."""
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.bake_seconds}
        if len(self.shares) > 1:
            routing |= {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": self.canary_percent}}
        policy = {
            "TrafficRoutingConfiguration": routing,
            "MaximumExecutionTimeoutInSeconds": int(self.max_seconds),
        }
        alarms = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": self.alarm}]}} if self.alarm else {}
        kept = {"RetainAllVariantProperties": True} if self.keeps_count else {}
        return {"DeploymentConfig": {"BlueGreenUpdatePolicy": policy, **alarms}, **kept}

    @property
    def max_seconds(self) -> float:
        """The time limit of a deployment."""
        return max_update_seconds(self.bake_seconds)


@dataclass(frozen=True, slots=True)
class Serverless:
    """Serverless, without data capture and gradual updates, which SageMaker rejects there."""

    memory_mb: int
    concurrency: int
    max_seconds: float = ENDPOINT_SECONDS

    def variant(self) -> dict[str, Any]:
        """The members of the production variant."""
        return {"ServerlessConfig": {"MemorySizeInMB": self.memory_mb, "MaxConcurrency": self.concurrency}}

    def capture(self) -> dict[str, Any]:
        """None: the classify function captures."""
        return {}

    def disk(self) -> dict[str, str]:
        """Serverless has no disks."""
        return {}

    shares: ClassVar[tuple[int, ...]] = ()
    """No step of an update is watched."""
    bake_seconds: ClassVar[int] = 0
    alarm: ClassVar[str] = ""

    def unwatched(self) -> "Serverless":
        """The same: no update is watched."""
        return self

    def update(self) -> dict[str, Any]:
        """All at once."""
        return {}


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The desired state of an endpoint; *config* names this exact configuration."""

    name: str
    config: str
    model: str
    image: str
    role: str
    model_uri: str
    hosting: Realtime | Serverless
    tags: Mapping[str, str]
    """The tags of the model, the configuration and the endpoint."""


def max_update_seconds(bake_seconds: int) -> float:
    """The time limit of an endpoint's update: two bake periods, and its start."""
    return ENDPOINT_SECONDS + 2 * bake_seconds


def optional_member(name: str, value: str) -> dict[str, str]:
    """One member of a request, or none if the value is empty."""
    return {name: value} if value else {}


def disk_key(instance: str, key: str) -> str:
    """The *key* for an instance's disk; empty for instances with local disks, which use their own key."""
    return "" if _LOCAL_DISKS.match(instance) else key


def choose_hosting(settings: Settings, capture_uri: str, alarm: str, key: str = "") -> Realtime | Serverless:
    """Build the hosting that the settings ask for; the other arguments are for instances only."""
    if settings.mode == "serverless":
        return Serverless(settings.serverless_memory_mb, settings.serverless_concurrency)
    return Realtime(
        instance=settings.endpoint_instance,
        instances=settings.endpoint_instances,
        capture_uri=capture_uri,
        alarm=alarm,
        canary_percent=settings.canary_percent,
        bake_seconds=settings.watch_seconds,
        key=key,
    )

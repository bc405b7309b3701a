"""Hosting: the two ways to stand behind an endpoint, instances or serverless, as SageMaker's requests put them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scones.settings import Settings

ENDPOINT_SECONDS = 1800.0
VARIANT = "AllTraffic"

# Instances with disks of their own: the letter d, as in m5d or g4dn, and families that all have them.
# Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/InstanceStorage.html
_LOCAL_DISKS = re.compile(r"ml\.([a-z]+[0-9][a-z]*d[a-z]*|gr?[5-9][a-z]*|p[5-9][a-z]*|trn[0-9][a-z]*)\.")


@dataclass(frozen=True, slots=True)
class Realtime:
    """Instances, which capture by themselves, and are updated step by step while *alarm* does not ring."""

    instance: str
    instances: int
    capture_uri: str
    alarm: str
    canary_percent: int
    baking_seconds: int
    key: str = ""
    """The ARN of the key that encrypts the capture and the disks; empty for AWS's own."""
    keeps_count: bool = False
    """Whether an update keeps as many instances as there are."""

    def variant(self) -> dict[str, Any]:
        """The production variant's own members."""
        return {"InstanceType": self.instance, "InitialInstanceCount": self.instances}

    def capture(self) -> dict[str, Any]:
        """Capture of every request and answer."""
        return {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": self.capture_uri,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
                **given("KmsKeyId", self.key),
            }
        }

    def disk(self) -> dict[str, str]:
        """How the instances' disks are encrypted."""
        return given("KmsKeyId", disk_key(self.instance, self.key))

    def update(self) -> dict[str, Any]:
        """Blue/green; a canary may be half of the fleet at most, so a single instance is updated whole."""
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.baking_seconds}
        if self.instances > 1:
            routing |= {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": self.canary_percent}}
        policy = {
            "TrafficRoutingConfiguration": routing,
            "MaximumExecutionTimeoutInSeconds": int(self.longest_seconds),
        }
        alarms = {"Alarms": [{"AlarmName": self.alarm}]}
        kept = {"RetainAllVariantProperties": True} if self.keeps_count else {}
        return {"DeploymentConfig": {"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": alarms}, **kept}

    @property
    def longest_seconds(self) -> float:
        """The longest a deployment may take."""
        return update_seconds(self.baking_seconds)


@dataclass(frozen=True, slots=True)
class Serverless:
    """No instances: SageMaker neither captures there nor updates step by step, and refuses to be asked to."""

    memory_mb: int
    concurrency: int
    longest_seconds: float = ENDPOINT_SECONDS

    def variant(self) -> dict[str, Any]:
        """The production variant's own members."""
        return {"ServerlessConfig": {"MemorySizeInMB": self.memory_mb, "MaxConcurrency": self.concurrency}}

    def capture(self) -> dict[str, Any]:
        """None: the classify function captures instead."""
        return {}

    def disk(self) -> dict[str, str]:
        """There is none to be seen."""
        return {}

    def update(self) -> dict[str, Any]:
        """All at once, unwatched."""
        return {}


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """What should stand behind an endpoint; *config* names this exact configuration."""

    name: str
    config: str
    model: str
    image: str
    role: str
    model_uri: str
    hosting: Realtime | Serverless
    tags: Mapping[str, str]
    """What the model, the configuration and the endpoint carry."""


def update_seconds(baking_seconds: int) -> float:
    """The longest that an endpoint may be under way: two bakings, and the time that it needs to start."""
    return ENDPOINT_SECONDS + 2 * baking_seconds


def given(name: str, value: str) -> dict[str, str]:
    """One member of a request, or none where there is nothing to say."""
    return {name: value} if value else {}


def disk_key(instance: str, key: str) -> str:
    """The *key* for an instance's disk; empty where that is a local one, which takes no key but its own."""
    return "" if _LOCAL_DISKS.match(instance) else key


def hosting_of(settings: Settings, capture_uri: str, alarm: str, key: str = "") -> Realtime | Serverless:
    """Choose the way that the settings name; what else is given is for instances only."""
    if settings.mode == "serverless":
        return Serverless(settings.serverless_memory_mb, settings.serverless_concurrency)
    return Realtime(
        instance=settings.endpoint_instance,
        instances=settings.endpoint_instances,
        capture_uri=capture_uri,
        alarm=alarm,
        canary_percent=settings.canary_percent,
        baking_seconds=settings.baking_seconds,
        key=key,
    )

"""Hosting: the two ways to stand behind an endpoint, instances or serverless, as SageMaker's requests put them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scones.settings import Settings

ENDPOINT_SECONDS = 1800.0
VARIANT = "AllTraffic"


@dataclass(frozen=True, slots=True)
class Realtime:
    """Instances, which capture by themselves, and are updated step by step while *alarm* does not ring."""

    instance: str
    instances: int
    capture_uri: str
    alarm: str
    canary_percent: int
    baking_seconds: int
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
            }
        }

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


def hosting_of(settings: Settings, capture_uri: str, alarm: str) -> Realtime | Serverless:
    """Choose the way that the settings name; *capture_uri* and *alarm* are for instances only."""
    if settings.mode == "serverless":
        return Serverless(settings.serverless_memory_mb, settings.serverless_concurrency)
    return Realtime(
        instance=settings.endpoint_instance,
        instances=settings.endpoint_instances,
        capture_uri=capture_uri,
        alarm=alarm,
        canary_percent=settings.canary_percent,
        baking_seconds=settings.baking_seconds,
    )

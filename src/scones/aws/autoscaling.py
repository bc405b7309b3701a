"""Autoscaling: the endpoint's instance count follows its traffic, between two bounds."""

from dataclasses import replace

from scones.aws.client import Client
from scones.aws.sagemaker import VARIANT, Realtime, Serverless
from scones.config.settings import Settings

_METRIC = "SageMakerVariantInvocationsPerInstance"


class Scaling:
    """The scaling of one endpoint; every method raises AwsError as its call does."""

    def __init__(self, client: Client, endpoint: str) -> None:
        self._client = client
        self._target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }

    @property
    def name(self) -> str:
        """AWS's name for the scaled resource."""
        return self._target["ResourceId"]

    def exists(self) -> bool:
        """Tell whether the endpoint has autoscaling."""
        which = {"ServiceNamespace": "sagemaker", "ResourceIds": [self.name]}
        return any(page["ScalableTargets"] for page in self._client.pages("describe_scalable_targets", **which))

    def configure(self, settings: Settings) -> bool:
        """Turn autoscaling on or off, as the settings say, for an endpoint in service; tell which."""
        if settings.mode == "serverless" or settings.endpoint_max_instances <= settings.endpoint_instances:
            self.stop()
            return False
        bounds = {"MinCapacity": settings.endpoint_instances, "MaxCapacity": settings.endpoint_max_instances}
        self._client.call("register_scalable_target", **self._target, **bounds)
        self._client.call(
            "put_scaling_policy",
            **self._target,
            PolicyName="photos-per-instance",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": float(settings.endpoint_photos_per_minute),
                "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC},
            },
        )
        return True

    def pause(self, hosting: Realtime | Serverless, instances: int) -> Realtime | Serverless:
        """Stop autoscaling before an update of *instances* to *hosting*; a fleet that has grown keeps its size."""
        # SageMaker rejects a change of a scaled variant's instance type, and does not scale during an update.
        if self.stop() and isinstance(hosting, Realtime) and instances > hosting.instances:
            return replace(hosting, keeps_count=True)
        return hosting

    def stop(self) -> bool:
        """Remove autoscaling with its policy and alarms; tell whether there was any."""
        return self._client.find("deregister_scalable_target", **self._target) is not None

"""Scaling: how many instances stand behind the endpoint follows how much each is asked, between two bounds."""

from dataclasses import replace

from scones.aws.client import AwsError, Client
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
        """What is scaled, as AWS names it."""
        return self._target["ResourceId"]

    def exists(self) -> bool:
        """Tell whether the endpoint is scaled."""
        asked = {"ServiceNamespace": "sagemaker", "ResourceIds": [self.name]}
        return any(page["ScalableTargets"] for page in self._client.pages("describe_scalable_targets", **asked))

    def configure(self, settings: Settings) -> bool:
        """Scale the endpoint, which is in service, within the settings' bounds, or not; tell which."""
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
        """Stop scaling for an update of *instances* to *hosting*; a fleet that has grown is not made smaller by it."""
        # SageMaker refuses to change the instance type of a variant that is scaled, and blocks scaling meanwhile.
        if self.stop() and isinstance(hosting, Realtime) and instances > hosting.instances:
            return replace(hosting, keeps_count=True)
        return hosting

    def stop(self) -> bool:
        """Stop scaling, which takes the policy and its alarms along; tell whether there was any."""
        try:
            self._client.call("deregister_scalable_target", **self._target)
        except AwsError as error:
            if error.code == "ObjectNotFoundException":
                return False
            raise
        return True

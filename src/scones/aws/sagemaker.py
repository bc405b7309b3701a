"""SageMaker: training jobs, endpoints with instances or serverless, and their scaling."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scones.aws.client import AwsError, Client, wait
from scones.aws.hosting import (
    ENDPOINT_SECONDS,
    VARIANT,
    EndpointPlan,
    Realtime,
    Serverless,
    disk_key,
    optional_member,
)
from scones.config.settings import Settings
from scones.domain.errors import CloudError
from scones.domain.progress import Silent

_WATCH_PAUSE_SECONDS = 1.0
MAX_PROGRESS_SECONDS = 2 * 3600.0
"""How long SageMaker may keep an endpoint in progress: an update that is watched, or a start that never succeeds."""

_IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
"""While SageMaker changes an endpoint it neither updates nor deletes it."""
_CHANGING = _IN_PROGRESS | {"Deleting"}
"""Any other state is final until a command changes it."""
_TRAINING = frozenset({"InProgress", "Stopping"})
_RECENT = 20


class TrainingFailed(CloudError):
    """A training job ended without a model."""

    def __init__(self, job: str, status: str, reason: str) -> None:
        again = "correct that and run: scones train, which continues from the last checkpoint"
        super().__init__(f"training job {job!r} is {status}: {reason or 'no reason was given'}; {again}")
        self.job = job
        self.status = status


class EndpointFailed(CloudError):
    """The endpoint is not in service with the desired configuration."""

    def __init__(self, name: str, status: str, reason: str) -> None:
        super().__init__(f"endpoint {name!r} is {status}: {reason}; deploy again, or check its log group")
        self.name = name
        self.status = status


class UpdateRolledBack(CloudError):
    """SageMaker rolled back to the previous model, which is in service."""

    def __init__(self, name: str, config: str, reason: str) -> None:
        super().__init__(
            f"endpoint {name!r} was rolled back, and the previous model ({config!r}) is in service: "
            f"{reason or 'SageMaker gave no reason.'} Correct the new model, and run: scones deploy"
        )
        self.name = name
        self.config = config
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The request of a training job; URIs are S3 prefixes, and *channels* are those with photos."""

    job: str
    image: str
    role: str
    channels: Mapping[str, str]
    output_uri: str
    checkpoint_uri: str
    """Where SageMaker stores checkpoints, in case the job is interrupted."""
    hyperparameters: Mapping[str, str]
    instance: str
    max_seconds: int
    spot_wait_seconds: int
    """The additional time to wait for Spot instances; 0: on-demand instances."""
    key: str
    """The ARN of the KMS key for the model and the disk; empty for AWS's own."""
    metrics: Mapping[str, str]
    """Metric names, each with the regular expression that finds it in the log."""
    tags: Mapping[str, str]
    volume_gb: int


def training_request(plan: TrainingPlan) -> dict[str, Any]:
    """The members of CreateTrainingJob, which a command or a state machine calls."""
    longest = {"MaxRuntimeInSeconds": plan.max_seconds}
    if plan.spot_wait_seconds:
        longest["MaxWaitTimeInSeconds"] = plan.max_seconds + plan.spot_wait_seconds
    return {
        "TrainingJobName": plan.job,
        "RoleArn": plan.role,
        "AlgorithmSpecification": {
            "TrainingImage": plan.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in plan.metrics.items()],
        },
        "InputDataConfig": [_channel(name, uri) for name, uri in plan.channels.items()],
        "OutputDataConfig": {"S3OutputPath": plan.output_uri, **optional_member("KmsKeyId", plan.key)},
        "ResourceConfig": {
            "InstanceType": plan.instance,
            "InstanceCount": 1,
            "VolumeSizeInGB": plan.volume_gb,
            **optional_member("VolumeKmsKeyId", disk_key(plan.instance, plan.key)),
        },
        "CheckpointConfig": {"S3Uri": plan.checkpoint_uri},
        "EnableManagedSpotTraining": plan.spot_wait_seconds > 0,
        "StoppingCondition": longest,
        "HyperParameters": dict(plan.hyperparameters),
        "Tags": _tags(plan.tags),
    }


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """The state of a training job; *model_uri* is set once it is Completed."""

    job: str
    status: str
    stage: str
    reason: str
    model_uri: str
    metrics: Mapping[str, float]
    seconds: int = 0
    """What it is billed for, once it has ended."""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status not in _TRAINING


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The state of an endpoint."""

    name: str
    status: str
    arn: str
    config: str
    reason: str
    changed: float
    """When it was last changed, in seconds since 1970."""
    pending: str = ""
    """What the new fleet of an update does, such as `Baking`; empty if there is no update."""
    pending_since: float = 0.0
    """When it began that, in seconds since 1970; 0 if SageMaker does not say."""


def _pending(update: dict[str, Any] | None) -> tuple[str, float]:
    """The newest status of the first variant of an update, and its start."""
    if not update:
        return "", 0.0
    statuses = [each for variant in update.get("ProductionVariants", ()) for each in variant.get("VariantStatus", ())]
    newest: dict[str, Any] = statuses[-1] if statuses else {"Status": "Creating"}
    return str(newest["Status"]), newest["StartTime"].timestamp() if "StartTime" in newest else 0.0


Watch = Callable[[Endpoint], None]
"""Receives the state of an endpoint, at least once a second, while an update is awaited."""


class SageMaker:
    """The calls that Scones makes; every method raises AwsError as its call does."""

    def __init__(self, client: Client, runtime: Client) -> None:
        self._client = client
        self._runtime = runtime

    def start_training(self, plan: TrainingPlan) -> None:
        """Start a job; its name must be new, so one that exists was started by a call whose reply was lost."""
        self._client.create("create_training_job", **training_request(plan))

    def training(self, job: str) -> TrainingStatus:
        """Describe a job."""
        return _training_status(job, self._client.call("describe_training_job", TrainingJobName=job))

    def stop_training(self, job: str) -> None:
        """Ask a job to stop; one that has ended stays as it is."""
        try:
            self._client.call("stop_training_job", TrainingJobName=job)
        except AwsError as error:
            if error.code != "ValidationException":
                raise

    def running_trainings(self, prefix: str) -> Iterator[str]:
        """Name the jobs under way, or about to stop, whose names start with *prefix*."""
        for status in ("InProgress", "Stopping"):
            for page in self._client.pages("list_training_jobs", NameContains=prefix, StatusEquals=status):
                for summary in page["TrainingJobSummaries"]:
                    if summary["TrainingJobName"].startswith(prefix):
                        yield summary["TrainingJobName"]

    def find_training(self, prefix: str, checkpoint_uri: str) -> TrainingStatus | None:
        """Describe the newest job with this prefix and these checkpoints that has not failed and is not stopping."""
        recent = {"NameContains": prefix, "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": _RECENT}
        for summary in self._client.call("list_training_jobs", **recent)["TrainingJobSummaries"]:
            job, status = summary["TrainingJobName"], summary["TrainingJobStatus"]
            if not job.startswith(prefix) or status not in {"InProgress", "Completed"}:
                continue
            found = self._client.call("describe_training_job", TrainingJobName=job)
            if found.get("CheckpointConfig", {}).get("S3Uri") == checkpoint_uri:
                return _training_status(job, found)
        return None

    def end_training(self, job: str) -> None:
        """Stop a job, and wait until it has: until then it is paid for, and writes into the bucket."""
        self.stop_training(job)
        wait(f"training job {job} stopping", lambda: self.training(job).ended or None, ENDPOINT_SECONDS)

    def training_instances(self, job: str) -> tuple[str, int]:
        """The type of the instances of a job, and how many there are."""
        machine = self._client.call("describe_training_job", TrainingJobName=job)["ResourceConfig"]
        return machine["InstanceType"], machine["InstanceCount"]

    def find_endpoint(self, name: str) -> Endpoint | None:
        """Describe an endpoint; None if there is none."""
        reply = self._client.find("describe_endpoint", EndpointName=name)
        if reply is None:
            return None
        pending, since = _pending(reply.get("PendingDeploymentSummary"))
        return Endpoint(
            name=name,
            status=reply["EndpointStatus"],
            arn=reply["EndpointArn"],
            config=reply["EndpointConfigName"],
            reason=reply.get("FailureReason", ""),
            changed=reply["LastModifiedTime"].timestamp(),
            pending=pending,
            pending_since=since,
        )

    def deploy(self, plan: EndpointPlan, watch: Watch | None = None) -> Endpoint:
        """Create or update the endpoint, and wait until it is in service; one that matches *plan* is unchanged.

        Raises:
            EndpointFailed: it is not in service.
            UpdateRolledBack: SageMaker returned to the previous configuration.
        """
        self._ensure("model", plan.model, self._create_model, plan)
        self._ensure("endpoint_config", plan.config, self._create_config, plan)
        endpoint = self.wait_until_settled(plan.name, plan.hosting.max_seconds)
        if endpoint and endpoint.status == "Failed":  # SageMaker only deletes such an endpoint
            self.delete_endpoint(plan.name, Silent().tell)
            endpoint = None
        if endpoint is None:
            self._client.create(
                "create_endpoint", EndpointName=plan.name, EndpointConfigName=plan.config, Tags=_tags(plan.tags)
            )
        return self.update(plan.name, plan.config, plan.hosting, watch)

    def update(self, name: str, config: str, hosting: Realtime | Serverless, watch: Watch | None = None) -> Endpoint:
        """Update the endpoint to *config*, which exists, and wait until it is in service.

        Raises:
            EndpointFailed: it is not in service.
            UpdateRolledBack: SageMaker returned to the previous configuration.
        """
        endpoint = self.find_endpoint(name)
        # After a rollback that failed it serves a mix of both configurations, whichever it names.
        if endpoint and (endpoint.config != config or endpoint.status == "UpdateRollbackFailed"):
            how = hosting.update()
            self._client.call("update_endpoint", EndpointName=name, EndpointConfigName=config, **how)
        live = self.wait_until_settled(name, hosting.max_seconds, watch)
        if live is None:
            raise EndpointFailed(name, "gone", "it was deleted meanwhile")
        if live.status != "InService":
            raise EndpointFailed(name, live.status, live.reason or "no reason given")
        # A rolled-back update ends InService as well.
        if live.config != config:
            raise UpdateRolledBack(name, live.config, live.reason)
        return live

    def wait_until_settled(self, name: str, max_seconds: float, watch: Watch | None = None) -> Endpoint | None:
        """Wait until no update is running, and describe the endpoint; None if there is none."""

        def settled() -> tuple[Endpoint | None] | None:
            endpoint = self.find_endpoint(name)
            if endpoint and watch:
                watch(endpoint)
            return None if endpoint and endpoint.status in _CHANGING else (endpoint,)

        pause = _WATCH_PAUSE_SECONDS if watch else math.inf
        return wait(f"endpoint {name} coming into service", settled, max_seconds, max_pause=pause)[0]

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set tags, and keep all others."""
        self._client.call("add_tags", ResourceArn=arn, Tags=_tags(tags))

    def untag(self, arn: str, *names: str) -> None:
        """Remove tags, if they are set."""
        self._client.call("delete_tags", ResourceArn=arn, TagKeys=list(names))

    def invoke(self, endpoint: str, photo: bytes, content_type: str, inference_id: str) -> bytes:
        """Send one photo, and return the endpoint's JSON; the data capture carries *inference_id*."""
        return self._ask(
            EndpointName=endpoint,
            ContentType=content_type,
            Accept="application/json",
            Body=photo,
            InferenceId=inference_id,
        )

    def explain(self, endpoint: str, photo: bytes, inference_id: str, *, why: bool = False) -> bytes:
        """Send one photo, and return the verbose JSON, with the out-of-distribution score; *why* adds explanations."""
        return self._ask(
            EndpointName=endpoint,
            ContentType="application/x-image",
            Accept="application/json;verbose=true" + (";explain=true" if why else ""),
            Body=photo,
            InferenceId=inference_id,
        )

    def _ask(self, **question: str | bytes) -> bytes:
        answer: bytes = self._runtime.call("invoke_endpoint", **question)["Body"]
        return answer

    def delete_endpoint(self, name: str, tell: Callable[[str], None]) -> bool:
        """Delete an endpoint and wait until it is gone; tell whether it existed.

        SageMaker refuses to delete an endpoint that it is creating or updating: that is waited for first.
        """
        existed = told = False

        def gone() -> bool | None:
            nonlocal existed, told
            endpoint = self.find_endpoint(name)
            if endpoint is None:
                return True
            existed = True
            if endpoint.status in _IN_PROGRESS and not told:
                told = True
                tell(
                    f"endpoint {name} is {endpoint.status}: waiting until SageMaker lets it be deleted, which may take "
                    "half an hour; it costs money until then. After Ctrl-C, run the same command again"
                )
            if endpoint.status not in _CHANGING:
                self._delete_settled(name)
            return None

        wait(f"endpoint {name} going", gone, MAX_PROGRESS_SECONDS)
        return existed

    def _delete_settled(self, name: str) -> None:
        """Delete an endpoint, unless something has begun to change it since it was looked at."""
        try:
            self._delete("endpoint", name)
        except AwsError as error:
            if "in-progress" not in error.message:
                raise

    def delete_config(self, name: str) -> bool:
        """Delete an endpoint configuration; tell whether it existed."""
        return self._delete("endpoint_config", name)

    def delete_model(self, name: str) -> bool:
        """Delete a model; tell whether it existed."""
        return self._delete("model", name)

    def endpoints(self, prefix: str) -> list[str]:
        """Name the endpoints whose names start with *prefix*."""
        return self._names("list_endpoints", "Endpoints", "EndpointName", prefix)

    def instances(self, endpoint: Endpoint | None) -> dict[str, int]:
        """Count the endpoint's instances by type; none if it is serverless, or was just deleted."""
        live = self._client.find("describe_endpoint", EndpointName=endpoint.name) if endpoint else None
        wanted = self._client.find("describe_endpoint_config", EndpointConfigName=endpoint.config) if endpoint else None
        if live is None or wanted is None:
            return {}
        variants = live.get("ProductionVariants", ())
        current = {each["VariantName"]: each.get("CurrentInstanceCount", 0) for each in variants}
        found: dict[str, int] = {}
        for variant in wanted["ProductionVariants"]:
            if instance := variant.get("InstanceType"):
                # A starting endpoint is billed before it reports its instances.
                count = current.get(variant["VariantName"], 0) or variant["InitialInstanceCount"]
                found[instance] = found.get(instance, 0) + count
        return found

    def model_behind(self, config: str) -> str:
        """Name the model of a configuration; empty if there is no such configuration."""
        found = self._client.find("describe_endpoint_config", EndpointConfigName=config)
        return str(found["ProductionVariants"][0]["ModelName"]) if found else ""

    def image_of(self, model: str) -> str:
        """Name the container image of a model; empty if there is no such model."""
        found = self._client.find("describe_model", ModelName=model)
        return str(found["PrimaryContainer"]["Image"]) if found else ""

    def configs(self, prefix: str) -> list[str]:
        """Name the endpoint configurations whose names start with *prefix*."""
        return self._names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", prefix)

    def models(self, prefix: str) -> list[str]:
        """Name the models whose names start with *prefix*."""
        return self._names("list_models", "Models", "ModelName", prefix)

    def _create_model(self, plan: EndpointPlan) -> None:
        container = {"Image": plan.image, "ModelDataUrl": plan.model_uri}
        self._client.create(
            "create_model",
            ModelName=plan.model,
            ExecutionRoleArn=plan.role,
            PrimaryContainer=container,
            Tags=_tags(plan.tags),
        )

    def _create_config(self, plan: EndpointPlan) -> None:
        self._client.create(
            "create_endpoint_config",
            EndpointConfigName=plan.config,
            ProductionVariants=[{"VariantName": VARIANT, "ModelName": plan.model, **plan.hosting.variant()}],
            Tags=_tags(plan.tags),
            **plan.hosting.capture(),
            **plan.hosting.disk(),
        )

    def _ensure(self, kind: str, name: str, create: Any, plan: EndpointPlan) -> None:
        argument = "ModelName" if kind == "model" else "EndpointConfigName"
        if self._client.find(f"describe_{kind}", **{argument: name}) is None:
            create(plan)

    def _delete(self, kind: str, name: str) -> bool:
        argument = {"model": "ModelName", "endpoint_config": "EndpointConfigName", "endpoint": "EndpointName"}[kind]
        return self._client.find(f"delete_{kind}", **{argument: name}) is not None

    def _names(self, operation: str, members: str, member: str, prefix: str) -> list[str]:
        names = (item[member] for page in self._client.pages(operation, NameContains=prefix) for item in page[members])
        return [name for name in names if name.startswith(prefix)]


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _training_status(job: str, reply: Mapping[str, Any]) -> TrainingStatus:
    return TrainingStatus(
        job=job,
        status=reply["TrainingJobStatus"],
        stage=reply.get("SecondaryStatus", ""),
        reason=reply.get("FailureReason", "it gave no reason"),
        model_uri=reply.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
        metrics={item["MetricName"]: item["Value"] for item in reply.get("FinalMetricDataList", ())},
        seconds=reply.get("BillableTimeInSeconds") or reply.get("TrainingTimeInSeconds", 0),
    )


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "application/x-image", "DataSource": {"S3DataSource": source}}


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

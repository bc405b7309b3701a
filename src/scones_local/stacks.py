"""CloudFormation: SageMaker's types, budgets, buckets that keep their tags and are not deleted while full, and tags."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack.services import budgets, cloudwatch, cloudwatch_logs, codebuild, s3, stepfunctions, tagging
from ministack.services.cloudformation import changesets, provisioners
from ministack.services.cloudformation import stacks as engine

from scones_local.cloud import Programs
from scones_local.lambdas import refusal
from scones_local.sagemaker.api import SageMakerService
from scones_local.wire import Json, ServiceError, call

Created = tuple[str, Json]
END_STATUSES = ("InService", "Failed")
POLL_SECONDS = 0.05
NUMBERS = (
    *("InitialInstanceCount", "InitialSamplingPercentage", "ContainerStartupHealthCheckTimeoutInSeconds"),
    *("WaitIntervalInSeconds", "TerminationWaitInSeconds", "MaximumExecutionTimeoutInSeconds"),
    *("MemorySizeInMB", "MaxConcurrency"),
)


def install(sagemaker: SageMakerService, programs: Programs) -> None:
    """Register the types, and correct ministack's own; *programs* say which functions can run."""
    handlers = provisioners._RESOURCE_HANDLERS
    for kind in ("Model", "EndpointConfig", "Endpoint"):
        handlers[f"AWS::SageMaker::{kind}"] = SageMakerType(sagemaker, kind).handler()
    handlers["AWS::Budgets::Budget"] = {"create": create_budget, "update": update_budget, "delete": delete_budget}
    changesets._resolve_props_for_diff = _patch_conditions(changesets._resolve_props_for_diff)
    # The types of SageMaker wait for servers, and call other services: neither may happen on the event loop.
    stock = engine._runs_on_worker_thread
    engine._runs_on_worker_thread = lambda kind: kind.startswith("AWS::SageMaker::") or stock(kind)
    _patch_buckets(handlers)
    function = handlers["AWS::Lambda::Function"]
    handlers["AWS::Lambda::Function"] = {
        **function,
        "create": lambda logical_id, props, stack: function["create"](logical_id, _check_code(props, programs), stack),
        "update": lambda arn, old, new, *rest: function["update"](arn, old, _check_code(new, programs), *rest),
    }
    provisioners._STACK_TAG_PROPERTY.update(dict.fromkeys(("AWS::S3::Bucket", "AWS::Events::Rule"), ("Tags", "list")))
    tagging._COLLECTORS.update(
        {"states": _machines, "logs": _log_groups, "cloudwatch": _alarms, "codebuild": _build_projects}
    )


def _patch_buckets(handlers: dict[str, Any]) -> None:
    bucket = handlers["AWS::S3::Bucket"]
    kept = KeptBuckets()
    provisioners.s3_bucket_name_conflict = kept.unless_waiting(provisioners.s3_bucket_name_conflict)
    create = kept.adopted(bucket["create"])
    handlers["AWS::S3::Bucket"] = {
        **bucket,
        "create": lambda logical_id, props, stack: _tagged(props, create(logical_id, props, stack)),
        "update": lambda name, old, new, stack: _tagged(new, bucket["update"](name, old, new, stack)),
        "delete": lambda name, props: _delete_bucket(bucket["delete"], name, props),
    }


def _patch_conditions(resolve: Callable[..., Json]) -> Callable[..., Json]:
    """Leave out resources whose condition is not met, so that a change set names only those that would be created."""

    def resolved(template: Json, parameters: Json, *rest: Any) -> Json:
        found = resolve(template, parameters, *rest)
        if not found:
            return found
        met = changesets._evaluate_conditions(template, parameters)
        kept = {name: item for name, item in found["Resources"].items() if met.get(item.get("Condition"), True)}
        return {"Resources": kept}

    return resolved


class KeptBuckets:
    """Buckets that outlived the crash of their cloud: their stacks did not, so the next stack takes them over."""

    def __init__(self) -> None:
        self._waiting = {name for _account, name in s3._buckets._data}

    def unless_waiting(self, conflict: Callable[[str], str | None]) -> Callable[[str], str | None]:
        """Let a template name such a bucket."""
        return lambda name: None if name in self._waiting else conflict(name)

    def adopted(self, create: Callable[[str, Json, str], Created]) -> Callable[[str, Json, str], Created]:
        """Create a bucket; one that waits for its stack keeps its objects."""

        def created(logical_id: str, props: Json, stack: str) -> Created:
            name = props.get("BucketName", "")
            kept = s3._buckets.pop(name, None) if name in self._waiting else None
            self._waiting.discard(name)
            made = create(logical_id, props, stack)
            if kept:
                s3._buckets[name]["objects"] = kept["objects"]
            return made

        return created


class SageMakerType:
    """One SageMaker resource type; Ref is the ARN, as on AWS."""

    def __init__(self, sagemaker: SageMakerService, kind: str) -> None:
        self._sagemaker = sagemaker
        self._kind = kind

    def handler(self) -> Json:
        """The entry for ministack's table of types."""
        return {"create": self.create, "update": self.update, "delete": self.delete, "update_with_logical_id": True}

    def create(self, logical_id: str, props: Json, stack: str) -> Created:
        """Create the resource; returns once an endpoint is in service."""
        name = props.get(f"{self._kind}Name") or provisioners._physical_name(stack, logical_id, max_len=63)
        self._call("Create", {**_typed(props), f"{self._kind}Name": name})
        return self._created(name)

    def update(self, arn: str, old: Json, new: Json, stack: str, logical_id: str) -> Created:
        """Update an endpoint in place; replace everything else, as AWS does."""
        name = arn.rsplit("/", 1)[-1]
        renamed = new.get(f"{self._kind}Name", name) != name
        if self._kind == "Endpoint" and not renamed:
            config = new["EndpointConfigName"].rsplit("/", 1)[-1]
            how = {"DeploymentConfig": _typed(new["DeploymentConfig"])} if "DeploymentConfig" in new else {}
            self._call("Update", {"EndpointName": name, "EndpointConfigName": config, **how})
            created = self._created(name)
            if self._call("Describe", {"EndpointName": name})["EndpointConfigName"] != config:
                raise ValueError(f"Endpoint {name} was not updated: {self._reason(name)}")
            return created
        if new.get(f"{self._kind}Name") and not renamed:
            raise ValueError(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing ({name})"
            )
        created = provisioners._seeded_create(self.create, logical_id, new, stack)
        provisioners._delete_predecessor(self.delete, arn, old)
        return created[0], created[1]

    def delete(self, arn: str, _props: Json) -> None:
        """Delete the resource, if it exists."""
        try:
            self._call("Delete", {f"{self._kind}Name": arn.rsplit("/", 1)[-1]})
        except ValueError as error:
            if "Could not find" not in str(error):
                raise

    def _created(self, name: str) -> Created:
        described = self._call("Describe", {f"{self._kind}Name": name})
        while self._kind == "Endpoint" and described["EndpointStatus"] not in END_STATUSES:
            time.sleep(POLL_SECONDS)
            described = self._call("Describe", {"EndpointName": name})
        if described.get("EndpointStatus") == "Failed":
            raise ValueError(f"Endpoint {name} failed: {described.get('FailureReason')}")
        arn = described[f"{self._kind}Arn"]
        return arn, {f"{self._kind}Name": name, "Arn": arn, "Id": arn}

    def _reason(self, name: str) -> str:
        return str(self._call("Describe", {"EndpointName": name}).get("FailureReason"))

    def _call(self, verb: str, query: Json) -> Json:
        names = {k: v.rsplit("/", 1)[-1] for k, v in query.items() if k == "EndpointConfigName"}
        try:
            return call(self._sagemaker.operations, f"{verb}{self._kind}", {**query, **names})
        except ServiceError as error:
            raise ValueError(error.message) from None


def _typed(props: Json) -> Json:
    """Template values as the API's types: parameters are strings, and Ref of a model is an ARN."""
    return {name: item if name == "Environment" else _value(name, item) for name, item in props.items()}


def _value(name: str, item: Any) -> Any:
    if name in ("CanarySize", "LinearStepSize"):
        return {**item, "Value": int(item["Value"])}
    if isinstance(item, dict):
        return _typed(item)
    if isinstance(item, list):
        return [_value(name, each) for each in item]
    if name in NUMBERS:
        return int(item)
    if name == "EnableCapture":
        return str(item).lower() == "true"
    return str(item).rsplit("/", 1)[-1] if name in ("ModelName", "EndpointConfigName") else item


def _tagged(props: Json, created: Created) -> Created:
    tags = {tag["Key"]: tag["Value"] for tag in props.get("Tags") or []}
    if tags:
        s3._bucket_tags[created[0]] = tags
    return created


def _check_code(props: Json, programs: Programs) -> Json:
    """*props*, if the function can run and the archive that they name exists; else raises ValueError."""
    if reason := refusal(props, programs):
        raise ValueError(f"Resource handler returned message: {reason!r} (HandlerErrorCode: InvalidRequest)")
    code = props.get("Code") or {}
    if "S3Key" in code and s3._get_object_data(code["S3Bucket"], code["S3Key"], code.get("S3ObjectVersion")) is None:
        raise ValueError(
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. "
            f"S3 Error Message: The specified key does not exist. (s3://{code['S3Bucket']}/{code['S3Key']})"
        )
    return props


def _delete_bucket(delete: Callable[[str, Json], None], name: str, props: Json) -> None:
    if (s3._buckets.get(name) or {}).get("objects") or s3._bucket_has_versions(name):
        raise ValueError("The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
    delete(name, props)


def create_budget(_logical_id: str, props: Json, _stack: str) -> tuple[str, Json]:
    """Create the budget; Ref is its name."""
    status, _, body = budgets._create_budget({**props, "NotificationsWithSubscribers": _notifications(props)})
    if status >= 300:
        raise ValueError(json.loads(body).get("message", "the budget was refused"))
    return props["Budget"]["BudgetName"], {}


def update_budget(name: str, old: Json, new: Json, stack: str) -> tuple[str, Json]:
    """Delete and create it: the local cloud costs nothing, so no spending is lost."""
    delete_budget(name, old)
    return create_budget(name, new, stack)


def delete_budget(name: str, _props: Json) -> None:
    """Delete the budget, if it exists."""
    budgets._delete_budget({"BudgetName": name})


def _notifications(props: Json) -> list[Json]:
    """Notifications with their thresholds as numbers; templates may write them as text."""
    return [
        {**entry, "Notification": {**entry["Notification"], "Threshold": float(entry["Notification"]["Threshold"])}}
        for entry in props.get("NotificationsWithSubscribers") or []
    ]


TaggedResources = Iterator[tuple[str, list[Json]]]


def _machines() -> TaggedResources:
    for arn, tags in list(stepfunctions._tags.items()):
        yield arn, [{"Key": tag["key"], "Value": tag["value"]} for tag in tags]


def _log_groups() -> TaggedResources:
    for group in list(cloudwatch_logs._log_groups.values()):
        yield group["arn"].removesuffix(":*"), [{"Key": key, "Value": value} for key, value in group["tags"].items()]


def _alarms() -> TaggedResources:
    for arn, tags in list(cloudwatch._resource_tags.items()):
        yield arn, [{"Key": key, "Value": value} for key, value in tags.items()]


def _build_projects() -> TaggedResources:
    for project in list(codebuild._projects.values()):
        yield project["arn"], [{"Key": tag["key"], "Value": tag["value"]} for tag in project.get("tags", ())]

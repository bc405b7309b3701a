"""SageMaker's two APIs on the wire: the control plane's operations, and InvokeEndpoint."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from scones_local.cloudwatch import MetricBuffer
from scones_local.quotas import ServiceQuotas
from scones_local.sagemaker.capture import CapturedExchange
from scones_local.sagemaker.containers import ContainerRunner
from scones_local.sagemaker.fleet import Answer, EndpointFleets, ServerDown, ServerFleet
from scones_local.sagemaker.hosting import EndpointHosting
from scones_local.sagemaker.registry import PackageRegistry
from scones_local.sagemaker.tables import ResourceTables
from scones_local.sagemaker.training import TrainingJobs
from scones_local.wire import Json, Reply, ServiceError, account, error_reply, respond

CONSOLE = "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group="
REST_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One InvokeEndpoint request; *received* is by the performance counter."""

    endpoint: str
    headers: dict[str, str]
    body: bytes
    received: float

    def model_headers(self) -> dict[str, str]:
        """The headers that are forwarded to the model."""
        names = ("x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
        return {
            "Content-Type": self.headers.get("content-type", "application/octet-stream"),
            "Accept": self.headers.get("accept", "*/*"),
            **{name: self.headers[name] for name in names if name in self.headers},
        }


class SageMakerService:
    """The operations of SageMaker and of its runtime."""

    def __init__(self, runner: ContainerRunner, folder: Path, metrics: MetricBuffer, quotas: ServiceQuotas) -> None:
        self.tables = ResourceTables()
        self._training = TrainingJobs(self.tables, runner, folder / "training", quotas, metrics)
        self._hosting = EndpointHosting(self.tables, runner, folder / "endpoints", quotas)
        self._registry = PackageRegistry(self.tables, runner.store)
        self._metrics = metrics
        # Requests wait for the model here, and never on the gateway's event loop.
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="sagemaker")
        self.operations = self._operations()

    async def handle(self, _method: str, path: str, headers: dict[str, str], body: bytes, _query: Json) -> Reply:
        """Answer one request from ministack's router."""
        loop = asyncio.get_running_loop()
        if path.startswith("/endpoints/"):
            request = EndpointRequest(unquote(path.split("/")[2]), headers, body, time.perf_counter())
            return await loop.run_in_executor(self._threads, self._invoke, request)
        return await loop.run_in_executor(self._threads, respond, self.operations, headers, body)

    def _operations(self) -> dict[str, Callable[[Json], Json]]:
        hosting, training, tables, registry = self._hosting, self._training, self.tables, self._registry
        return {
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": training.describe,
            "ListTrainingJobs": training.summaries,
            "StopTrainingJob": training.stop,
            "CreateModel": hosting.create_model,
            "DescribeModel": lambda q: dict(tables.models.find(q["ModelName"])),
            "ListModels": lambda q: hosting.summaries(tables.models, q),
            "DeleteModel": lambda q: hosting.delete(tables.models, q),
            "CreateEndpointConfig": hosting.create_config,
            "DescribeEndpointConfig": lambda q: dict(tables.configs.find(q["EndpointConfigName"])),
            "ListEndpointConfigs": lambda q: hosting.summaries(tables.configs, q),
            "DeleteEndpointConfig": lambda q: hosting.delete(tables.configs, q),
            "CreateEndpoint": hosting.create_endpoint,
            "UpdateEndpoint": hosting.update_endpoint,
            "DescribeEndpoint": hosting.describe_endpoint,
            "ListEndpoints": lambda q: hosting.summaries(tables.endpoints, q),
            "DeleteEndpoint": hosting.delete_endpoint,
            "CreateModelPackageGroup": registry.create_group,
            "DescribeModelPackageGroup": registry.describe_group,
            "ListModelPackageGroups": registry.groups,
            "DeleteModelPackageGroup": registry.delete_group,
            "CreateModelPackage": registry.create,
            "DescribeModelPackage": registry.describe,
            "UpdateModelPackage": registry.update,
            "ListModelPackages": registry.packages,
            "DeleteModelPackage": registry.delete,
            "AddTags": self._add_tags,
            "ListTags": lambda q: {"Tags": self._tags(tables.known_arn(q["ResourceArn"]))},
            "DeleteTags": self._delete_tags,
        }

    def invoke(self, endpoint: str, body: bytes, headers: dict[str, str]) -> Reply:
        """InvokeEndpoint from inside the gateway; *headers* by their lower-case names."""
        return self._invoke(EndpointRequest(endpoint, headers, body, time.perf_counter()))

    def _tags(self, arn: str) -> list[Json]:
        return [{"Key": key, "Value": value} for key, value in self.tables.tags.get(arn, {}).items()]

    def _add_tags(self, query: Json) -> Json:
        arn = self.tables.known_arn(query["ResourceArn"])
        self.tables.add_tags(arn, query["Tags"])
        return {"Tags": self._tags(arn)}

    def _delete_tags(self, query: Json) -> Json:
        for key in query["TagKeys"]:
            self.tables.tags.get(self.tables.known_arn(query["ResourceArn"]), {}).pop(key, None)
        return {}

    def _invoke(self, request: EndpointRequest) -> Reply:
        try:
            fleet, (status, headers, answer) = self._forward(request, self._fleets(request))
            if status >= 300:
                raise _model_error(request.endpoint, status, answer)
        except ServiceError as error:
            return error_reply(error, REST_JSON)
        kind = headers.get("content-type", "application/octet-stream")
        exchange = CapturedExchange(
            request.body,
            request.headers.get("content-type", ""),
            answer,
            kind,
            request.headers.get("x-amzn-sagemaker-inference-id"),
            request.headers.get("x-amzn-sagemaker-custom-attributes"),
        )
        variant = fleet.variant["VariantName"]
        self._hosting.capture.add(fleet.capture, request.endpoint, variant, exchange)
        echoed = headers.get("x-amzn-sagemaker-custom-attributes")
        extra = {"x-amzn-sagemaker-custom-attributes": echoed} if echoed else {}
        return 200, {"content-type": kind, "x-amzn-invoked-production-variant": variant, **extra}, answer

    def _fleets(self, request: EndpointRequest) -> EndpointFleets:
        """The fleets of the endpoint, if they may serve this request."""
        fleets = self._hosting.deployments.get(request.endpoint)
        if fleets is None:
            raise ServiceError("ValidationError", f"Endpoint {request.endpoint} of account {account()} not found.")
        variant = fleets.blue.variant["VariantName"]
        target = request.headers.get("x-amzn-sagemaker-target-variant", variant)
        if target != variant:
            raise ServiceError("ValidationError", f"Variant {target} not found for endpoint {request.endpoint}.")
        fleets.blue.check_request(request.body)
        return fleets

    def _forward(self, request: EndpointRequest, fleets: EndpointFleets) -> tuple[ServerFleet, Answer]:
        """Send the request to a model server, and count it however it ends."""
        status, sent = 503, time.perf_counter()
        try:
            fleet, answer = fleets.request(request.body, request.model_headers())
            status = answer[0]
        except ServerDown as error:
            logging.getLogger(__name__).warning("server down: %s", error)
            raise ServiceError("ServiceUnavailable", f"The model server did not answer: {error}", status=503) from None
        finally:
            took, waited = time.perf_counter() - sent, sent - request.received
            variant = fleets.blue.variant["VariantName"]
            dimensions = {"EndpointName": request.endpoint, "VariantName": variant}
            self._metrics.add("AWS/SageMaker", dimensions, _measures(status, took, waited))
        return fleet, answer


def _measures(status: int, model_seconds: float, waited_seconds: float) -> dict[str, float]:
    """The metrics of one invocation under SageMaker's names; latencies in microseconds."""
    return {
        "Invocations": 1.0,
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500),
        "ModelLatency": model_seconds * 1e6,
        "OverheadLatency": waited_seconds * 1e6,
    }


def _model_error(name: str, status: int, answer: bytes) -> ServiceError:
    side = "client" if status < 500 else "server"
    text = answer.decode(errors="replace")
    group = f"/aws/sagemaker/Endpoints/{name}"
    return ServiceError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{text}". See {CONSOLE}{group} '
        f"in account {account()} for more information.",
        status=424,
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:aws:logs:us-east-1:{account()}:log-group:{group}",
    )

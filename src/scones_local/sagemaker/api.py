"""SageMaker's two APIs on the wire: the control plane's operations, and InvokeEndpoint."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from scones_local.metrics import Metrics
from scones_local.sagemaker.capture import Capture, Exchange
from scones_local.sagemaker.fleet import Deployment, Fleet
from scones_local.sagemaker.hosting import Hosting
from scones_local.sagemaker.programs import Runner
from scones_local.sagemaker.records import Records
from scones_local.sagemaker.registry import Registry
from scones_local.sagemaker.server import Answer, ServerDown
from scones_local.sagemaker.serverless import check_request
from scones_local.sagemaker.training import Training
from scones_local.wire import AwsError, Json, Reply, error_reply, json_reply

LARGEST_BODY_BYTES = 6_291_456
CONSOLE = "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group="
REST_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Invocation:
    """One InvokeEndpoint request."""

    endpoint: str
    headers: dict[str, str]
    body: bytes
    received: float

    def passed_on(self) -> dict[str, str]:
        """The headers that reach the model."""
        names = ("x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
        return {
            "Content-Type": self.headers.get("content-type", "application/octet-stream"),
            "Accept": self.headers.get("accept", "*/*"),
            **{name: self.headers[name] for name in names if name in self.headers},
        }


class SageMaker:
    """Everything that answers under the name of SageMaker."""

    def __init__(self, runner: Runner, folder: Path, metrics: Metrics) -> None:
        self.records = Records()
        self.training = Training(self.records, runner, folder / "training")
        self.hosting = Hosting(self.records, runner, folder / "endpoints", Capture(runner.store))
        self.registry = Registry(self.records, runner.store)
        self._metrics = metrics
        # Requests wait for the model here, and never on the gateway's event loop.
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="sagemaker")
        self.operations: dict[str, Callable[[Json], Json]] = self._operations()

    async def handle(self, _method: str, path: str, headers: dict[str, str], body: bytes, _query: Json) -> Reply:
        """Answer one request, as ministack's router passes it on."""
        loop = asyncio.get_running_loop()
        if path.startswith("/endpoints/"):
            invocation = Invocation(unquote(path.split("/")[2]), headers, body, time.perf_counter())
            return await loop.run_in_executor(self._threads, self._invoke, invocation)
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        return await loop.run_in_executor(self._threads, self._control, operation, body)

    def call(self, operation: str, query: Json) -> Json:
        """Run one control plane operation.

        Raises:
            AwsError: it is refused, unknown, or lacks a member.
        """
        if operation not in self.operations:
            raise AwsError("UnknownOperationException", f"{operation} is not part of the local cloud's SageMaker")
        try:
            return self.operations[operation](query)
        except KeyError as error:
            raise AwsError("ValidationException", f"{operation}: the member {error} is missing") from None

    def _control(self, operation: str, body: bytes) -> Reply:
        try:
            return json_reply(self.call(operation, json.loads(body or b"{}")))
        except AwsError as error:
            return error_reply(error)

    def _operations(self) -> dict[str, Callable[[Json], Json]]:
        hosting, training, tables, registry = self.hosting, self.training, self.records, self.registry
        return {
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": training.describe,
            "ListTrainingJobs": training.summaries,
            "StopTrainingJob": training.stop,
            "CreateModel": hosting.create_model,
            "DescribeModel": lambda q: dict(tables.models.find(q["ModelName"])),
            "ListModels": lambda q: hosting.summaries("Model", q),
            "DeleteModel": lambda q: hosting.delete("Model", q),
            "CreateEndpointConfig": hosting.create_config,
            "DescribeEndpointConfig": lambda q: dict(tables.configs.find(q["EndpointConfigName"])),
            "ListEndpointConfigs": lambda q: hosting.summaries("EndpointConfig", q),
            "DeleteEndpointConfig": lambda q: hosting.delete("EndpointConfig", q),
            "CreateEndpoint": hosting.create_endpoint,
            "UpdateEndpoint": hosting.update_endpoint,
            "DescribeEndpoint": hosting.describe_endpoint,
            "ListEndpoints": lambda q: hosting.summaries("Endpoint", q),
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

    def _tags(self, arn: str) -> list[Json]:
        return [{"Key": key, "Value": value} for key, value in self.records.tags.get(arn, {}).items()]

    def _add_tags(self, query: Json) -> Json:
        arn = self.records.known_arn(query["ResourceArn"])
        self.records.remember_tags(arn, query["Tags"])
        return {"Tags": self._tags(arn)}

    def _delete_tags(self, query: Json) -> Json:
        for key in query["TagKeys"]:
            self.records.tags.get(self.records.known_arn(query["ResourceArn"]), {}).pop(key, None)
        return {}

    def _invoke(self, asked: Invocation) -> Reply:
        try:
            fleet, (status, found, answer) = self._forward(asked, self._serving(asked))
            if status >= 300:
                raise _model_error(asked.endpoint, status, answer)
        except AwsError as error:
            return error_reply(error, REST_JSON)
        kind = found.get("content-type", "application/octet-stream")
        exchange = Exchange(
            asked.body,
            asked.headers.get("content-type", ""),
            answer,
            kind,
            asked.headers.get("x-amzn-sagemaker-inference-id"),
            asked.headers.get("x-amzn-sagemaker-custom-attributes"),
        )
        variant = fleet.variant["VariantName"]
        self.hosting.capture.note(fleet.capture, asked.endpoint, variant, exchange)
        echoed = found.get("x-amzn-sagemaker-custom-attributes")
        extra = {"x-amzn-sagemaker-custom-attributes": echoed} if echoed else {}
        return 200, {"content-type": kind, "x-amzn-invoked-production-variant": variant, **extra}, answer

    def _serving(self, asked: Invocation) -> Deployment:
        deployment = self.hosting.deployments.get(asked.endpoint)
        if deployment is None:
            raise AwsError("ValidationError", f"Endpoint {asked.endpoint} of account 000000000000 not found.")
        variant = deployment.blue.variant["VariantName"]
        wanted = asked.headers.get("x-amzn-sagemaker-target-variant", variant)
        if wanted != variant:
            raise AwsError("ValidationError", f"Variant {wanted} not found for endpoint {asked.endpoint}.")
        if len(asked.body) > LARGEST_BODY_BYTES:
            raise AwsError("413", f"HTTP content length exceeded {LARGEST_BODY_BYTES} bytes.", status=413)
        check_request(deployment.blue, asked.body)
        return deployment

    def _forward(self, asked: Invocation, deployment: Deployment) -> tuple[Fleet, Answer]:
        """Ask the model, and count the invocation whichever way it ends."""
        status, sent = 503, time.perf_counter()
        try:
            fleet, answer = deployment.request(asked.body, asked.passed_on())
            status = answer[0]
        except ServerDown as error:
            logging.getLogger(__name__).warning("server down: %s", error)
            raise AwsError("ServiceUnavailable", f"The model server did not answer: {error}", status=503) from None
        finally:
            took, waited = time.perf_counter() - sent, sent - asked.received
            variant = deployment.blue.variant["VariantName"]
            dimensions = {"EndpointName": asked.endpoint, "VariantName": variant}
            self._metrics.note("AWS/SageMaker", dimensions, _measures(status, took, waited))
        return fleet, answer


def _measures(status: int, model_seconds: float, waited_seconds: float) -> dict[str, float]:
    """One invocation, under the names of SageMaker's metrics; latencies in microseconds."""
    return {
        "Invocations": 1.0,
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500),
        "ModelLatency": model_seconds * 1e6,
        "OverheadLatency": waited_seconds * 1e6,
    }


def _model_error(name: str, status: int, answer: bytes) -> AwsError:
    side = "client" if status < 500 else "server"
    text = answer.decode(errors="replace")
    group = f"/aws/sagemaker/Endpoints/{name}"
    return AwsError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{text}". See {CONSOLE}{group} '
        "in account 000000000000 for more information.",
        status=424,
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{group}",
    )

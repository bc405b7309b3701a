"""Tasks: what a state of type Task calls, by AWS's service integrations, and the events that it leaves in the history.

Sources, below https://docs.aws.amazon.com/step-functions/latest/: dg/connect-lambda.html, dg/connect-sagemaker.html,
dg/connect-to-resource.html, dg/supported-services-awssdk.html and apireference/API_HistoryEvent.html
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc
from ministack.services import stepfunctions as sfn

from scones_local.wire import Json, Operations, Reply, ServiceError, call

OPTIMIZED = "arn:aws:states:::"
LAMBDA_INVOKE = f"{OPTIMIZED}lambda:invoke"
INVOKE_ENDPOINT = f"{OPTIMIZED}aws-sdk:sagemakerruntime:invokeEndpoint"
TRAINING_JOB = f"{OPTIMIZED}sagemaker:createTrainingJob"
CALLBACK = ".waitForTaskToken"
THROTTLES = ("Lambda.Unknown", "TooManyRequestsException")
"""The names that ministack and our workers use."""
POLL_SECONDS = 0.05
ENDED = ("Completed", "Failed", "Stopped")

InvokeEndpoint = Callable[[str, bytes, dict[str, str]], Reply]
_task: ContextVar[tuple[Json, str] | None] = ContextVar("task", default=None)
"""The execution and the resource of the task that is about to be called in this thread."""
_previous: ContextVar[tuple[str, int]] = ContextVar("previous", default=("", 0))
"""The execution and the number of the event before the next one, in this branch of the state machine."""
_events = threading.Lock()


def install(sagemaker: Operations, invoke_endpoint: InvokeEndpoint) -> None:
    """Replace ministack's calls of functions and of SageMaker, its task tokens, and its events."""
    caller = TaskCaller(sagemaker, invoke_endpoint, sfn._invoke_resource)
    sfn._call_lambda = lambda function, event: call_function(function, event)["body"]
    sfn._invoke_resource = caller.call
    sfn._invoke_with_callback = caller.call_back
    sfn._add_event = add_event
    sfn._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    sfn._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"


def call_function(reference: str, event: object) -> Json:
    """Run a Lambda function; the result has `body`, which is what the handler returned, `version` and `request_id`.

    Raises:
        sfn._ExecutionError: it failed; a throttled function is named as AWS does, so that a Retry by name matches.
    """
    function, config, name = lambda_svc._get_func_record_for_ref(reference)
    if not function or not config:
        raise sfn._ExecutionError("Lambda.ResourceNotFoundException", f"Function not found: {name}")
    record = lambda_svc._execution_record_for_config(function, config)
    result: Json = lambda_svc._execute_function_with_config_scope(record, event)
    if result.get("error"):
        body = result.get("body")
        kind = body.get("errorType", "Lambda.Unknown") if isinstance(body, dict) else "Lambda.Unknown"
        cause = json.dumps(body) if isinstance(body, dict) else str(body)
        throttled = "TooManyRequestsException" in cause and kind.endswith(THROTTLES)
        raise sfn._ExecutionError("Lambda.TooManyRequestsException" if throttled else kind, cause)
    return {**result, "version": config.get("Version") or "$LATEST"}


class TaskCaller:
    """Calls the resource of a task: functions and SageMaker here, all others by ministack."""

    def __init__(
        self, sagemaker: Operations, invoke_endpoint: InvokeEndpoint, other: Callable[[str, Json], Any]
    ) -> None:
        self._sagemaker = sagemaker
        self._invoke_endpoint = invoke_endpoint
        self._other = other

    def call(self, resource: str, parameters: Any) -> Any:
        """Call *resource*; returns the task's result."""
        _record_start(resource, parameters)
        name = resource.removesuffix(CALLBACK)
        if name == LAMBDA_INVOKE:
            return _invoke_function(parameters)
        if name == INVOKE_ENDPOINT:
            return self._ask_endpoint(parameters)
        if name.startswith(f"{OPTIMIZED}sagemaker:"):
            return self._call_sagemaker(name.removesuffix(".sync"), parameters, waits=name.endswith(".sync"))
        result = self._other(name, parameters)
        if name.startswith(OPTIMIZED) and "aws-sdk:" not in name and isinstance(result, dict):
            result = {**_metadata(str(uuid.uuid4())), **result}
        return result

    def call_back(self, resource: str, parameters: Any, token: str, state: Json) -> Any:
        """Call *resource*, and wait until its token comes back.

        Raises:
            sfn._ExecutionError: the call or the task failed, its time is over, or it sent no heartbeat.
        """
        sent = threading.Event()
        info: Json = {"event": sent, "result": None, "error": None, "heartbeat": None}
        sfn._task_tokens[token] = info
        current = _task.get()
        try:
            output = self.call(resource, parameters)
            if current:
                add_event(current[0], "TaskSubmitted", {"output": json.dumps(output), "resource": resource})
            _await_token(info, state, current[0] if current else {"status": "RUNNING"})
        finally:
            sfn._task_tokens.pop(token, None)
        if info["error"]:
            raise sfn._ExecutionError(info["error"].get("Error", "States.TaskFailed"), info["error"].get("Cause", ""))
        return json.loads(info["result"]) if isinstance(info["result"], str) else info["result"]

    def _ask_endpoint(self, parameters: Json) -> Json:
        headers = {
            "content-type": parameters.get("ContentType", "application/octet-stream"),
            "accept": parameters.get("Accept", "*/*"),
        }
        for member in ("CustomAttributes", "InferenceId", "TargetVariant"):
            if member in parameters:
                words = "".join(f"-{c.lower()}" if c.isupper() else c for c in member)
                headers[f"x-amzn-sagemaker{words}"] = parameters[member]
        body = parameters.get("Body", "")
        sent = body if isinstance(body, str) else json.dumps(body)
        status, found, answer = self._invoke_endpoint(parameters["EndpointName"], sent.encode(), headers)
        if status >= 300:
            kind = found.get("x-amzn-ErrorType", "SageMakerRuntime").removesuffix("Exception")
            raise sfn._ExecutionError(f"SageMakerRuntime.{kind}Exception", json.loads(answer)["message"])
        result = {"Body": answer.decode(errors="replace"), "ContentType": found.get("content-type")}
        return {**result, "InvokedProductionVariant": found.get("x-amzn-invoked-production-variant")}

    def _call_sagemaker(self, name: str, parameters: Json, *, waits: bool) -> Json:
        action = name.rpartition(":")[2]
        result = self._operate(f"{action[0].upper()}{action[1:]}", parameters)
        if not waits:
            return {**_metadata(str(uuid.uuid4())), **result}
        described = self._ended_job(parameters["TrainingJobName"])
        if described["TrainingJobStatus"] != "Completed":
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(described))
        return described

    def _ended_job(self, name: str) -> Json:
        """The description of a training job that has ended; an execution that is stopped stops its job."""
        job, current = {"TrainingJobName": name}, _task.get()
        while (found := self._operate("DescribeTrainingJob", job))["TrainingJobStatus"] not in ENDED:
            stopped = current is not None and current[0]["status"] != "RUNNING"
            if stopped and found["TrainingJobStatus"] == "InProgress":
                self._operate("StopTrainingJob", job)
            time.sleep(POLL_SECONDS)
        described: Json = _in_milliseconds(found)
        return described

    def _operate(self, operation: str, parameters: Json) -> Json:
        try:
            return call(self._sagemaker, operation, parameters)
        except ServiceError as error:
            known = error.code if error.code != "ValidationException" else "AmazonSageMakerException"
            name = known if known.endswith("Exception") else f"{known}Exception"
            cause = f"{error.message} (Service: AmazonSageMaker; Status Code: {error.status}; Error Code: {error.code})"
            raise sfn._ExecutionError(f"SageMaker.{name}", cause) from None


def _invoke_function(parameters: Json) -> Json:
    """Run `lambda:invoke`; a Payload that is a string is sent as it is, so that JSON in it arrives as JSON."""
    payload = parameters.get("Payload", {})
    if isinstance(payload, str):
        with suppress(ValueError):
            payload = json.loads(payload)
    reference = sfn._resolve_lambda_function_ref(parameters.get("FunctionName", ""), optimized=True)
    if qualifier := parameters.get("Qualifier"):
        reference = f"{reference}:{qualifier}"
    if parameters.get("InvocationType") == "Event":
        function, config, _name = lambda_svc._get_func_record_for_ref(reference)
        if function and config:
            lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), payload)
            return {**_metadata(str(uuid.uuid4()), 202), "Payload": "", "StatusCode": 202}
    result = call_function(reference, payload)
    headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": result["version"]}
    metadata = _metadata(result.get("request_id", ""), 200, headers)
    return {"ExecutedVersion": result["version"], "Payload": result["body"], **metadata, "StatusCode": 200}


def _metadata(request_id: str, status: int = 200, headers: dict[str, str] | None = None) -> Json:
    """What an optimized integration adds to the reply of the service."""
    one = {**(headers or {}), "x-amzn-RequestId": request_id}
    every = {name: [value] for name, value in one.items()}
    http = {"AllHttpHeaders": every, "HttpHeaders": one, "HttpStatusCode": status}
    return {"SdkHttpMetadata": http, "SdkResponseMetadata": {"RequestId": request_id}}


def _await_token(info: Json, state: Json, execution: Json) -> None:
    """Return once the token of a task was sent back, or its execution ended."""
    now = time.monotonic()
    deadline = now + float(state.get("TimeoutSeconds", 99_999_999))
    heartbeat = float(state.get("HeartbeatSeconds", 99_999_999))
    alive, seen = now, info["heartbeat"]
    while not info["event"].wait(min(POLL_SECONDS * 4, max(deadline - now, 0.001))):
        now = time.monotonic()
        if info["heartbeat"] != seen:
            alive, seen = now, info["heartbeat"]
        if execution["status"] != "RUNNING":
            raise sfn._ExecutionError("States.TaskFailed", "the execution has ended")
        if now >= deadline:
            raise sfn._ExecutionError("States.Timeout", "")
        if now >= alive + heartbeat:
            raise sfn._ExecutionError("States.HeartbeatTimeout", "")


def _in_milliseconds(value: Any, name: str = "") -> Any:
    """A reply with its times as the optimized integrations give them."""
    if isinstance(value, dict):
        return {key: _in_milliseconds(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_milliseconds(item) for item in value]
    is_time = isinstance(value, float) and name.endswith(("Time", "Timestamp"))
    return int(value * 1000) if is_time else value


def add_event(execution: Json, kind: str, details: Json | None = None) -> Json:
    """Add an event to the history of *execution*, with the number of the one before it.

    A task's TaskScheduled is left to `TaskCaller`, which knows its parameters. No request reads the events of an
    Express workflow.
    """
    if kind == "TaskScheduled" and details is not None and "taskScheduledEventDetails" in details:
        _task.set((execution, details["taskScheduledEventDetails"]["resource"]))
        return {}
    if execution.get("sync") and not kind.startswith("Execution"):
        return {}
    arn, previous = _previous.get()
    with _events:
        events = execution["events"]
        number = len(events) + 1
        before = previous if arn == execution["executionArn"] else number - 1
        event = {"id": number, "previousEventId": before, "type": kind, "timestamp": sfn.now_iso()}
        events.append(event | _event_details(kind, details))
    _previous.set((execution["executionArn"], number))
    return event


def _event_details(kind: str, details: Json | None) -> Json:
    """The details of an event under AWS's names; a function called by its ARN has events of its own kind."""
    if not kind.startswith("Task") or details is None:
        return details or {}
    member = f"{kind[0].lower()}{kind[1:]}EventDetails"
    found = dict(details.get(member, details))
    resource = found.get("resource", "")
    if ":function:" in resource:
        name = kind.replace("Task", "LambdaFunction")
        found.pop("resource")
        return {"type": name, f"{name[0].lower()}{name[1:]}EventDetails": found} if found else {"type": name}
    found["resourceType"], _, found["resource"] = resource.removeprefix(OPTIMIZED).rpartition(":")
    return {member: found}


def _record_start(resource: str, parameters: Any) -> None:
    """Add the events of a task that is scheduled and started."""
    current = _task.get()
    if current is None or current[0].get("sync"):
        return
    execution, named = current
    text = json.dumps(parameters)
    if ":function:" in resource:
        scheduled = {"resource": resource, "input": text}
        add_event(execution, "LambdaFunctionScheduled", {"lambdaFunctionScheduledEventDetails": scheduled})
        add_event(execution, "LambdaFunctionStarted")
        return
    region = execution["executionArn"].split(":")[3]
    add_event(execution, "TaskScheduled", {"resource": named, "parameters": text, "region": region})
    add_event(execution, "TaskStarted", {"resource": named})

"""Step Functions: checked definitions, and retries, time limits and synchronous replies as on AWS."""

import contextvars
import json
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import SimpleNamespace
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners

from scones_local.guard import check, refusal
from scones_local.lambdas import CALLER_GONE, WAITING_UNTIL
from scones_local.tasks import LAMBDA_INVOKE
from scones_local.wire import Json, Reply

FIXED_WAIT_SECONDS = 0.15
BILLED_MEMORY_MB = 64
MAX_TIMED = 512
"""How many executions with a time limit run at the same time, and how many tasks; more of them wait."""
SNS_PUBLISH = "arn:aws:states:::sns:publish"


def install() -> None:
    """Replace the parts of ministack's interpreter that differ from AWS."""
    sfn.time = SimpleNamespace(**{**vars(time), "sleep": _sleep})
    sfn._validate_definition_jsonata = _patch_validation(sfn._validate_definition_jsonata)
    sfn._validate_state_machine_definition = validate_definition
    for change in ("_create_state_machine", "_update_state_machine"):
        setattr(sfn, change, _patch_express(getattr(sfn, change)))
    provisioners._sfn_definition = _patch_template(provisioners._sfn_definition)
    sfn._find_matching_retrier = _patch_retries(sfn._find_matching_retrier)
    sfn._run_execution = _patch_execution(sfn._run_execution)
    sfn._invoke_resource_with_timeout = _patch_task(sfn._invoke_resource)
    sfn._fail_execution = _patch_failure(sfn._fail_execution)
    sfn._start_execution = _patch_start(sfn._start_execution)
    sfn._start_sync_execution = _patch_start(_patch_sync(sfn._start_sync_execution))
    sfn._fail_state_error = _patch_fail_state(sfn._fail_state_field)
    sfn._describe_execution = _patch_description(sfn._describe_execution)
    sfn._get_execution_history = _patch_history(sfn._get_execution_history)
    sfn._run_parallel_branches = _patch_parallel(sfn._run_parallel_branches)
    sfn._run_sub_machine = _patch_branch(sfn._run_sub_machine)
    sfn._apply_output_path = _patch_output(sfn._apply_output_path)
    sfn._SERVICE_DISPATCH[SNS_PUBLISH] = _patch_attributes(sfn._SERVICE_DISPATCH[SNS_PUBLISH])


def _sleep(seconds: float) -> None:
    """Sleep, except for the fixed pause with which every execution begins."""
    if seconds != FIXED_WAIT_SECONDS:
        time.sleep(seconds)


def _patch_validation(stock: Callable[[str], str | None]) -> Callable[[str], str | None]:
    return lambda definition: refusal(definition) or stock(definition)


def _patch_express(change: Callable[[Json], Reply]) -> Callable[[Json], Reply]:
    """Refuse what an Express workflow cannot do."""

    def changed(query: Json) -> Reply:
        known = sfn._state_machines.get(query.get("stateMachineArn", "")) or {}
        express = (query.get("type") or known.get("type")) == "EXPRESS"
        if express and "definition" in query and (message := refusal(query["definition"], express=True)):
            refused: Reply = error_response_json("InvalidDefinition", message, 400)
            return refused
        return change(query)

    return changed


def validate_definition(query: Json) -> tuple[int, Json, bytes]:
    """ValidateStateMachineDefinition: the guard's problems in AWS's form."""
    found = [
        {"severity": "ERROR", "code": problem.code, "message": problem.text, "location": problem.where or "/"}
        for problem in check(query["definition"], express=query.get("type") == "EXPRESS")
    ]
    reply: tuple[int, Json, bytes] = json_response({"result": "FAIL" if found else "OK", "diagnostics": found})
    return reply


def _patch_template(resolve: Callable[[Json], str]) -> Callable[[Json], str]:
    def resolved(props: Json) -> str:
        definition = resolve(props)
        if message := refusal(definition, express=props.get("StateMachineType") == "EXPRESS"):
            raise ValueError(f"Resource handler returned message: {message!r} (HandlerErrorCode: InvalidRequest)")
        return definition

    return resolved


def _patch_retries(find: Callable[..., tuple[Json | None, int]]) -> Callable[..., tuple[Json | None, int]]:
    """Compute the pause before a retry here: ministack's knows neither MaxDelaySeconds nor JitterStrategy."""

    def found(retriers: list[Json], error: str, counts: dict[int, int]) -> tuple[Json | None, int]:
        retrier, index = find(retriers, error, counts)
        if retrier is None:
            return None, index
        pause = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
        pause = min(pause, retrier.get("MaxDelaySeconds", pause))
        if retrier.get("JitterStrategy") == "FULL":
            pause *= random.random()  # noqa: S311 - a pause, not a secret
        return {**retrier, "IntervalSeconds": pause, "BackoffRate": 1.0}, index

    return found


def _patch_execution(run: Callable[[str], None]) -> Callable[[str], None]:
    """End an execution at its TimeoutSeconds; the task that it waits for is not ended."""
    # Threads are kept: starting one for each execution and each task would cost more than the rest of it.
    pool = ThreadPoolExecutor(MAX_TIMED, "execution")

    def limited(arn: str) -> None:
        execution = sfn._executions[arn]
        machine = sfn._state_machines.get(execution["stateMachineArn"]) or {}
        seconds = _limit(machine)
        if seconds is None:
            run(arn)
            return
        try:
            pool.submit(contextvars.copy_context().run, run, arn).result(seconds)
        except FutureTimeoutError:
            execution |= {"status": "TIMED_OUT", "error": "States.Timeout", "stopDate": sfn.now_iso()}
            sfn._add_event(
                execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
            )

    return limited


def _patch_task(invoke: Callable[[str, Json], Json]) -> Callable[[str, Json, float], Json]:
    """End a task at its TimeoutSeconds; its request goes on: a function by itself, all others in a kept thread."""
    pool = ThreadPoolExecutor(MAX_TIMED, "task")

    def timed_out(seconds: float) -> Exception:
        failure: Exception = sfn._ExecutionError(CALLER_GONE, f"Task timed out after {seconds} seconds")
        return failure

    def invoke_function(task_input: Json, seconds: float) -> Json:
        waiting = WAITING_UNTIL.set(time.time() + seconds)
        try:
            return invoke(LAMBDA_INVOKE, task_input)
        except sfn._ExecutionError as error:
            raise timed_out(seconds) if error.error == CALLER_GONE else error from None
        finally:
            WAITING_UNTIL.reset(waiting)

    def invoked(resource: str, task_input: Json, seconds: float) -> Json:
        if resource == LAMBDA_INVOKE:
            return invoke_function(task_input, seconds)
        future = pool.submit(contextvars.copy_context().run, invoke, resource, task_input)
        try:
            return future.result(seconds)
        except FutureTimeoutError:
            raise timed_out(seconds) from None

    return invoked


def _limit(machine: Json) -> float | None:
    try:
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds")
    except (KeyError, ValueError):
        return None
    return None if seconds is None else float(seconds)


def _patch_failure(fail: Callable[[Json, str, str], None]) -> Callable[[Json, str, str], None]:
    def failed(execution: Json, error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)
            details = execution["events"][-1].get("executionFailedEventDetails", {})
            for found in (details, execution):
                for name in ("error", "cause"):
                    if not found.get(name):
                        found.pop(name, None)
            execution["output"] = None

    return failed


def _patch_fail_state(field: Callable[..., str]) -> Callable[..., tuple[str, str]]:
    """A Fail state without Error has none, as on AWS."""
    return lambda state, given, ctx=None: (
        field(state, "Error", "", given, ctx),
        field(state, "Cause", "", given, ctx),
    )


def _patch_description(describe: Callable[[Json], Reply]) -> Callable[[Json], Reply]:
    """DescribeExecution: an execution without output has no `output`."""

    def described(query: Json) -> Reply:
        status, headers, body = describe(query)
        reply = {name: value for name, value in json.loads(body).items() if value is not None}
        if "output" not in reply:
            reply.pop("outputDetails", None)
        return status, headers, json.dumps(reply).encode()

    return described


def _patch_history(read: Callable[[Json], Reply]) -> Callable[[Json], Reply]:
    """GetExecutionHistory: also the first event names the one before it, number 0."""

    def found(query: Json) -> Reply:
        status, headers, body = read(query)
        reply = json.loads(body)
        events = [{"previousEventId": 0, **event} for event in reply.get("events", ())]
        return status, headers, json.dumps({**reply, "events": events} if status < 300 else reply).encode()

    return found


def _patch_parallel(run: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
    """Apply Arguments, Output and Assign of a Parallel state in JSONata, which ministack ignores."""

    def ran(state: Json, given: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        if sfn._state_query_language(state, ctx) != "JSONata":
            return run(state, given, execution, ctx)
        bare = {name: value for name, value in state.items() if name in ("Branches", "Next", "End")}
        results, following = run(bare, sfn._apply_jsonata_arguments(state, given, ctx), execution, ctx)
        output = sfn._apply_jsonata_output(state, given, ctx, result=results, default=results)
        sfn._apply_state_assign(state, given, ctx, result=results)
        return output, following

    return ran


def _patch_branch(run: Callable[..., Any]) -> Callable[..., Any]:
    """Give each branch a context of its own: its state, its task token and its variables are not the others'."""

    def ran(states: Json, start: str, given: Any, execution: Json, ctx: Json) -> Any:
        return run(states, start, given, execution, {**ctx, "variables": dict(ctx.get("variables") or {})})

    return ran


def _patch_output(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Apply Output of a Succeed state in JSONata, which ministack ignores."""

    def applied(state: Json, data: Any, ctx: Json | None = None) -> Any:
        if "Output" in state and sfn._state_query_language(state, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state, data, ctx)
        return apply(state, data, ctx)

    return applied


def _patch_attributes(publish: Callable[[str, Json], Json]) -> Callable[[str, Json], Json]:
    """Pass MessageAttributes on: ministack reads them only in the form of SNS's query protocol."""

    def published(resource: str, query: Json) -> Json:
        flat = dict(query)
        for number, (name, value) in enumerate((flat.pop("MessageAttributes", None) or {}).items(), start=1):
            entry = f"MessageAttributes.entry.{number}"
            flat |= {f"{entry}.Name": name, **{f"{entry}.Value.{member}": str(item) for member, item in value.items()}}
        return publish(resource, flat)

    return published


def _patch_start(start: Callable[[Json], tuple[int, Json, bytes]]) -> Callable[[Json], tuple[int, Json, bytes]]:
    """Refuse an input that is not JSON: ministack would run the machine on `{}`."""

    def started(query: Json) -> tuple[int, Json, bytes]:
        try:
            json.loads(query.get("input", "{}"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            message = f"Invalid State Machine Execution Input: '{error}'"
            refused: tuple[int, Json, bytes] = error_response_json("InvalidExecutionInput", message, 400)
            return refused
        return start(query)

    return started


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def _patch_sync(start: Callable[[Json], tuple[int, Json, bytes]]) -> Callable[[Json], tuple[int, Json, bytes]]:
    """StartSyncExecution: Express only, billing details, no output after a failure, and no record afterwards."""

    def started(query: Json) -> tuple[int, Json, bytes]:
        arn = query.get("stateMachineArn", "")
        machine = sfn._state_machines.get(arn)
        if machine and machine["type"] != "EXPRESS":
            message = f"This operation is not supported by this type of state machine: {arn}"
            refused: tuple[int, Json, bytes] = error_response_json("StateMachineTypeNotSupported", message, 400)
            return refused
        began = time.monotonic()
        status, headers, body = start(query)
        if status >= 300:
            return status, headers, body
        reply = json.loads(body)
        execution = sfn._executions.pop(reply["executionArn"], {})
        if reply["status"] != "SUCCEEDED":
            for name in ("output", "outputDetails", "error", "cause"):
                reply.pop(name, None)
            reply |= {name: execution[name] for name in ("error", "cause") if execution.get(name)}
        spent = math.ceil((time.monotonic() - began) * 10) * 100  # billed by the tenth of a second
        reply["billingDetails"] = {"billedMemoryUsedInMB": BILLED_MEMORY_MB, "billedDurationInMilliseconds": spent}
        return status, headers, json.dumps(reply).encode()

    return started

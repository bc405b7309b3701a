"""Lambda: ministack keeps the records; functions run in warm processes, one for each concurrent call."""

import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from scones_local import isolation
from scones_local.cloud import Programs
from scones_local.cloudwatch import MetricBuffer
from scones_local.lambda_workers import CallerGone, CallResult, FunctionVersion, LambdaCall, LambdaWorker, error_body
from scones_local.wire import Json, Reply, ServiceError, error_reply

Handler = Callable[[str, str, dict[str, str], bytes, Json], Awaitable[Reply]]
"""A service in ministack's router: method, path, headers, body and query of a request."""
INHERITED = ("PATH", "LD_LIBRARY_PATH", "NO_PROXY")
"""The only variables of this machine that a function inherits, besides those of Lambda and of AWS clients."""
RUNTIME_PACKAGES = {"boto3", "awslambdaric"}
"""What Lambda's Python has besides the standard library: the SDK, and the runtime client."""
RUNTIMES = tuple(f"python3.{minor}" for minor in range(8, 15))
"""What Lambda offers for Python; here all of them are the Python that started the cloud."""
WAIT_FOR_WORKER_SECONDS = 60.0
MAX_VARIABLES_BYTES = 4096
MIN_TMP_MB, MAX_TMP_MB = 512, 10_240
MAX_PAYLOAD_BYTES = {"RequestResponse": 6 * 1024 * 1024, "Event": 1024 * 1024}
WAITING_UNTIL: ContextVar[float] = ContextVar("WAITING_UNTIL", default=math.inf)
"""How long the caller of a function waits for it, in seconds since 1970."""
CALLER_GONE = "States.Timeout"
"""The errorType of a call whose caller no longer waits; only a state machine's task stops waiting."""


def install(folder: Path, environment: dict[str, str], metrics: MetricBuffer, programs: Programs) -> None:
    """Make ministack run functions here; *environment* is what workers inherit, as far as INHERITED allows."""
    service = LambdaService(folder, environment, metrics, programs)
    # This package counts every call; ministack does not count those of state machines, and keeps four points a call.
    lambda_svc._emit_lambda_metrics = lambda *_args, **_members: None
    lambda_svc._execute_function_warm = service.execute
    lambda_svc._execute_function_docker = service.execute
    lambda_svc.invalidate_worker = service.end_environments
    lambda_svc._reserved_concurrency = reserved_concurrency
    lambda_svc._create_function = _patch_change(lambda_svc._create_function, programs)
    for name in ("_update_config", "_update_code"):
        setattr(lambda_svc, name, _patch_change(getattr(lambda_svc, name), programs))
    lambda_svc._normalize_layer_attachments = _patch_layers(lambda_svc._normalize_layer_attachments)


def with_payload_limit(handle: Handler) -> Handler:
    """Refuse calls of functions with a payload that Lambda refuses."""

    async def limited(method: str, path: str, headers: dict[str, str], body: bytes, query: Json) -> Reply:
        """Answer the call, or refuse it."""
        kind = {name.lower(): value for name, value in headers.items()}.get("x-amz-invocation-type", "RequestResponse")
        limit = MAX_PAYLOAD_BYTES.get(kind)
        if path.endswith("/invocations") and limit and len(body) > limit:
            text = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            return error_reply(ServiceError("RequestEntityTooLargeException", text, status=413), "application/json")
        return await handle(method, path, headers, body, query)

    return limited


def refusal(members: Json, programs: Programs) -> str | None:
    """Why a function with these members of CreateFunction cannot run here; None if it can."""
    runtime = members.get("Runtime") or "python3.11"
    image = {**members, **(members.get("Code") or {})}.get("ImageUri")
    if runtime not in RUNTIMES:
        return f"Runtime {runtime!r} is not supported by the local cloud, which runs {', '.join(RUNTIMES)}"
    if image is not None and not programs.accept(image):
        accepted = f"{programs.image_prefix}..." if programs.image_prefix else "none"
        return f"Image {image!r} cannot run in the local cloud: repositories whose functions run here: {accepted}"
    if image is not None and members.get("Layers"):
        return "Layers are not supported for functions whose code is a container image"
    size = int((members.get("EphemeralStorage") or {}).get("Size") or MIN_TMP_MB)
    if not MIN_TMP_MB <= size <= MAX_TMP_MB:
        return f"EphemeralStorage must have a Size of {MIN_TMP_MB} to {MAX_TMP_MB} MB, not {size}"
    measured = json.dumps((members.get("Environment") or {}).get("Variables") or {}, separators=(",", ":"))
    if len(measured.encode()) > MAX_VARIABLES_BYTES:
        return (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    return None


def _patch_change(change: Callable[..., Reply], programs: Programs) -> Callable[..., Reply]:
    """Refuse what cannot run when a function is created or changed, and not when it is called."""

    def changed(*arguments: Any) -> Reply:
        if reason := refusal(arguments[-1], programs):
            reply: Reply = error_response_json("InvalidParameterValueException", reason, 400)
            return reply
        return change(*arguments)

    return changed


def _patch_layers(attach: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse layers whose content is not here, such as those that other accounts publish."""

    def attached(layers: list[Any] | None) -> Any:
        found, error = attach(layers)
        empty = [layer["Arn"] for layer in found or () if not layer.get("CodeSize")]
        if error or not empty:
            return found, error
        text = f"Layer version {empty[0]} has no content in the local cloud; publish it with PublishLayerVersion"
        return None, error_response_json("InvalidParameterValueException", text, 400)

    return attached


class FunctionPool:
    """The execution environments of one version of a function."""

    def __init__(self, function: FunctionVersion, folder: Path, python_path: Path, environment: dict[str, str]) -> None:
        self.function = function
        self._folder = folder
        self._environment = {**environment, **_reserved_variables(function, folder), **function.variables}
        (folder / "task").mkdir(parents=True)
        if function.code is not None:
            self._environment["PYTHONPATH"] = str(python_path)
            _unzip(function.code, folder / "task")
        for layer in function.layers:  # of two layers' files with the same name the later one's stays, as on AWS
            _unzip(layer, folder / "layers")
        self._launch = _launch_options(function, folder, python_path)
        self._idle: list[LambdaWorker] = []
        self._slots = threading.Semaphore(max(2, 2 * (os.cpu_count() or 1)))
        self._lock = threading.Lock()
        self._closed = False

    def invoke(self, call: LambdaCall, on_end: Callable[[CallResult], None], until: float = math.inf) -> CallResult:
        """Run the handler once, in an idle environment or a new one; *on_end* gets the result even after CallerGone.

        Raises:
            CallerGone: *until*, in seconds since 1970, has passed.
        """
        if not self._slots.acquire(timeout=max(0.0, min(WAIT_FOR_WORKER_SECONDS, until - time.time()))):
            if time.time() >= until:
                raise CallerGone
            text = f"Rate Exceeded: all environments of {self.function.name} are busy"
            return CallResult(error_body("TooManyRequestsException", text), failed=True, log="")
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        return self._run(worker, call, on_end, until)

    def close(self) -> None:
        """End the idle environments now, and each busy one after its call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def _run(
        self, worker: LambdaWorker | None, call: LambdaCall, on_end: Callable[[CallResult], None], until: float
    ) -> CallResult:
        """Run a call in the slot that was taken for it, and free the slot when the call has ended."""
        try:
            worker = worker or LambdaWorker(self.function, self._folder, self._environment, self._launch)
            result = worker.invoke(call, until)
            with self._lock:
                reusable = worker.usable and not self._closed
                if reusable:
                    self._idle.append(worker)
            if not reusable:
                worker.close()
        except CallerGone:
            # Only now a thread of its own: starting one for every call would cost more than the rest of the call.
            threading.Thread(target=self._run, args=(worker, call, on_end, math.inf), daemon=True).start()
            raise
        except BaseException:
            self._slots.release()
            raise
        self._slots.release()
        on_end(result)
        return result


class LambdaService:
    """Every function that was invoked, by name and version."""

    def __init__(self, folder: Path, environment: dict[str, str], metrics: MetricBuffer, programs: Programs) -> None:
        self._metrics = metrics
        self._programs = programs
        self._folder = Path(os.path.realpath(folder))  # an environment has no link below /tmp
        self._environment = {k: v for k, v in environment.items() if k in INHERITED or k.startswith("AWS_")}
        self._python_path = _link_runtime_packages(self._folder / "python")
        self._pools: dict[tuple[str, str], tuple[str, FunctionPool]] = {}
        self._lock = threading.Lock()

    def execute(self, record: Json, event: object, request_id: str) -> Json:
        """Run *record*'s handler; the result has ministack's form: body, error, log."""
        config = record.get("config") or record
        image = config.get("ImageUri")
        accepted = image is not None and self._programs.accept(image)
        if not (record.get("code_zip") or accepted):
            text = "the local cloud runs functions from a zip or from an accepted image"
            return {"body": {"errorType": "Runtime.NoCode", "errorMessage": text}, "error": True, "log": ""}
        began = time.perf_counter()

        def count(result: CallResult) -> None:
            milliseconds = (time.perf_counter() - began) * 1e3
            values = {"Invocations": 1.0, "Errors": float(result.failed), "Duration": milliseconds}
            self._metrics.add("AWS/Lambda", {"FunctionName": config["FunctionName"]}, values)

        pool = self._pool(config, None if accepted else record["code_zip"])
        try:
            result = pool.invoke(LambdaCall(json.dumps(event).encode(), request_id), count, WAITING_UNTIL.get())
        except CallerGone:
            text = "the caller no longer waits"
            return {"body": {"errorType": CALLER_GONE, "errorMessage": text}, "error": True, "log": ""}
        log = _framed(config, request_id, result.log, (time.perf_counter() - began) * 1e3)
        reply: Json = {"body": json.loads(result.body or b"null"), "log": log, "request_id": request_id}
        if result.failed:
            reply |= {"error": True, "function_error": "Unhandled"}
        return reply

    def end_environments(self, name: str, qualifier: str | None = None, **_: object) -> None:
        """End the environments of a function that was deleted or changed."""
        with self._lock:
            keys = [k for k in self._pools if k[0] == name and qualifier in (None, k[1])]
            ended = [self._pools.pop(key)[1] for key in keys]
        for pool in ended:
            pool.close()

    def _pool(self, config: Json, code: bytes | None) -> FunctionPool:
        """The environments of this configuration; those of an earlier configuration are ended."""
        key = (config["FunctionName"], config.get("Version") or "$LATEST")
        members = ("CodeSha256", "Handler", "Environment", "Timeout", "MemorySize", "ImageUri", "ImageConfigResponse",
                   "Layers", "EphemeralStorage")  # fmt: skip
        fingerprint = json.dumps([config.get(name) for name in members])
        with self._lock:
            known, old = self._pools.get(key, ("", None))
            if old is not None and known == fingerprint:
                return old
            folder = self._folder / uuid.uuid4().hex
            new = FunctionPool(_function_version(config, code), folder, self._python_path, self._environment)
            self._pools[key] = (fingerprint, new)
        if old is not None:
            old.close()
        return new


def _unzip(code: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        archive.extractall(folder)  # zipfile drops absolute names and ".."


def _launch_options(function: FunctionVersion, folder: Path, python_path: Path) -> Json:
    """What `isolation` needs to start an environment of *function*, whose files are in *folder*."""
    used = [sys.prefix, sys.base_prefix, *sys.path]
    needed = {os.path.realpath(path) for path in used if path and not folder.is_relative_to(os.path.realpath(path))}
    needed |= {os.path.realpath(path) for path in (folder, python_path)}
    # A package that is installed in place may have links to folders beside it.
    places = (Path(path).glob("*/*") for path in needed if path.startswith("/tmp/") and not path.endswith("-packages"))  # noqa: S108
    needed |= {os.path.realpath(link) for found in places for link in found if link.is_symlink() and link.is_dir()}
    below_tmp = sorted(path for path in needed if path.startswith("/tmp/"))  # noqa: S108 - AWS's
    layers = folder / "layers"
    modules = [layers / "python" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages", layers / "python"]
    bytecode = folder / "bytecode"
    bytecode.mkdir()
    return {
        "isolated": can_isolate(),
        "tmp_mb": function.tmp_mb,
        "keep": [path for path in below_tmp if not any(path.startswith(f"{other}/") for other in below_tmp)],
        "path": [str(place) for place in modules if place.is_dir()],
        "bytecode": str(bytecode) if function.code else "",
        "layers": str(layers) if function.layers and not any(path.startswith("/opt/") for path in needed) else "",
    }


@cache
def can_isolate() -> bool:
    """Whether this user of this machine may give a process namespaces of its own."""
    options = {"isolated": True, "tmp_mb": 1, "keep": [], "path": [], "bytecode": "", "layers": ""}
    trial = [sys.executable, "-P", "-S", isolation.__file__, json.dumps(options), ""]
    return subprocess.run(trial, capture_output=True, check=False, cwd="/").returncode == 0


def reserved_concurrency(_record: Json, config: Json) -> int | None:
    """A function's reserved concurrency, which all its versions share; ministack ignores it for published versions."""
    function = lambda_svc._functions.get(config["FunctionName"]) or {}
    reserved: int | None = function.get("concurrency")
    return reserved


def _function_version(config: Json, code: bytes | None) -> FunctionVersion:
    """Read what Lambda's API calls a FunctionConfiguration; an image's handler is its command."""
    image = (config.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
    return FunctionVersion(
        name=config["FunctionName"],
        arn=config["FunctionArn"],
        handler=config["Handler"] or next(iter(image.get("Command") or ()), ""),
        code=code,
        variables=dict((config.get("Environment") or {}).get("Variables") or {}),
        timeout_seconds=float(config.get("Timeout") or 3),
        memory_mb=int(config.get("MemorySize") or 128),
        version=config.get("Version") or "$LATEST",
        tmp_mb=int((config.get("EphemeralStorage") or {}).get("Size") or MIN_TMP_MB),
        layers=tuple(filter(None, map(lambda_svc._resolve_layer_zip, config.get("Layers") or ()))),
    )


def _reserved_variables(function: FunctionVersion, folder: Path) -> dict[str, str]:
    """The variables that Lambda sets for every function.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        "_HANDLER": function.handler,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(folder / "task"),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{function.version}]{uuid.uuid4().hex}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }


def _link_runtime_packages(folder: Path) -> Path:
    """Fill *folder* with links to RUNTIME_PACKAGES and what they require."""
    folder.mkdir(parents=True)
    waiting, linked = set(RUNTIME_PACKAGES), set[str]()
    while waiting:
        name = waiting.pop()
        linked.add(name)
        package = distribution(name)
        for file in package.files or []:
            top = file.parts[0]
            if not top.startswith("..") and not top.endswith(".dist-info"):
                with contextlib.suppress(FileExistsError):
                    (folder / top).symlink_to(Path(str(package.locate_file(top))))
        for line in package.requires or []:
            if "extra ==" not in line and (required := re.match(r"[A-Za-z0-9._-]+", line)):
                waiting |= {re.sub(r"[-_.]+", "-", required[0]).lower()} - linked
    return folder


def _framed(config: Json, request_id: str, printed: str, milliseconds: float) -> str:
    """The log of one call: what it printed, between the lines that Lambda adds."""
    spent = f"Duration: {milliseconds:.2f} ms\tBilled Duration: {math.ceil(milliseconds)} ms"
    newline = "" if printed.endswith("\n") or not printed else "\n"
    return (
        f"START RequestId: {request_id} Version: {config.get('Version') or '$LATEST'}\n{printed}{newline}"
        f"END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\t{spent}\tMemory Size: {config.get('MemorySize', 128)} MB\n"
    )

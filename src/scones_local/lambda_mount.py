"""Lambda, mounted: ministack keeps the records, our workers run the code."""

import json
import math
import threading
import time
import uuid
from contextvars import ContextVar
from pathlib import Path

from ministack.services import lambda_svc

from scones_local import function_logs
from scones_local.functions import Call, CallerGone, Function, Outcome, definition_of, runtime_packages
from scones_local.metrics import Metrics
from scones_local.wire import Json

INHERITED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "NO_PROXY")
"""What a function may see of this machine's environment, besides what Lambda and the cloud's client settings give."""
WAITING_UNTIL: ContextVar[float] = ContextVar("WAITING_UNTIL", default=math.inf)
"""Until when whoever invokes a function waits for it, in seconds since 1970."""
GONE = "States.Timeout"
"""The errorType of a call whose caller is gone; only a state machine's task ever is."""


class Functions:
    """Every function that was ever invoked, by name and version."""

    def __init__(self, folder: Path, environment: dict[str, str], metrics: Metrics, image_prefix: str) -> None:
        self._metrics = metrics
        self._image_prefix = image_prefix
        self._folder = folder
        self._environment = {k: v for k, v in environment.items() if k in INHERITED or k.startswith("AWS_")}
        self._python_path = runtime_packages(folder / "python")
        self._known: dict[tuple[str, str], tuple[str, Function]] = {}
        self._lock = threading.Lock()

    def execute(self, record: Json, event: object, request_id: str) -> Json:
        """Run *record*'s handler; the result has ministack's shape: body, error, log."""
        config = record.get("config") or record
        image = config.get("ImageUri")
        ours = image is not None and image.rsplit("/", 1)[-1].startswith(self._image_prefix)
        if not (record.get("code_zip") or ours) or config.get("Layers"):
            told = "no code, an image other than our own, or Layers, which the local cloud does not have"
            return {"body": {"errorType": "Runtime.NoCode", "errorMessage": told}, "error": True, "log": ""}
        began = time.perf_counter()

        def ended(outcome: Outcome) -> None:
            spent = (time.perf_counter() - began) * 1e3
            measures = {"Invocations": 1.0, "Errors": float(outcome.failed), "Duration": spent}
            self._metrics.note("AWS/Lambda", {"FunctionName": config["FunctionName"]}, measures)

        function = self._function(config, None if ours else record["code_zip"])
        try:
            outcome = function.invoke(Call(json.dumps(event).encode(), request_id), ended, WAITING_UNTIL.get())
        except CallerGone:
            return {"body": {"errorType": GONE, "errorMessage": "nobody waits any more"}, "error": True, "log": ""}
        result: Json = {"body": json.loads(outcome.body or b"null"), "log": outcome.log}
        if outcome.failed:
            result |= {"error": True, "function_error": "Unhandled"}
        return result

    def forget(self, name: str, qualifier: str | None = None, **_: object) -> None:
        """End the environments of a function that was deleted or changed."""
        with self._lock:
            keys = [k for k in self._known if k[0] == name and qualifier in (None, k[1])]
            gone = [self._known.pop(key)[1] for key in keys]
        for function in gone:
            function.close()

    def _function(self, config: Json, code: bytes | None) -> Function:
        key = (config["FunctionName"], config.get("Version") or "$LATEST")
        told = ("CodeSha256", "Handler", "Environment", "Timeout", "MemorySize", "ImageUri", "ImageConfigResponse")
        print_ = json.dumps([config.get(name) for name in told])
        with self._lock:
            known, function = self._known.get(key, ("", None))
            if function is not None and known == print_:
                return function
            definition = definition_of(config, code)
            folder = self._folder / f"{key[0]}-{uuid.uuid4().hex[:8]}"
            fresh = Function(definition, folder, self._python_path, self._environment)
            self._known[key] = (print_, fresh)
        if function is not None:
            function.close()
        return fresh


def reserved_concurrency(_record: Json, config: Json) -> int | None:
    """A function's reserved concurrency, which all its versions share; the stock one passes over published versions."""
    function = lambda_svc._functions.get(config["FunctionName"]) or {}
    reserved: int | None = function.get("concurrency")
    return reserved


def mount(folder: Path, environment: dict[str, str], metrics: Metrics, image_prefix: str) -> Functions:
    """Make ministack run Python functions through us; *environment* is what every worker inherits.

    An image whose repository's name begins with *image_prefix* stands for this package.
    """
    functions = Functions(folder, environment, metrics, image_prefix)
    # Ours counts whoever calls; the stock one passes over state machines, and keeps four points a call.
    lambda_svc._emit_lambda_metrics = lambda *_args, **_members: None
    lambda_svc._execute_function_warm = functions.execute
    lambda_svc._execute_function_docker = functions.execute
    lambda_svc.invalidate_worker = functions.forget
    lambda_svc._reserved_concurrency = reserved_concurrency
    function_logs.mount()
    return functions

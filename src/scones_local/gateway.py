"""The gateway process: ministack with our modules mounted, on a socket that the starter opened.

Usage: python -m scones_local.gateway STATE LISTENER (an inherited, listening file descriptor).
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvloop

from scones_local.processes import descendants, kill_all, remove_tree
from scones_local.wire import AwsError, Json, Reply, error_reply

Application = Callable[[Any, Any, Any], Awaitable[None]]

REGION = "us-east-1"
ACCOUNT = "000000000000"


def main(arguments: list[str]) -> None:
    """Serve until the supervisor ends us, or is gone."""
    state, listener = Path(arguments[0]), int(arguments[1])
    threading.Thread(target=_end_with_supervisor, args=(state,), daemon=True).start()
    with socket.socket(fileno=os.dup(listener)) as bound:
        port = int(bound.getsockname()[1])
    inherited = dict(os.environ)
    programs = inherited.pop("SCONES_LOCAL_PROGRAMS")
    os.environ.update(_settings(state, port, inherited.pop("SCONES_LOCAL_KEPT", "")))
    _mount(state, {**inherited, **_client_settings(f"http://127.0.0.1:{port}")}, programs)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(listener))


def _mount(state: Path, environment: dict[str, str], programs: str) -> None:
    # ministack reads its settings when it is imported, so what imports it comes after them.
    from ministack import app  # noqa: PLC0415
    from ministack.core import router  # noqa: PLC0415

    from scones_local import alarm_mount, budgets, builds, lambda_mount, machines, stacks, tags_mount  # noqa: PLC0415
    from scones_local.metrics import Metrics  # noqa: PLC0415
    from scones_local.sagemaker.api import SageMaker  # noqa: PLC0415
    from scones_local.sagemaker.programs import Logs, Runner  # noqa: PLC0415
    from scones_local.scaling import Scaling  # noqa: PLC0415
    from scones_local.storage import ObjectStore  # noqa: PLC0415

    metrics = Metrics()
    known = json.loads(programs)
    lambda_mount.mount(state / "lambda", environment, metrics, known["image_prefix"])
    machines.mount()
    alarm_mount.mount()
    tags_mount.mount()
    builds.mount(ObjectStore())
    runner = Runner(**known, environment=environment, store=ObjectStore(), logs=Logs())
    sagemaker = SageMaker(runner, state / "sagemaker", metrics)
    app.SERVICE_HANDLERS["sagemaker"] = sagemaker.handle
    router.SERVICE_PATTERNS["sagemaker"] = {"host_patterns": [], "target_prefixes": ["SageMaker."]}
    app.SERVICE_HANDLERS["application-autoscaling"] = Scaling(sagemaker.records).handle
    known_by = {"host_patterns": [], "target_prefixes": ["AnyScaleFrontendService."]}
    router.SERVICE_PATTERNS["application-autoscaling"] = known_by
    app.SERVICE_HANDLERS["servicequotas"] = _absent
    router.SERVICE_PATTERNS["servicequotas"] = {"host_patterns": [], "target_prefixes": ["ServiceQuotasV20190624."]}
    stacks.mount(sagemaker)
    budgets.mount()


async def _absent(*_request: object) -> Reply:
    """Say at once that a service is not here: ministack would take seconds, and answer as S3."""
    return error_reply(AwsError("NoSuchResourceException", "the local cloud has no such service"))


async def _serve(listener: int) -> None:
    from ministack.app import app  # noqa: PLC0415
    from uvicorn import Config, Server  # noqa: PLC0415

    config = Config(
        _unless_browsed(app),
        http="httptools",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )
    server = Server(config)
    # Signals keep their default action: the supervisor tidies up, so there is nothing to do gracefully.
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    await server.serve([socket.socket(fileno=listener)])


def _unless_browsed(app: Application) -> Application:
    """Refuse what a web page sends: whoever can create a function here can run code on this machine.

    Browsers add Origin to such requests, and a rebound name shows in Host; no AWS client does either.
    """

    async def guarded(scope: Json, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers") or ())
        host = headers.get(b"host", b"127.0.0.1").decode("latin-1").rpartition(":")[0] or "127.0.0.1"
        if scope["type"] == "http" and (b"origin" in headers or not host.endswith(("127.0.0.1", "localhost"))):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return guarded


def _settings(state: Path, port: int, kept: str) -> dict[str, str]:
    """ministack's settings; *kept* is the folder of an S3 that outlives the cloud, or empty."""
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "S3_DATA_DIR": kept or str(state / "s3"),
        "S3_PERSIST": "1" if kept else "0",
        "DOCKER_HOST": f"unix://{state}/no-docker",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }


def _client_settings(endpoint_url: str) -> dict[str, str]:
    """What points boto3 in a worker at this cloud."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _end_with_supervisor(state: Path) -> None:
    """End the whole group once standard input closes: the supervisor was killed, so nobody else will."""
    while os.read(0, 1):
        pass
    kill_all(descendants(os.getpid()))  # first, so that few write into the folder again
    remove_tree(state)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

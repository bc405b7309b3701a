"""The gateway: the process that serves ministack with this package's parts installed, on a socket that is open already.

Usage: python -m scones_local.gateway STATE LISTENER (an inherited, listening file descriptor).
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import uvloop

from scones_local import access
from scones_local.access import AccessCheck, AccessKey
from scones_local.cloud import OPTIONS, Programs
from scones_local.folders import remove_folder
from scones_local.processes import descendants, kill_all

REGION = "us-east-1"


def main(arguments: list[str]) -> None:
    """Serve until the supervisor ends this process, or has ended itself."""
    state, listener = Path(arguments[0]), int(arguments[1])
    threading.Thread(target=_end_with_supervisor, args=(state,), daemon=True).start()
    with socket.socket(fileno=os.dup(listener)) as bound:
        port = int(bound.getsockname()[1])
    options = json.loads((state / OPTIONS).read_text())
    key = AccessKey(*options["key"])
    environment = {**os.environ, **_client_settings(f"http://127.0.0.1:{port}", key)}
    os.environ.update(_settings(state, port, options["s3_folder"], key, options["account"]))
    _install(state, environment, Programs(**options["programs"]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(listener, port, key))


def _install(state: Path, environment: dict[str, str], programs: Programs) -> None:
    """Put this package's parts in place of ministack's; *environment* is inherited by functions and programs."""
    # ministack reads its settings when it is imported, so what imports it comes after them.
    if os.environ["S3_PERSIST"] == "1":
        from scones_local import durability  # noqa: PLC0415

        durability.install()
    from ministack import app  # noqa: PLC0415
    from ministack.core import router  # noqa: PLC0415

    from scones_local import builds, cloudwatch, lambdas, logs, machines, map_runs, stacks, tasks  # noqa: PLC0415
    from scones_local.quotas import ServiceQuotas  # noqa: PLC0415
    from scones_local.sagemaker.api import SageMakerService  # noqa: PLC0415
    from scones_local.sagemaker.containers import ContainerRunner  # noqa: PLC0415
    from scones_local.sagemaker.scaling import AutoScalingService  # noqa: PLC0415

    access.install()
    metrics = cloudwatch.install()
    lambdas.install(state / "lambda", environment, metrics, programs)
    logs.install()
    quotas = ServiceQuotas()
    sagemaker = SageMakerService(ContainerRunner(programs, environment), state / "sagemaker", metrics, quotas)
    tasks.install(sagemaker.operations, sagemaker.invoke)
    machines.install()
    map_runs.install()
    builds.install(quotas)
    stacks.install(sagemaker, programs)
    app.SERVICE_HANDLERS["lambda"] = lambdas.with_payload_limit(app.SERVICE_HANDLERS["lambda"])
    for service, target, handler in (
        ("sagemaker", "SageMaker.", sagemaker.handle),
        ("application-autoscaling", "AnyScaleFrontendService.", AutoScalingService(sagemaker.tables).handle),
        ("servicequotas", "ServiceQuotasV20190624.", quotas.handle),
    ):
        app.SERVICE_HANDLERS[service] = handler
        router.SERVICE_PATTERNS[service] = {"host_patterns": [], "target_prefixes": [target]}


async def _serve(listener: int, port: int, key: AccessKey) -> None:
    from ministack.app import app  # noqa: PLC0415
    from uvicorn import Config, Server  # noqa: PLC0415

    config = Config(
        AccessCheck(app, port, key),
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )
    server = Server(config)
    # Signals keep their default action: the supervisor cleans up, so there is nothing to do gracefully.
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    await server.serve([socket.socket(fileno=listener)])


def _settings(state: Path, port: int, s3_folder: str, key: AccessKey, account: str) -> dict[str, str]:
    """ministack's settings; *s3_folder* is where S3 outlives a crash, or empty."""
    return {
        "AWS_ACCESS_KEY_ID": key.key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": account,
        "S3_DATA_DIR": s3_folder or str(state / "s3"),
        "S3_PERSIST": "1" if s3_folder else "0",
        "DOCKER_HOST": f"unix://{state}/no-docker",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }


def _client_settings(endpoint_url: str, key: AccessKey) -> dict[str, str]:
    """The variables that point boto3 in functions and programs at this cloud."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key.key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_SESSION_TOKEN": "local",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _end_with_supervisor(state: Path) -> None:
    """End the whole group once standard input closes: the supervisor was killed, so no other process will."""
    while os.read(0, 1):
        pass
    kill_all(descendants(os.getpid()))  # first, so that few of them still write into the folder
    remove_folder(state)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

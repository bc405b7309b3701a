"""The gateway process: ministack with our modules mounted, on a socket that the starter opened.

Usage: python -m scones.local.gateway STATE LISTENER (an inherited, listening file descriptor).
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

REGION = "us-east-1"
ACCOUNT = "000000000000"


def main(arguments: list[str]) -> None:
    """Serve until the supervisor ends us, or is gone."""
    state, listener = Path(arguments[0]), int(arguments[1])
    threading.Thread(target=_end_with_supervisor, args=(state,), daemon=True).start()
    with socket.socket(fileno=os.dup(listener)) as bound:
        port = int(bound.getsockname()[1])
    endpoint_url = f"http://127.0.0.1:{port}"
    inherited = dict(os.environ)  # noqa: TID251 - the supervisor's contract
    programs = inherited.pop("SCONES_LOCAL_PROGRAMS", "{}")
    os.environ.update(_settings(state, port))  # noqa: TID251 - how ministack is configured
    workers = {**inherited, **_client_settings(endpoint_url)}
    _mount(state, endpoint_url, workers, programs)
    asyncio.run(_serve(listener))


def _mount(state: Path, endpoint_url: str, environment: dict[str, str], programs: str) -> None:
    # ministack reads its settings when it is imported, so it comes after them.
    from scones.local import lambda_mount, machines  # noqa: PLC0415

    lambda_mount.mount(state / "lambda", environment)
    machines.mount()


async def _serve(listener: int) -> None:
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    config = Config()
    config.bind = [f"fd://{listener}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    # Signals keep their default action: the supervisor tidies up, so there is nothing to do gracefully.
    await serve(app, config, shutdown_trigger=asyncio.Event().wait)


def _settings(state: Path, port: int) -> dict[str, str]:
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "S3_DATA_DIR": str(state / "s3"),
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
    while sys.stdin.buffer.read(1):
        pass
    shutil.rmtree(state, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Serving: verify and load the model, take the port, and keep the workers."""

import logging
import socket
import time

from scones.domain.errors import SconesError
from scones.model.inference import Model
from scones.model.model_file import read_model_file
from scones.serving.counters import Counters
from scones.serving.image_input import warm_decoders
from scones.serving.options import Options
from scones.serving.supervisor import Supervisor
from scones.serving.worker import Worker

_log = logging.getLogger(__name__)


class PortTaken(SconesError):
    """Somebody else listens there."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({reason}); set SAGEMAKER_BIND_TO_PORT to a free port")
        self.host = host
        self.port = port


def serve(options: Options) -> None:
    """Serve until SIGTERM; nobody can connect before the model is verified, loaded and warm.

    Raises:
        InvalidModelFile: the model's files are not what their checksums say.
        ModelUnusable: they are, and ONNX Runtime cannot use them.
        PortTaken: the port cannot be had.
        WorkersKeepDying: the workers do not survive their start.
    """
    begin = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _claim(listening, options)
        model = Model(read_model_file(options.model))
        warm_decoders()
        _listen(listening, options)
        seconds = time.perf_counter() - begin
        _log.info(
            "serving model=%s on=%s:%d workers=%d start_seconds=%.2f",
            *(model.version, options.host, options.port, options.workers, seconds),
        )
        _supervise(listening, model, options)
    _log.info("stopped")


def _supervise(listening: socket.socket, model: Model, options: Options) -> None:
    limits = options.limits
    counters = Counters(options.workers)

    def work(number: int, lifeline: int) -> None:
        Worker(number, model, counters, limits).run(listening, lifeline)

    def silent_seconds(number: int) -> float:
        return time.monotonic() - counters.row(number).get("heartbeat")

    supervisor = Supervisor(
        work, silent_seconds, listening.close, drain_seconds=limits.drain_seconds, hang_seconds=limits.hang_seconds
    )
    supervisor.run(options.workers)


def _claim(listening: socket.socket, options: Options) -> None:
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        raise PortTaken(options.host, options.port, error.strerror or str(error)) from error


def _listen(listening: socket.socket, options: Options) -> None:
    try:
        listening.listen(options.limits.connections)
    except OSError as error:
        # Two servers may claim a port at once; only one can listen.
        raise PortTaken(options.host, options.port, error.strerror or str(error)) from error

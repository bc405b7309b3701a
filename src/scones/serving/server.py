"""The server: verify and load the model, take the port, and keep uvicorn's workers running."""

import gc
import logging
import multiprocessing
import signal
import socket
import time
from typing import Any, Final

from uvicorn import Config
from uvicorn.supervisors.multiprocess import SIGNALS, Multiprocess, Process

from scones.domain.errors import ServingError
from scones.model.inference import Model
from scones.model.model_file import read_model_file
from scones.serving.app import App
from scones.serving.image_input import warm_decoders
from scones.serving.metrics import share_counters
from scones.serving.options import Limits, Options
from scones.serving.protocol import LimitedProtocol

_log = logging.getLogger(__name__)

_FORK: Final = multiprocessing.get_context("fork")
_YOUNG_SECONDS: Final = 2.0
_GIVE_UP_AFTER: Final = 5
_PING_SECONDS: Final = 1.0


class PortTaken(ServingError):
    """Another program listens there."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({reason}); set SAGEMAKER_BIND_TO_PORT to a free port")
        self.host = host
        self.port = port


class WorkersKeepDying(ServingError):
    """New workers die as soon as they start; something is wrong that one more will not cure."""

    def __init__(self, deaths: int) -> None:
        super().__init__(
            f"{deaths} workers in a row died within {_YOUNG_SECONDS:.0f} s of their start; the lines above say why"
        )
        self.deaths = deaths


def serve(options: Options) -> None:
    """Serve until SIGTERM; no client can connect before the model is verified, loaded and tried.

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
        counters = share_counters(options.workers)
        apps = [App(model, counters, worker, options.limits) for worker in range(options.workers)]
        _listen(listening, options)
        _log.info(
            "serving model=%s on=%s:%d workers=%d start_seconds=%.2f",
            *(model.version, options.host, options.port, options.workers, time.perf_counter() - begin),
        )
        Supervisor(apps, listening, options.limits).run()
    _log.info("stopped")


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


class WorkerProcess(Process):
    """uvicorn's worker process, forked rather than spawned, so that all share the model that their parent loaded."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.process: Any = _FORK.Process(target=self.target, args=(sockets,))
        self.started_at = self.alive_at = time.monotonic()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the new process."""
        # What the parent does with its signals is not for the child, which has uvicorn's own handlers in a moment.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        super().target(sockets)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, which replaces workers that die or hang, with an end where no worker survives."""

    def __init__(self, apps: list[App], listening: socket.socket, limits: Limits) -> None:
        self._configs = [configure(app, len(apps)) for app in apps]
        super().__init__(self._configs[0], [listening])
        for number in SIGNALS:
            # uvicorn would spawn workers on SIGHUP and SIGTTIN.
            if number not in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
        self._limits = limits
        self._workers: list[WorkerProcess] = []
        self._young_deaths = 0

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT.

        Raises:
            WorkersKeepDying: five in a row died young; the others are stopped.
        """
        # What the workers inherit stays shared: the collector would touch, and so copy, every page of it.
        gc.collect()
        gc.freeze()
        super().run()
        if self._young_deaths >= _GIVE_UP_AFTER:
            raise WorkersKeepDying(self._young_deaths)

    def init_processes(self) -> None:
        """Start a worker for each configuration."""
        self._workers = [self._start(config) for config in self._configs]

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died, or that have not responded to a health check for too long."""
        for number, worker in enumerate(self._workers):
            if worker.is_alive(_PING_SECONDS):
                worker.alive_at = time.monotonic()
                continue
            hangs = worker.exitcode is None
            if hangs and time.monotonic() - worker.alive_at < self._limits.hang_seconds:
                continue
            worker.kill()
            worker.process.join()
            self._note_death(number, worker, hangs=hangs)
            if self.should_exit.is_set():
                return
            self._workers[number] = self._start(worker.config)

    def terminate_all(self) -> None:
        """Refuse further connections, and let the workers finish."""
        for listening in self.sockets:
            listening.close()
        for worker in self._workers:
            worker.terminate()

    def join_all(self) -> None:
        """Wait for the workers to end; kill those that take longer than they may."""
        # A moment more than a worker takes at most, so that none is killed while it closes in good order.
        deadline = time.monotonic() + self._limits.drain_seconds + 1.0
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def _start(self, config: Config) -> WorkerProcess:
        worker = WorkerProcess(config, self.sockets)
        worker.start()
        return worker

    def _note_death(self, number: int, worker: WorkerProcess, *, hangs: bool) -> None:
        lived_seconds = time.monotonic() - worker.started_at
        how = "hangs" if hangs else f"died code={worker.exitcode}"
        _log.warning("worker=%d pid=%d %s lived_seconds=%.1f", number, worker.pid, how, lived_seconds)
        self._young_deaths = self._young_deaths + 1 if lived_seconds < _YOUNG_SECONDS else 0
        if self._young_deaths >= _GIVE_UP_AFTER:
            self.should_exit.set()


def configure(app: App, workers: int) -> Config:
    """Return uvicorn's configuration: its own parts only, no proxy, no access log, no headers of its own."""
    limits = app.limits
    return Config(
        app,
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=workers,
        backlog=limits.connections,
        # Fractions of a second work as well, whatever uvicorn's types say.
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=limits.drain_seconds,  # type: ignore[arg-type]
    )

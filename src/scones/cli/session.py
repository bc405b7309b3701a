"""Session: the environment that a command works in, local or on AWS, and its progress."""

import inspect
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial, wraps
from importlib.metadata import PackageNotFoundError, requires, version
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import scones_local.cloud as local_cloud
from scones.cli.output import echo, said, say_once
from scones.config.settings import Settings, load
from scones.domain.errors import CommandError, MissingExtra, MissingPrerequisite, SconesError, SettingsError
from scones.domain.text import printable, shown_env, with_env
from scones_local.cloud import Cloud, Programs
from scones_local.folders import remove_folder

P = ParamSpec("P")
T = TypeVar("T")

PROGRAMS = Programs(
    image_prefix="scones",
    train=(sys.executable, "-m", "scones.training"),
    serve=(sys.executable, "-m", "scones.serving"),
    image_classification=(sys.executable, "-m", "scones.training", "image-classification"),
    variables={"SCONES_BIND_HOST": local_cloud.HOST},
)
"""Images of repositories named scones... stand for this package; its settings come from the cloud's clients alone."""


def require_extra(extra: str) -> None:
    """Return if the packages of this extra of pyproject.toml are installed.

    Raises:
        MissingExtra: one is not.
    """
    for requirement in requires("scones") or ():
        package, condition = re.match(r"([\w.-]+)[^;]*;?(.*)", requirement).groups()  # type: ignore[union-attr]
        if re.search(rf"extra == ['\"]{extra}['\"]", condition):
            try:
                version(package)
            except PackageNotFoundError as error:
                raise MissingExtra(extra, package) from error


class CloudDied(CommandError):
    """The environment's local cloud has ended without `scones local down`; its user must not reach AWS by mistake."""

    def __init__(self, env: str) -> None:
        super().__init__(
            f"the local cloud of environment {env!r} has died, with all data that was not durable; to start another, "
            f"run: scones local up --env {env}; to use AWS from now on, run: scones local down --env {env}"
        )


def find_cloud(settings: Settings) -> Cloud | None:
    """The local cloud of this environment, if it runs."""
    return local_cloud.find(settings.state / settings.env)


def has_died(settings: Settings) -> bool:
    """Whether this environment had a local cloud that was killed."""
    return local_cloud.has_died(settings.state / settings.env)


def start_cloud(
    settings: Settings, *, port: int | None = None, durable: bool = False, account: str | None = None
) -> Cloud:
    """Start the local cloud of this environment unless it runs already; it runs until `end_cloud`.

    Raises:
        MissingExtra: the local cloud's packages are not installed.
        CommandError: it runs already, with the number of another account.
    """
    require_extra("local")
    folder = durable_folder(settings)
    s3_folder = folder if durable or folder.exists() else None
    if found := find_cloud(settings):
        if account not in (None, found.account):
            raise CommandError(
                f"the local cloud of environment {settings.env!r} runs as account {found.account}; "
                f"to start it as {account}, first run: scones local down --env {settings.env}"
            )
        return found
    cloud = local_cloud.start(
        settings.state / settings.env,
        port=port,
        programs=PROGRAMS,
        s3_folder=s3_folder,
        account=account or local_cloud.ACCOUNT,
    )
    local_cloud.detach(cloud)
    return cloud


def end_cloud(flags: Mapping[str, object]) -> bool:
    """Stop the local cloud of the environment; returns whether there was one."""
    settings = load(flags)
    cloud = find_cloud(settings)
    if cloud:
        local_cloud.stop(cloud)
    local_cloud.forget(settings.state / settings.env)
    # A durable cloud that was killed left it.
    remove_folder(durable_folder(settings))
    return cloud is not None


def durable_folder(settings: Settings) -> Path:
    """Where this environment's durable local cloud writes its S3."""
    return settings.state / f"{settings.env}.s3"


if TYPE_CHECKING:
    from scones.aws.connection import Aws
    from scones.pipeline import Pipeline
    from scones.retraining import PythonPipeline


class Terminal:
    """A Reporter with progress bars on a terminal; elsewhere it prints a line every *line_seconds*."""

    def __init__(self, line_seconds: float = 20.0) -> None:
        self._line_seconds = line_seconds
        self._last_line = time.monotonic()
        # Jupyter says of itself that it is a terminal, with FORCE_COLOR, and each refreshed bar would be an output.
        shown = sys.stderr is not None and sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=shown, force_jupyter=False)
        columns = (
            TextColumn("  {task.description:<22}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}", markup=False),
        )
        self._bars = Progress(*columns, console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Terminal":
        """Start drawing bars if there is a terminal."""
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bars."""
        if self._console.is_terminal:
            self._bars.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw no bars while a question is on the last line."""
        if self._console.is_terminal:
            self._bars.stop()
        yield
        if self._console.is_terminal:
            self._bars.start()

    def tell(self, line: str) -> None:
        """Print one line above the bars, unless the command has said it already."""
        self._last_line = time.monotonic()
        if say_once(shown := printable(with_env(line))):
            self._console.print(shown, markup=False)

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Update the bar of *what*; a full bar becomes a line, and a later one of the same name starts at zero."""
        what, now = printable(what), printable(now)
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, now=now)
        self._bars.update(self._tasks[what], completed=done, total=total, now=now)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))
            self.tell(f"  {what}: {total:,}")
        elif not self._console.is_terminal and time.monotonic() - self._last_line >= self._line_seconds:
            self.tell(f"  {what}: {done:,} of {total:,}{now and f', {now}'}")

    def countdown(self, left: float, seconds: int, what: str) -> None:
        """Draw the seconds that are left as a bar; without a terminal, nothing."""
        what = printable(what)
        if left <= 0:
            if what in self._tasks:
                self._bars.remove_task(self._tasks.pop(what))
            return
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=seconds, now="")
        self._bars.update(self._tasks[what], completed=round(seconds - left), now=f"{left:.0f} s left")


Flags = Mapping[str, object]


class NotConfirmed(CommandError):
    """What `down` would delete was not confirmed."""


class Cancelled(CommandError):
    """The user declined what a command costs on AWS."""

    def __init__(self) -> None:
        super().__init__("cancelled; nothing was created. To work locally, run: scones local up")


class Scones:
    """The commands as methods of the pipeline that this opens: `with Scones(env="dev", data="photos") as pipeline:`.

    In a notebook, `open` and `close` do the same from one cell to another. *settings* are those of `scones.toml`; paths
    may be strings. As on the command line, an environment that has a local cloud uses it, and others use AWS. What
    costs money there is done only if *agreed* is true, or if a person at the terminal agrees to the price.

    Raises:
        SettingsError: an unknown setting, or an impossible value.
    """

    def __init__(self, env: str = "dev", *, agreed: bool = False, **settings: object) -> None:
        flags = {name: fspath(value) if isinstance(value, PathLike) else value for name, value in settings.items()}
        if not isinstance(agreed, bool):
            raise SettingsError(f"agreed must be True or False, not {agreed!r}: it agrees to what AWS charges")
        # A wrong setting is said here, and not only where the environment is opened.
        load({"env": env, **flags})
        self._open, self._env = partial(open_pipeline, "python", {"env": env, **flags}, agreed=agreed), env
        self._opened = ExitStack()

    def open(self) -> "PythonPipeline":
        """Open the environment, again if it is open; the errors are those of `open_pipeline`."""
        self.close()
        enter = _naming_env(self._opened.enter_context, self._env)
        pipeline = cast("PythonPipeline", enter(self._open()))
        for name, method in inspect.getmembers(pipeline, inspect.ismethod):
            if not name.startswith("_"):
                object.__setattr__(pipeline, name, _naming_env(method, pipeline.settings.env))
        return pipeline

    def __getattr__(self, name: str) -> object:
        """Say where the commands are: on the pipeline that is opened."""
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; the commands are methods of what it opens: "
            "with Scones(...) as pipeline, or session = Scones(...) and pipeline = session.open()"
        )

    def close(self) -> None:
        """Close the connections, if they are open; what was created stays."""
        self._opened.close()

    def __enter__(self) -> "PythonPipeline":
        """Open the environment, as `open` does."""
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; what was created stays."""
        self._opened.__exit__(kind, error, trace)


def _naming_env(method: Callable[P, T], env: str) -> Callable[P, T]:
    """The *method*, whose lines and errors name *env* in their commands, also where another session is open."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        before, spoken = shown_env.set(env), said.set(set())
        try:
            return method(*args, **kwargs)
        except SconesError as error:
            error.args = (with_env(str(error)),)
            if hasattr(error, "__notes__"):
                error.__notes__ = [with_env(note) for note in error.__notes__]
            raise
        finally:
            shown_env.reset(before)
            said.reset(spoken)

    return call


def connect_environment(flags: Flags, verb: str = "") -> tuple[Settings, "Aws"]:
    """Connect to the endpoint that was named, else to the environment's local cloud if one runs, else to AWS.

    Raises:
        CloudDied: the local cloud of the environment was killed; the command must not reach AWS by mistake.
        AwsUnreachable: no answer, or credentials that are refused.
    """
    from scones.aws.client import Credentials
    from scones.aws.connection import connect

    settings = load(flags)
    shown_env.set(settings.env)
    cloud = None if settings.endpoint_url else find_cloud(settings)
    if not (cloud or settings.endpoint_url) and has_died(settings):
        raise CloudDied(settings.env)
    if verb == "register" or (verb == "train" and cloud):  # they compute in this Python
        require_extra("train")
    if cloud:
        settings = replace(settings, endpoint_url=cloud.endpoint_url, region=cloud.region)
    return settings, connect(settings, Credentials(*cloud.key) if cloud else None)


@contextmanager
def open_pipeline(verb: str, flags: Flags, *, agreed: bool) -> Iterator["Pipeline"]:
    """Open the environment: the endpoint that was named, else its local cloud if one runs, else AWS.

    Raises:
        CloudDied: the local cloud of the environment was killed; the command must not reach AWS by mistake.
        Cancelled: the command costs money on AWS, and the user declined.
        MissingPrerequisite: the command needs a stack or an endpoint, and there is none.
    """
    from scones.aws.client import AwsError
    from scones.environment import auto_approve

    settings, aws = connect_environment(flags, verb)
    where = settings.endpoint_url or f"AWS account {aws.account}, {aws.region}"
    echo(f"{verb}: environment {settings.env} on {where}", err=True)
    ask = not (settings.endpoint_url or agreed)
    # `up` asks when it has shown the price and the changes; `down` costs nothing; from Python each step asks.
    if ask and verb not in {"up", "down", "python"}:
        _agree_to_price(settings, verb)
    with Terminal() as terminal:
        approve: Callable[[], None] = _ApprovalPrompt(terminal) if ask else auto_approve
        if verb == "down" and not agreed:
            approve = partial(confirm_name, terminal, settings.env, "scones down")
        try:
            yield _pipeline_class(verb)(
                aws,
                settings,
                terminal,
                approve,
                partial(_agree_to_price, settings, in_python=True) if ask and verb == "python" else auto_approve,
            )
        except AwsError as error:
            if error.not_found and (step := _missing_step(aws, error.service)):
                raise MissingPrerequisite(step, aws.env) from error
            raise


def _pipeline_class(verb: str) -> "type[Pipeline]":
    """What Python has is more than a command needs to load."""
    if verb != "python":
        from scones.pipeline import Pipeline

        return Pipeline
    from scones.retraining import PythonPipeline

    return PythonPipeline


def _missing_step(aws: "Aws", service: str) -> str:
    """The step that has not run, or whose result was deleted, if that is why *service* found nothing."""
    stack = aws.stack.find()
    if stack is None or "WorkflowArn" not in stack.outputs:
        return "up"
    if service.startswith("sagemaker") and aws.name not in aws.sagemaker.endpoints(aws.name):
        return "deploy"
    return ""


def confirm_name(terminal: Terminal, env: str, command: str) -> None:
    """Ask for the environment's name before *command* deletes anything; raises NotConfirmed if it is not given."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise NotConfirmed(f"`{command}` must be confirmed, and there is no terminal; run: {command} --env {env} --yes")
    with terminal.paused():
        answer = click.prompt("Type the environment's name to delete it", default="", show_default=False, err=True)
    if answer.strip() != env:
        raise NotConfirmed(f"cancelled; nothing was deleted: {answer.strip()!r} is not the environment's name, {env!r}")


def _agree_to_price(settings: Settings, verb: str, *, in_python: bool = False) -> None:
    from scones.deployment.pricing import price_of

    price = f"{verb} costs money on AWS: {price_of(verb, settings)}"
    if in_python and (sys.stdin is None or not sys.stdin.isatty()):
        raise NotConfirmed(f"{price} To agree to that, open the environment with Scones(..., agreed=True)")
    if not click.confirm(f"{price} Continue?", err=True):
        raise Cancelled


class _ApprovalPrompt:
    """Asks once whether to apply the changes shown: a new stack takes two change sets."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._agreed = False

    def __call__(self) -> None:
        with self._terminal.paused():
            self._agreed = self._agreed or click.confirm("This costs money on AWS. Continue?", err=True)
        if not self._agreed:
            raise Cancelled

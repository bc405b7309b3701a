"""The errors that Scones raises on purpose. Each message says what failed, which one, and what to do next.

```text
SconesError
├── SettingsError          a setting is unknown, or its value is not allowed
├── MissingPrerequisite    a step needs the result of an earlier one
├── DataError              photos, labels or a manifest cannot be used
├── ModelError             a model cannot be trained, or a model file cannot be used
├── CloudError             AWS refuses a request, fails to do it, or does not answer
├── DeploymentError        an environment, a release or the container image cannot be changed
├── WorkflowError          a function refuses or cannot classify a photo, or a batch is not finished
├── ServingError           the endpoint's server cannot start, or refuses a request
├── EvaluationError        a model cannot be evaluated, or fails the gate; a decision cannot be replayed
├── MonitoringError        drift, alerts or labels cannot be computed
├── DispatchError          orders, couriers or rules cannot be used
├── ResultError            a result has no such part, or cannot be drawn
└── CommandError           the command line stops: cancelled, or the local cloud died
```

All others descend from one of these, in the module that raises them.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MAX_REPR_CHARACTERS: Final = 200


class SconesError(Exception):
    """The base of all: the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class SettingsError(SconesError):
    """A setting is unknown, or its value is not allowed."""


class InvalidParameter(SettingsError):
    """A parameter has a value that is not allowed."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} = {value!r} must be {allowed}")
        self.name = name
        self.value = value


def require_number(name: str, value: object, low: float, high: float, *, ends: bool = True) -> None:
    """Check that the parameter called *name* is a number from *low* to *high*, or between them without its *ends*.

    Raises:
        InvalidParameter: it is no number, not finite, or out of bounds.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not number or (not ends and value in (low, high)):
        bounds = f"from {low:,} to {high:,}" if ends else f"above {low:,} and below {high:,}"
        raise InvalidParameter(name, value, f"a number {bounds}")


def require_count(name: str, value: object, low: int, high: int) -> None:
    """Check that the parameter called *name* is a whole number from *low* to *high*.

    Raises:
        InvalidParameter: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidParameter(name, value, f"a whole number from {low:,} to {high:,}")


class MissingPrerequisite(SconesError):
    """A step needs the result of an earlier one, which has not run in this environment."""

    def __init__(self, step: str, env: str) -> None:
        super().__init__(f"environment {env!r} {_MISSING[step]}; run: scones {step} --env {env}")
        self.step = step
        self.env = env


_MISSING = {
    "stage": "has no staged dataset",
    "train": "has no trained model",
    "up": "does not exist",
    "deploy": "has no endpoint",
    "classify": "has no classified photos",
    "evaluate": "has no evaluation",
    "monitor": "has no monitoring run",
    "dispatch": "has no dispatch plan",
}


class DataError(SconesError):
    """Photos, labels or a manifest cannot be used."""


class CannotWrite(DataError):
    """A file cannot be written where the user wants it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; choose another path or fix this one, and run the command again")
        self.path = path


def require_writable(path: Path, *suffixes: str) -> None:
    """Check that *path*, and its siblings with these suffixes, can be written; nothing is left there.

    Commands call it before the work whose results they write.

    Raises:
        CannotWrite: one of them cannot.
    """
    for each in [path, *(path.with_suffix(suffix) for suffix in suffixes if path.name)]:
        try:
            _try_to_write(each)
        except OSError as error:
            raise CannotWrite(each, error.strerror or str(error)) from error


def _try_to_write(path: Path) -> None:
    """Open what exists without a change, or a temporary file in the nearest folder that exists."""
    try:
        path.stat()
    except FileNotFoundError:
        # Writing follows a link, and makes no folders for its target.
        folder = next(parent for parent in path.parents if os.path.lexists(parent))
        tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent if path.is_symlink() else folder).close()
    else:
        if path.is_file() or path.is_dir():
            path.open("ab").close()


class ModelError(SconesError):
    """A model cannot be trained, or a model file cannot be used."""


class CloudError(SconesError):
    """AWS refuses a request, fails to do it, or does not answer."""

    transient = False
    """Whether the same request may succeed a little later."""


class DeploymentError(SconesError):
    """An environment, a release or the container image cannot be changed."""


class WorkflowError(SconesError):
    """A function refuses or cannot classify a photo, or a batch is not finished."""


class ServingError(SconesError):
    """The endpoint's server cannot start, or refuses a request."""


class EvaluationError(SconesError):
    """A model cannot be evaluated, or fails the gate; a decision cannot be replayed."""


class MonitoringError(SconesError):
    """Drift, alerts or labels cannot be computed."""


class DispatchError(SconesError):
    """Orders, couriers or rules cannot be used."""


class ResultError(SconesError):
    """A result has no such part, or cannot be drawn."""


class CommandError(SconesError):
    """The command line stops: cancelled, or the local cloud died."""


class MissingExtra(CommandError):
    """Packages of an extra are not installed; the message has the command that installs them."""

    def __init__(self, extra: str, packages: str) -> None:
        super().__init__(
            f"{packages} is not installed; run: {Path(sys.executable).name} -m pip install 'scones[{extra}]'"
        )


@contextmanager
def raise_as(failure: Callable[[str], Exception]) -> Iterator[None]:
    """Raise any exception of the block as the *failure* of the one item that the block handles.

    *failure* takes "cannot be read" with the exception's type and message. An item from outside (a photo, an event, a
    captured record, a row of labels) can make a decoder or a parser raise anything, so no list of exceptions is
    complete. A SconesError passes: it says already what is wrong.
    """
    try:
        yield
    except SconesError:
        raise
    except Exception as error:
        # repr() escapes control characters that the item put into the message.
        raise failure(f"cannot be read: {repr(error)[:_MAX_REPR_CHARACTERS]}") from error

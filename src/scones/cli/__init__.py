"""The command line: it reads the settings, runs one step of the pipeline, and prints its result.

Read group.py first, then session.py; the commands follow in model.py, photos.py, review.py, environment.py
and local.py.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from scones.cli.console import console
from scones.cli.environment import cost, demo, down, logs, monitor, status
from scones.cli.group import scones
from scones.cli.local import local
from scones.cli.model import approve, deploy, evaluate, forget, image, register, retrain, rollback, stage, train, up
from scones.cli.models import compare, models, open_, releases
from scones.cli.output import echo, echo_error, said
from scones.cli.photos import classify, dispatch, predict, replay, simulate
from scones.cli.review import labels, review
from scones.domain.errors import SconesError
from scones.domain.progress import verbose
from scones.domain.text import DEFAULT_ENV, shown_env

_INTERRUPTED = 130
_NOT_ENOUGH_SPACE = 28
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_PATH_ERRORS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ETXTBSY, errno.ENXIO, errno.EFBIG),
}

_BUILD = (stage, image, train, register, approve, models, compare, up, deploy, rollback, releases, retrain)
_USE = (classify, predict, replay, evaluate, monitor, review, labels, open_, dispatch, simulate, forget)
# `scones --help` lists them in this order.
for _command in (*_BUILD, *_USE, console, cost, logs, status, down, demo, local):
    scones.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error becomes one line on stderr."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.unraisablehook = _ignore_full_disk
    try:
        sys.exit(_exit_code(arguments))
    finally:
        said.set(None)


def _exit_code(arguments: Sequence[str] | None) -> int:
    shown_env.set(DEFAULT_ENV)
    verbose.set(False)
    said.set(set())
    try:
        scones(arguments, standalone_mode=False)
    except _expected_errors() as error:
        echo_error(f"scones: {'; '.join([str(error), *_notes(error)])}")
        return getattr(error, "exit_code", 1)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(shown.getvalue().rstrip(), err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, ImportError) as error:
        # A C extension that is interrupted while it is imported raises ImportError.
        if isinstance(error, ImportError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        ended = _notes(error) or ["the processes that this command started have ended"]
        echo_error(f"scones: stopped; {'; '.join(ended)}")
        return _INTERRUPTED
    except OSError as error:
        code, message = _disk_error(error)
        if not code:
            raise
        echo_error(f"scones: {message}")
        return code
    return 0


def _notes(error: BaseException) -> list[str]:
    """What continues in the account, as the interrupted steps say."""
    cause = error.__cause__ or error.__context__
    return [*getattr(error, "__notes__", ()), *(_notes(cause) if isinstance(cause, KeyboardInterrupt) else ())]


def _expected_errors() -> tuple[type[Exception], ...]:
    """The errors that become one line: ours, and those of the local cloud if a command has imported it."""
    local_cloud = sys.modules.get("scones_local.cloud")
    return (SconesError, local_cloud.LocalCloudError) if local_cloud else (SconesError,)


def _disk_error(error: OSError) -> tuple[int, str]:
    """Return exit code and message of an error of the user's disk; code 0 for any other error."""
    if error.errno in _DISK_FULL:
        return (
            _NOT_ENOUGH_SPACE,
            f"the disk is full ({error.filename or error}); free some space and run the command again",
        )
    if error.errno in _PATH_ERRORS and error.filename:
        return 1, f"{error.filename}: {error.strerror}; choose another path or fix this one, and run the command again"
    return 0, ""


def _ignore_full_disk(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python 3.13 also reports each unfinished file that a full disk keeps it from closing; one line has said it."""
    if not (isinstance(unraisable.exc_value, OSError) and unraisable.exc_value.errno in _DISK_FULL):
        sys.__unraisablehook__(unraisable)


def _as_interrupt(_number: int, _frame: object) -> None:
    """Handle SIGTERM as Ctrl-C, so that everything is cleaned up; a second one is ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A shell without a terminal has its background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)

"""The command line: a thin edge that reads settings, runs one verb, and shows what came of it."""

import errno
import os
import signal
import sys
from collections.abc import Sequence

import click

from scones.cli.environment import cost, demo, down, monitor, status
from scones.cli.group import scones
from scones.cli.local import local
from scones.cli.model import approve, deploy, evaluate, image, rollback, stage, train, up
from scones.cli.photos import classify, dispatch, replay, simulate
from scones.domain.errors import SconesError

_INTERRUPTED = 130
_NOT_ENOUGH_SPACE = 28
_REFUSALS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}

_MAKING = (stage, image, train, approve, up, deploy, rollback)
_USING = (classify, replay, evaluate, monitor, dispatch, simulate)
# In the order of the flow, which is the order of `scones --help`.
for _command in (*_MAKING, *_USING, cost, status, down, demo, local):
    scones.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; each error that was foreseen becomes one line on stderr."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        scones(arguments, standalone_mode=False)
    except _expected_errors() as error:
        click.echo(f"scones: {error}", err=True)
        return getattr(error, "exit_code", 1)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, ImportError) as error:
        # A module in C, interrupted while it is loaded, says that it could not be.
        if isinstance(error, ImportError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        click.echo("scones: stopped; whatever this command had started has been ended", err=True)
        return _INTERRUPTED
    except OSError as error:
        code, words = _of_the_disk(error)
        if not code:
            raise
        click.echo(f"scones: {words}", err=True)
        return code
    return 0


def _expected_errors() -> tuple[type[Exception], ...]:
    """The errors that become one line: ours, and those of the local cloud if a command has imported it."""
    local_cloud = sys.modules.get("scones_local.cloud")
    return (SconesError, local_cloud.LocalCloudError) if local_cloud else (SconesError,)


def _of_the_disk(error: OSError) -> tuple[int, str]:
    """Give exit code and words for what the user's disk refuses; 0 for what is no matter of theirs."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _NOT_ENOUGH_SPACE, f"the disk is full ({error.filename or error}); free some space and run it again"
    if error.errno in _REFUSALS and error.filename:
        return 1, f"{error.filename}: {error.strerror}; name another place, or mend this one, and run it again"
    return 0, ""


def _as_interrupt(_number: int, _frame: object) -> None:
    """End on SIGTERM as on Ctrl-C, so that everything is cleaned up; a second one changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGINT)

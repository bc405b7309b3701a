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
from scones.errors import SconesError

_INTERRUPTED = 130
_NOT_ENOUGH_SPACE = 28

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
    except SconesError as error:
        click.echo(f"scones: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("scones: stopped; whatever this command had started has been ended", err=True)
        return _INTERRUPTED
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        click.echo(f"scones: the disk is full ({error.filename or error}); free some space and run it again", err=True)
        return _NOT_ENOUGH_SPACE
    return 0


def _as_interrupt(_number: int, _frame: object) -> None:
    """End on SIGTERM as on Ctrl-C, so that everything is cleaned up; a second one changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGINT)

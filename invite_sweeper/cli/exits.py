"""Errors become a sentence on stderr and an exit code; bad input is never a traceback."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

import typer

from invite_sweeper.cli import colours
from invite_sweeper.cli.streams import lost_result, secure
from invite_sweeper.errors import ExitCode, PolicyFault, RunError


def explain(error: RunError) -> None:
    """Tell the person what happened, what state things are in, and the mend.

    A name in it can neither move the cursor nor begin a line of its own.
    """
    from invite_sweeper.report.values import visible

    if isinstance(error, PolicyFault):
        for line in error.lines():
            typer.echo(visible(line), err=True)
    colour = typer.colors.RED if colours.are_wanted() else None
    typer.secho(f"Error: {visible(error.message)}", err=True, fg=colour)
    for part in (error.consequence, error.hint):
        if part:
            typer.echo(f"  {visible(part)}", err=True)


def carry_out(program: Callable[[], object]) -> None:
    """Run the program and leave with the contract's exit code.

    Ctrl-C before a run begins ends with the code of an early stop; once it has begun the run
    listens to signals itself.
    """
    secure()
    signal.signal(signal.SIGINT, _leave)
    try:
        program()
    except RunError as error:
        explain(error)
        sys.exit(int(error.exit_code))
    finally:
        if (sentence := lost_result()) is not None:
            typer.echo(sentence, err=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    typer.echo("Stopped before anything was sent.", err=True)
    sys.exit(int(ExitCode.STOPPED))

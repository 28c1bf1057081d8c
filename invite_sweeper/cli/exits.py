"""Errors become a sentence on stderr and an exit code; bad input is never a traceback."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

import typer

from invite_sweeper.cli.streams import lost_result, secure
from invite_sweeper.errors import ExitCode, PolicyFault, RunError

_Given = ParamSpec("_Given")
_Told = TypeVar("_Told")


def explain(error: RunError) -> None:
    """Tell the person what happened, what state things are in, and the mend.

    A name in it can neither move the cursor nor begin a line of its own.
    """
    from invite_sweeper.report.values import visible

    if isinstance(error, PolicyFault):
        for line in error.lines():
            typer.echo(visible(line), err=True)
    colour = None if os.environ.get("NO_COLOR") else typer.colors.RED
    typer.secho(f"Error: {visible(error.what)}", err=True, fg=colour)
    for part in (error.state, error.mend):
        if part:
            typer.echo(f"  {visible(part)}", err=True)


def offline(command: Callable[_Given, _Told]) -> Callable[_Given, _Told]:
    """Mark a command that never calls Atlas: that it was not called is beside the point."""

    @wraps(command)
    def run(*arguments: _Given.args, **options: _Given.kwargs) -> _Told:
        try:
            return command(*arguments, **options)
        except RunError as error:
            error.state = ""
            raise

    return run


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

"""The program: its commands and exit codes.

A command's module is imported when the command is used, which keeps `--version` and `--help`
fast.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final

import click
from typing_extensions import override

from invite_sweeper import __version__
from invite_sweeper.cli.streams import (
    DOCUMENTATION,
    MAX_WIDTH,
    OUTPUTS,
    json_requested,
    print_error,
    secure,
    stdout_error,
)
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Interrupted, RunError, UsageError
from invite_sweeper.signals import install_handlers
from invite_sweeper.text import PROGRAM, PROGRAM_NAME, shell_command

COMMANDS: Final = {
    "demo": "Show a dry run and two sweeps against a simulated Atlas.",
    "init": "Write a first policy that is safe to run.",
    "sweep": "Find stale invitations and delete them.",
    "plan": "Show what a sweep would delete, and delete nothing.",
    "list": "List every pending invitation in scope, and from which day on it may go.",
    "explain": "Explain why an invitation is kept or deleted.",
    "restore": "Re-invite people whose invitations a run deleted.",
    "doctor": "Check that a sweep can run.",
    "validate": "Check a policy offline and list all errors.",
    "schema": "Print the JSON Schema of the policy, for editors.",
    "audit": "List, show and verify the runs of an audit directory.",
    "report": "Write a report of a period: an HTML page, or Markdown.",
    "simulate": "Serve a simulated Atlas on a port, for tests.",
    "help": "Show the documentation that ships with the program.",
}
"""The first sentence of the `--help` of each command; its module has its name, but for these."""
_MODULES: Final = {"plan": "sweep", "schema": "validate"}


class LazyCommands(click.Group):
    """The commands of `COMMANDS`, each imported when it is used."""

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"invite_sweeper.cli.{_MODULES.get(cmd_name, cmd_name)}")
        gc.freeze()  # no collection examines what was imported: it lives to the end
        command: click.Command = getattr(module, cmd_name)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    name=PROGRAM_NAME,
    cls=LazyCommands,
    commands={name: click.Command(name) for name in COMMANDS},  # what an unknown name is near to
    epilog=(
        f"Exit codes: {'; '.join(f'{code} {code.label}' for code in ExitCode)} "
        "(--detailed-exitcode).\n\n"
        f"Try it without an account: invite-sweeper demo\n\n{DOCUMENTATION}"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_WIDTH},
)
@click.version_option(__version__, message="invite-sweeper %(version)s")
def app() -> None:
    """Keep MongoDB Atlas organizations free of stale pending invitations."""


_OBJECTS_PER_COLLECTION: Final = 50_000
"""The default of 700 costs about 7 % of a sweep's processor time."""


def main() -> None:
    """Run the program and exit with the contract's exit code (`help exit-codes` has the table).

    With `--output json`, stdout gets one object on every exit. A signal before a run starts
    exits with 8; a run handles signals itself.
    """
    # No other installed package may change how a policy is read.
    # Source: https://docs.pydantic.dev/latest/concepts/plugins/ (read 2026-08).
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    # Nearly everything in this process is freed without the collector or lives to its end.
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    secure()
    PROGRAM.called_as = called_as(sys.argv[0])
    install_handlers(_exit_interrupted)
    OUTPUTS.is_json = json_requested(sys.argv[1:])
    try:
        _check_arguments(sys.argv[1:])
        sys.exit(app(prog_name=PROGRAM_NAME, standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(int(ExitCode.USAGE))
    except (click.ClickException, RunError) as error:
        failed = error if isinstance(error, RunError) else _usage_error(error)
        print_error(failed)
        OUTPUTS.write_error(failed)
        sys.exit(int(failed.exit_code))
    except _InterruptedExit:
        OUTPUTS.write_error(Interrupted("Interrupted.", hint="Run the command again."))
        raise
    except Exception as error:
        OUTPUTS.write_error(_defect(error))
        raise
    finally:
        if (message := stdout_error()) is not None:
            click.echo(message, err=True)
        # Python's last collections would examine every object of a process that ends anyway,
        # which takes as long as a third of a start.
        gc.freeze()


def called_as(script: str) -> str:
    """Return the name of the program, or the path of its script where the name finds another.

    Args:
        script: As in `sys.argv[0]`; of `python -m invite_sweeper` it names a module.
    """
    if os.sep not in script or Path(script).name != PROGRAM_NAME:
        return PROGRAM_NAME
    # Not `shutil.which`: shutil imports each format of an archive, and `--version` waits for it.
    for folder in os.get_exec_path():
        path = Path(folder, PROGRAM_NAME)
        if os.access(path, os.X_OK):  # the first one is what a shell runs
            return PROGRAM_NAME if path.samefile(script) else script
    return script


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise UsageError if an argument cannot be written to a log or a result."""
    for argument in arguments:
        # Python decodes a byte that is not UTF-8 as one of these (PEP 383).
        if any("\udc80" <= character <= "\udcff" for character in argument):
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            raise UsageError(
                f"An argument is not valid UTF-8: {shown}.", hint="Use names in UTF-8."
            )


def _usage_error(error: click.ClickException) -> UsageError:
    """Return an error of click as one of the program, with the `--help` of its command as hint."""
    message = " ".join(error.format_message().split())
    if not message.endswith((".", "?", ")")):
        message = f"{message}."
    context: click.Context | None = getattr(error, "ctx", None)
    _, *names = context.command_path.split() if context is not None else (PROGRAM_NAME,)
    return UsageError(message, hint="See:", command=shell_command(*names, "--help"))


def _defect(error: Exception) -> RunError:
    """Return a defect of the program as an error; its traceback is on stderr."""
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return RunError(
        f"Internal error: {what}.",
        consequence="What was sent to Atlas has its intent in the audit log.",
        hint="Please report it, with the traceback on standard error.",
    )


_STDERR_FD: Final = 2


class _InterruptedExit(SystemExit):
    """The exit after a signal that no run handled."""


def _exit_interrupted(_number: int, _frame: FrameType | None) -> None:
    """Exit; another signal ends the process, also where it waits for the reader of its output."""
    install_handlers(signal.SIG_DFL)
    at_prompt = b"\n" if os.isatty(_STDERR_FD) else b""
    with suppress(OSError):
        os.write(_STDERR_FD, at_prompt + b"Interrupted. Nothing was deleted.\n")
    raise _InterruptedExit(int(ExitCode.INTERRUPTED))

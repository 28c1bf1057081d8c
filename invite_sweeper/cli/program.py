"""The program: its commands put together.

Nothing but typer is imported here; each command imports what it needs when it is called, so
that `--version` and `--help` answer at once.
"""

from typing import Annotated

import typer

from invite_sweeper import __version__
from invite_sweeper.cli import (
    audit,
    demo,
    doctor,
    explain,
    policies,
    report,
    restore,
    simulate,
    sweep,
)
from invite_sweeper.errors import ExitCode

app = typer.Typer(
    name="invite-sweeper",
    help="Keeps a MongoDB Atlas organization free of stale pending invitations.",
    epilog=(
        f"Exit codes: {'; '.join(f'{code} {code.label}' for code in ExitCode)} "
        "(--detailed-exitcode).\n\n"
        "Try it without an account: invite-sweeper demo"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text reads like a manual page, and starts faster
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"invite-sweeper {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keeps a MongoDB Atlas organization free of stale pending invitations."""


for module in (demo, sweep, explain, restore, doctor, policies, audit, report, simulate):
    module.register(app)

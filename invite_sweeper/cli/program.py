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

app = typer.Typer(
    name="invite-sweeper",
    help="Keeps a MongoDB Atlas organization free of stale pending invitations.",
    epilog=(
        "Exit codes: 0 done, 1 a defect, 2 wrong usage or a faulty policy, 3 a guard refused, "
        "4 partly done, 5 credentials refused, 6 Atlas is out of reach, 7 the audit log cannot "
        "be written, 8 stopped early, 9 another run holds the lock, 10 a dry run found stale "
        "invitations (--detailed-exitcode).\n\n"
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

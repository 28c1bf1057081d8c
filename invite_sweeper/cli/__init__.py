"""The commands a person types, a file each.

Nothing but typer is imported here; each command imports what it needs when it is called, so
that `--version` and `--help` answer at once.
"""

from typing import Annotated

import typer

from invite_sweeper import __version__
from invite_sweeper.cli import audit, demo, doctor, explain, policies, restore, simulate, sweep
from invite_sweeper.cli.exits import carry_out

app = typer.Typer(
    name="invite-sweeper",
    help="Keeps a MongoDB Atlas organization free of stale pending invitations.",
    epilog="Try it without an account: invite-sweeper demo",
    no_args_is_help=True,
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


for module in (demo, sweep, explain, restore, doctor, policies, audit, simulate):
    module.register(app)


def main() -> None:
    """Run the program; its exit code tells how it went (README.md has the table)."""
    carry_out(app)

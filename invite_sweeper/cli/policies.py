"""`validate` and `schema`: a policy without Atlas."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from invite_sweeper.cli.offline import offline
from invite_sweeper.cli.options import DEFAULT_POLICY


@offline
def validate(
    path: Annotated[
        Path,
        typer.Argument(envvar="INVITE_SWEEPER_POLICY", metavar="POLICY", help="The policy."),
    ] = DEFAULT_POLICY,
) -> None:
    """Tell every fault of a policy at once; no network.

    Example: invite-sweeper validate config/policy.yaml
    """
    from datetime import UTC, datetime

    from invite_sweeper.policy.loader import read

    policy = read(path)
    for warning in policy.warnings(datetime.now(UTC).date()):
        typer.echo(f"{path}: warning: {warning}", err=True)
    typer.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


def schema() -> None:
    """Write the policy's JSON Schema, for editors.

    Example: invite-sweeper schema > policy.schema.json
    """
    import orjson

    from invite_sweeper.policy import json_schema

    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(json_schema(), option=option))


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the program."""
    app.command()(validate)
    app.command()(schema)

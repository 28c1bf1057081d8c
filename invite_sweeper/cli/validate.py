"""Commands `validate` and `schema`, which need no network."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from invite_sweeper.cli.options import DEFAULT_POLICY, offline
from invite_sweeper.policy import json_schema
from invite_sweeper.policy.loader import load_policy

app = typer.Typer(rich_markup_mode=None)


@app.command()
@offline
def validate(
    path: Annotated[
        Path,
        typer.Argument(envvar="INVITE_SWEEPER_POLICY", metavar="POLICY", help="The policy file."),
    ] = DEFAULT_POLICY,
) -> None:
    """Check a policy offline and list all errors.

    Example: invite-sweeper validate config/policy.yaml
    """
    policy = load_policy(path)
    for warning in policy.warnings(datetime.now(UTC).date()):
        typer.echo(f"{path}: warning: {warning}", err=True)
    typer.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


@app.command()
def schema() -> None:
    """Print the policy's JSON Schema, for editors.

    Example: invite-sweeper schema > policy.schema.json
    """
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(json_schema(), option=option))

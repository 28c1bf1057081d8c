"""Command `plan`: a sweep that stops before its first DELETE."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from invite_sweeper.cli.console import run_async
from invite_sweeper.cli.options import FILE, SWEEP, RunOptions, SectionedCommand, options
from invite_sweeper.cli.sweep import run_command


@click.command(cls=SectionedCommand)
@click.argument(
    "policy_argument", help="The policy file.", metavar="[POLICY]", required=False, type=FILE
)
@options(*(name for name in SWEEP if name not in {"dry_run", "yes"}))
def plan(policy_argument: Path | None, **given: Any) -> None:
    """Show what a sweep would delete, and delete nothing.

    The file that the run leaves in the audit directory is the plan: `sweep --plan` takes it.

    Example: invite-sweeper plan policy.yaml
    """
    if policy_argument is not None:
        source = click.get_current_context().get_parameter_source("policy")
        if source is ParameterSource.COMMANDLINE and given["policy"] != policy_argument:
            raise click.UsageError(
                f"Two policies: {policy_argument} and --policy {given['policy']}."
            )
        given["policy"] = policy_argument
    raise SystemExit(run_async(run_command(RunOptions(**given, dry_run=True))))

"""Command `sweep`: find stale invitations and delete them."""

import typer

from invite_sweeper.cli.options import ALL, RunOptions, takes
from invite_sweeper.cli.sweep_session import run_sweep
from invite_sweeper.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command()
@takes(RunOptions, *ALL)
def sweep(options: RunOptions, ctx: typer.Context) -> None:
    """Find stale invitations and delete them.

    Every step is recorded in the audit log. On a terminal the plan is shown first and must be
    confirmed.

    Example: invite-sweeper sweep --policy config/policy.yaml --dry-run
    """
    if options.plan_sha256 is not None and options.plan is None:
        raise UsageError("--plan-sha256 needs a plan.", hint="Add --plan FILE.")
    if options.plan is None and _is_explicit(ctx, "plan_max_age"):
        raise UsageError("--plan-max-age needs a plan.", hint="Add --plan FILE.")
    raise typer.Exit(run_sweep(options))


def _is_explicit(ctx: typer.Context, parameter: str) -> bool:
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"

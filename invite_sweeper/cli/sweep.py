"""Command `sweep`: find stale invitations and delete them."""

from typing import Annotated

import typer

from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_PLAN_MAX_AGE,
    DEFAULT_POLICY,
    SAFETY,
    AcceptPolicy,
    AcceptPopulation,
    AuditPath,
    BaseUrl,
    CheckpointFile,
    Deadline,
    DetailedExitCode,
    LogFormat,
    LogFormatOption,
    MetricsFile,
    NewLog,
    Output,
    OutputOption,
    PlanMaxAge,
    PlanOut,
    PolicyPath,
    PopulationOption,
    Pushgateway,
    Quiet,
    RequireApproval,
    RunOptions,
    SavedPlanFile,
    SavedPlanOptions,
    ShardOption,
    Verbose,
    Yes,
)
from invite_sweeper.cli.sweep_session import run_sweep
from invite_sweeper.errors import UsageError
from invite_sweeper.policy.loader import parse_duration_option

app = typer.Typer(rich_markup_mode=None)


@app.command()
def sweep(
    ctx: typer.Context,
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    new_log: NewLog = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Write the plan and delete nothing.", rich_help_panel=SAFETY
        ),
    ] = False,
    out: PlanOut = None,
    saved: SavedPlanFile = None,
    plan_max_age: PlanMaxAge = DEFAULT_PLAN_MAX_AGE,
    require_approval: RequireApproval = None,
    accept_policy: AcceptPolicy = None,
    accept_population: AcceptPopulation = False,
    output: OutputOption = Output.TEXT,
    detailed_exitcode: DetailedExitCode = False,
    yes: Yes = False,
    shard: ShardOption = None,
    population: PopulationOption = None,
    metrics_file: MetricsFile = None,
    pushgateway: Pushgateway = None,
    deadline: Deadline = None,
    checkpoint_file: CheckpointFile = None,
    log_format: LogFormatOption = LogFormat.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find stale invitations and delete them.

    Every step is recorded in the audit log. On a terminal the plan is shown first and must be
    confirmed.

    Example: invite-sweeper sweep --policy config/policy.yaml --dry-run
    """
    if require_approval is not None and saved is None:
        raise UsageError("--require-approval needs a plan.", hint="Add --plan FILE.")
    if saved is None and _is_explicit(ctx, "plan_max_age"):
        raise UsageError("--plan-max-age needs a plan.", hint="Add --plan FILE.")
    plan = None
    if saved is not None:
        max_age = parse_duration_option("--plan-max-age", plan_max_age)
        plan = SavedPlanOptions(saved, max_age, require_approval)
    options = RunOptions(
        policy=policy,
        base_url=base_url,
        audit_log=audit_log,
        dry_run=dry_run,
        out=out,
        plan=plan,
        accept_policy=accept_policy,
        accept_population=accept_population,
        output=output,
        detailed_exitcode=detailed_exitcode,
        yes=yes,
        shard=shard,
        population=population,
        metrics_file=metrics_file,
        pushgateway=pushgateway,
        deadline=deadline,
        log_format=log_format,
        quiet=quiet,
        verbose=verbose,
        checkpoint_file=checkpoint_file,
        new_log=new_log,
    )
    raise typer.Exit(run_sweep(options))


def _is_explicit(ctx: typer.Context, parameter: str) -> bool:
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"

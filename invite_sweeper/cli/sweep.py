"""Commands `sweep`, `plan` and `plan approve`."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_PLAN_MAX_AGE,
    DEFAULT_POLICY,
    AcceptPolicy,
    AcceptPopulation,
    AuditPath,
    BaseUrl,
    CheckpointFile,
    Deadline,
    DetailedExitCode,
    MetricsFile,
    NewLog,
    Output,
    OutputOption,
    PlanMaxAge,
    PlanOut,
    PolicyPath,
    Pushgateway,
    Quiet,
    RequireApproval,
    RunOptions,
    SavedPlanFile,
    SavedPlanOptions,
    ShardOption,
    Verbose,
    Yes,
    offline,
)
from invite_sweeper.cli.session import run_session
from invite_sweeper.errors import UsageError
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.sweep.saved_plan import approve as approve_plan

app = typer.Typer(rich_markup_mode=None)

plan_app = typer.Typer(rich_markup_mode=None)
app.add_typer(plan_app, name="plan")

_Parameters = ParamSpec("_Parameters")
_PLAN_HELP = """Find stale invitations and delete nothing: sweep --dry-run.

Example: invite-sweeper plan --policy config/policy.yaml --detailed-exitcode
"""


@app.command()
def sweep(
    ctx: typer.Context,
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the plan and delete nothing.")
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
    metrics_file: MetricsFile = None,
    pushgateway: Pushgateway = None,
    deadline: Deadline = None,
    checkpoint_file: CheckpointFile = None,
    new_log: NewLog = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find stale invitations and delete them.

    Every step is recorded in the audit log. On a terminal the plan is shown first and must be
    confirmed.

    Example: invite-sweeper sweep --policy config/policy.yaml --dry-run
    """
    if ctx.invoked_subcommand is not None:  # `plan approve`, since `plan` is this command too
        return
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
        metrics_file=metrics_file,
        pushgateway=pushgateway,
        deadline=deadline,
        quiet=quiet,
        verbose=verbose,
        checkpoint_file=checkpoint_file,
        new_log=new_log,
    )
    raise typer.Exit(run_session(options))


def _as_dry_run(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Return the command with the same options, as a dry run."""

    @wraps(command)
    def run(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> None:
        options["dry_run"] = True
        command(*arguments, **options)

    return run


plan_app.callback(invoke_without_command=True, help=_PLAN_HELP)(_as_dry_run(sweep))


@plan_app.command()
@offline
def approve(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The saved plan.")],
    key: Annotated[Path, typer.Option("--key", metavar="PRIVATE_KEY", help="Your ed25519 key.")],
) -> None:
    """Approve a saved plan by signing it; the signature is FILE.sig.

    Example: invite-sweeper plan approve plan.jsonl --key ~/.ssh/id_ed25519
    """
    typer.echo(f"Approval written to {approve_plan(file, key)}.")


def _is_explicit(ctx: typer.Context, parameter: str) -> bool:
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"

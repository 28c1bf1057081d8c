"""`sweep` and `plan`: the run itself, from the command line."""

from typing import Annotated

import typer

from invite_sweeper.cli.options import (
    DEFAULT_BASE_URL,
    DEFAULT_POLICY,
    AuditPath,
    BaseUrl,
    Deadline,
    DetailedExitCode,
    Format,
    MetricsFile,
    Output,
    PlanOut,
    PolicyPath,
    Quiet,
    ShardOption,
    Verbose,
    Yes,
)


def sweep(
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop before the first DELETE.")
    ] = False,
    out: PlanOut = None,
    output: Format = Output.TEXT,
    detailed_exitcode: DetailedExitCode = False,
    yes: Yes = False,
    shard: ShardOption = None,
    metrics_file: MetricsFile = None,
    deadline: Deadline = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find stale invitations, and delete them; every step in the audit log.

    Example: invite-sweeper sweep --policy config/policy.yaml --dry-run
    """
    from invite_sweeper.cli.running import Order, execute

    order = Order(
        policy=policy,
        base_url=base_url,
        audit_log=audit_log,
        dry_run=dry_run,
        out=out,
        output=output,
        detailed_exitcode=detailed_exitcode,
        yes=yes,
        shard=shard,
        metrics_file=metrics_file,
        deadline=deadline,
        quiet=quiet,
        verbose=verbose,
    )
    raise typer.Exit(execute(order))


def plan(
    policy: PolicyPath = DEFAULT_POLICY,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    audit_log: AuditPath = None,
    out: PlanOut = None,
    output: Format = Output.TEXT,
    detailed_exitcode: DetailedExitCode = False,
    shard: ShardOption = None,
    metrics_file: MetricsFile = None,
    deadline: Deadline = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find stale invitations and delete nothing: the same as sweep --dry-run.

    Example: invite-sweeper plan --policy config/policy.yaml --detailed-exitcode
    """
    sweep(
        policy=policy,
        base_url=base_url,
        audit_log=audit_log,
        dry_run=True,
        out=out,
        output=output,
        detailed_exitcode=detailed_exitcode,
        shard=shard,
        metrics_file=metrics_file,
        deadline=deadline,
        quiet=quiet,
        verbose=verbose,
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the program."""
    app.command()(sweep)
    app.command()(plan)

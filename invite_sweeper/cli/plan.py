"""Commands `plan`, `plan show` and `plan approve`."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer
from rich.console import Console
from typer.core import TyperGroup

from invite_sweeper.audit import LogPath
from invite_sweeper.cli.confirm import Confirmation
from invite_sweeper.cli.console import run_async, stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.log import configure_logging
from invite_sweeper.cli.options import (
    DEFAULT_PLAN_MAX_AGE,
    Output,
    OutputOption,
    PlanMaxAge,
    Yes,
    offline,
    value,
)
from invite_sweeper.cli.sweep import sweep
from invite_sweeper.errors import Cancelled, RunError, UsageError
from invite_sweeper.keys import fingerprint
from invite_sweeper.last_resort import LastResort
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.program import command
from invite_sweeper.report.saved_plan import PlanStatus, PlanUse, SavedPlanResult, show_saved_plan
from invite_sweeper.shutdown import StopRequest, handle_signals
from invite_sweeper.sweep import approval, saved_plan
from invite_sweeper.sweep.approval import Approval
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.saved_plan import SavedPlan
from invite_sweeper.text import escape_unprintable, pluralize

app = typer.Typer(rich_markup_mode=None)


class _PlanGroup(TyperGroup):
    """The command `plan`: it accepts every option of `sweep`, and lists those of a dry run."""

    def __init__(self, *, params: list[Any], **settings: Any) -> None:  # noqa: ANN401
        for each in params:
            each.hidden |= each.name in _SWEEP_ONLY
        super().__init__(params=params, **settings)


_SWEEP_ONLY: Final = frozenset({"dry_run", "plan", "plan_max_age", "require_approval", "yes"})
"""Parameters of `sweep` about a deletion, which `plan --help` does not list."""

plan_app = typer.Typer(rich_markup_mode=None)
app.add_typer(plan_app, name="plan")

_Parameters = ParamSpec("_Parameters")
_PLAN_HELP = """Show what a sweep would delete, and delete nothing.

It is the dry run of a sweep, and says whether a guard would refuse it. With --out it saves the
plan that sweep --plan deletes.

Example: invite-sweeper plan --policy config/policy.yaml --detailed-exitcode
"""


def _as_dry_run(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Return the command with the options of a dry run."""

    @wraps(command)
    def run(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> None:
        if getattr(options["ctx"], "invoked_subcommand", None) is not None:
            return  # `plan show` or `plan approve`
        options["dry_run"] = True
        command(*arguments, **options)

    return run


plan_app.callback(
    cls=_PlanGroup, invoke_without_command=True, subcommand_metavar="[COMMAND]", help=_PLAN_HELP
)(_as_dry_run(sweep))

PlanFile = Annotated[Path, typer.Argument(metavar="FILE", help="The saved plan.")]
LogOfPlan = Annotated[
    str | None,
    value(
        None,
        "PATH",
        "The audit log that records the use of plans; default: the one the plan names.",
    ),
]
AllRows = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print all invitations, not the first 50.")
]


@plan_app.command()
@offline
def show(
    file: PlanFile,
    key: Annotated[
        Path | None, value(None, "KEYFILE", "Check the approval with this public ed25519 key.")
    ] = None,
    audit_log: LogOfPlan = None,
    plan_max_age: PlanMaxAge = DEFAULT_PLAN_MAX_AGE,
    output: OutputOption = Output.TEXT,
    verbose: AllRows = False,
) -> None:
    """Show what a saved plan would delete; no network.

    Says whether the plan is too old, was used, and is signed. A plan that was edited or
    truncated is refused (exit 3).

    Example: invite-sweeper plan show plan.jsonl
    """
    max_age = parse_duration_option("--plan-max-age", plan_max_age)
    status = _plan_status(file, saved_plan.load(file), audit_log, max_age, key)
    if output is Output.JSON:
        write_json(SavedPlanResult.of(status))
    else:
        _present(stdout_console(), status, verbose=verbose)


@plan_app.command()
def approve(
    file: PlanFile,
    key: Annotated[Path, value(None, "PRIVATE_KEY", "Your ed25519 key.")],
    audit_log: LogOfPlan = None,
    plan_max_age: PlanMaxAge = DEFAULT_PLAN_MAX_AGE,
    yes: Yes = False,
    verbose: AllRows = False,
) -> None:
    """Show a saved plan and sign it; the signature is FILE.sig.

    Asks for confirmation on a terminal; elsewhere --yes is required. A plan that is too old,
    dated in the future, edited or used is refused (exit 3).

    Example: invite-sweeper plan approve plan.jsonl --key ~/.ssh/id_ed25519
    """
    try:
        max_age = parse_duration_option("--plan-max-age", plan_max_age)
        is_interactive = Confirmation.is_interactive()
        if not (yes or is_interactive):
            raise UsageError(
                "Cannot ask for confirmation: the input is not a terminal.",
                hint="Read the plan with `plan show`, then add --yes.",
            )
        saved = saved_plan.load(file)
        signed = approval.sign(saved, key, _ask_passphrase if is_interactive else None)
        raise typer.Exit(
            run_async(_approve(file, saved, signed, audit_log, max_age, yes=yes, verbose=verbose))
        )
    except RunError as error:
        error.consequence = approval.NOT_APPROVED
        raise


def _ask_passphrase(question: str) -> str:
    try:
        return getpass(question)
    except EOFError:
        raise Cancelled("Cancelled.", consequence=approval.NOT_APPROVED) from None


async def _approve(
    file: Path,
    saved: SavedPlan,
    signed: Approval,
    audit_log: str | None,
    max_age: timedelta,
    *,
    yes: bool,
    verbose: bool,
) -> int:
    """Check, show, ask and write; what is signed is what was shown, not what the file is later."""
    path = approval.signature_path(file)
    approval.check_replaceable(path)
    status = _plan_status(file, saved, audit_log, max_age, None)
    saved_plan.check_age(saved, now=status.now, max_age=max_age)
    if status.use.run_id is not None:
        raise saved_plan.used_error(file, f"run {status.use.run_id}")
    if yes:
        _present(stdout_console(), status, verbose=verbose)
    else:
        await _confirm(status, verbose=verbose)
    approval.write(path, signed)
    typer.echo(f"Approved with the key {fingerprint(signed.key)}. The signature is {path}.")
    return 0


async def _confirm(status: PlanStatus, *, verbose: bool) -> None:
    """Raise GuardRefused unless the user confirmed on the terminal."""
    stop = StopRequest()

    def present(console: Console, status: PlanStatus) -> None:
        _present(console, status, verbose=verbose)
        count = pluralize(len(status.saved.invitations), "invitation")
        organizations = escape_unprintable(", ".join(status.labels.values()))
        console.print(f"\nApprove the deletion of {count} in {organizations}?", soft_wrap=True)

    log = configure_logging(quiet=False, verbose=False)
    with (
        LastResort(started_s=time.monotonic(), deadline_s=math.inf, grace_s=0.0) as last_resort,
        handle_signals(stop, log, last_resort),
    ):
        agreed = await Confirmation(stop, present)(status)
    if stop.reason is not None:
        raise stop.as_error(consequence=approval.NOT_APPROVED)
    if not agreed:
        raise Cancelled("Cancelled.", consequence="The plan was not approved.")


def _present(console: Console, status: PlanStatus, *, verbose: bool) -> None:
    show_all = command("plan", "show", "--verbose", str(status.path))
    show_saved_plan(console, status, verbose=verbose, show_all=show_all)


def _plan_status(
    file: Path, saved: SavedPlan, audit_log: str | None, max_age: timedelta, key: Path | None
) -> PlanStatus:
    return PlanStatus(
        path=file,
        saved=saved,
        now=datetime.now(UTC),
        max_age=max_age,
        use=_find_use(file, saved, audit_log),
        approval=approval.check_approval(saved, approval.signature_path(file), key),
        any_key=key is None,
    )


def _find_use(file: Path, saved: SavedPlan, audit_log: str | None) -> PlanUse:
    """Return whether a sweep applied the plan, by the file beside it and by the audit log.

    A log without the run that created the plan is another one: it proves nothing.
    """
    if (applied := saved_plan.read_applied(file, saved)) is not None:
        return PlanUse(applied.run_id)
    if audit_log is not None:
        log_path = LogPath.parse(audit_log)
    elif saved.context.audit_log is not None:
        log_path = LogPath(saved.context.audit_log)
    else:
        return PlanUse(unknown="the plan does not name its audit log.")
    history = read_previous_runs(log_path)
    applied_by = history.applied_by(saved.digest)
    if applied_by is not None:
        return PlanUse(applied_by.run_id)
    if history.run(saved.context.run_id) is None:
        return PlanUse(unknown=f"{log_path.template} is not the log of the run that created it.")
    return PlanUse()

"""Commands `plan` and `plan show`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer
from rich.console import Console
from typer.core import TyperGroup

from invite_sweeper.audit import LogPath
from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.json_output import write_json
from invite_sweeper.cli.options import (
    DEFAULT_PLAN_MAX_AGE,
    Output,
    OutputOption,
    PlanMaxAge,
    offline,
    value,
)
from invite_sweeper.cli.sweep import sweep
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.program import command
from invite_sweeper.report.saved_plan import PlanStatus, PlanUse, SavedPlanResult, show_saved_plan
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.saved_plan import SavedPlan

app = typer.Typer(rich_markup_mode=None)


class _PlanGroup(TyperGroup):
    """The command `plan`: it accepts every option of `sweep`, and lists those of a dry run."""

    def __init__(self, *, params: list[Any], **settings: Any) -> None:  # noqa: ANN401
        for each in params:
            each.hidden |= each.name in _SWEEP_ONLY
        super().__init__(params=params, **settings)


_SWEEP_ONLY: Final = frozenset({"dry_run", "plan", "plan_max_age", "plan_sha256", "yes"})
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
            return  # `plan show`
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
    audit_log: LogOfPlan = None,
    plan_max_age: PlanMaxAge = DEFAULT_PLAN_MAX_AGE,
    output: OutputOption = Output.TEXT,
    verbose: AllRows = False,
) -> None:
    """Show what a saved plan would delete; no network.

    Says whether the plan is too old or was used. A plan that was edited or truncated is refused
    (exit 3).

    Example: invite-sweeper plan show plan.jsonl
    """
    max_age = parse_duration_option("--plan-max-age", plan_max_age)
    status = _plan_status(file, saved_plan.load(file), audit_log, max_age)
    if output is Output.JSON:
        write_json(SavedPlanResult.of(status))
    else:
        _present(stdout_console(), status, verbose=verbose)


def _present(console: Console, status: PlanStatus, *, verbose: bool) -> None:
    show_all = command("plan", "show", "--verbose", str(status.path))
    show_saved_plan(console, status, verbose=verbose, show_all=show_all)


def _plan_status(
    file: Path, saved: SavedPlan, audit_log: str | None, max_age: timedelta
) -> PlanStatus:
    return PlanStatus(
        path=file,
        saved=saved,
        now=datetime.now(UTC),
        max_age=max_age,
        use=_find_use(file, saved, audit_log),
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

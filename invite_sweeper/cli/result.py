"""How a run went, on stdout; what needs attention and each error once, on stderr."""

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from invite_sweeper.audit import RunRecord
from invite_sweeper.cli.console import stdout_console, write_json
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.settings import Settings
from invite_sweeper.cli.streams import print_error, print_error_parts
from invite_sweeper.endings import Reason
from invite_sweeper.errors import Cancelled
from invite_sweeper.report import terminal
from invite_sweeper.report.document import Fact
from invite_sweeper.report.run import (
    PlanToApply,
    lines_to_pass_on,
    result_json,
    result_of,
    what_needs_attention,
)
from invite_sweeper.report.story import errors_of


def print_result(
    settings: Settings,
    log: FilteringBoundLogger,
    run: RunRecord,
    *,
    plan: PlanToApply | None = None,
    has_shown_plan: bool = False,
) -> None:
    """Write the result to stdout; what needs attention, and each error once, to stderr.

    Args:
        plan: Of a dry run, if a sweep can apply it.
        has_shown_plan: A question has shown the plan on this terminal.
    """
    options = settings.options
    advisor = settings.advisor
    is_json = options.output == "json"
    if is_json:
        write_json(result_json(run, plan))
    elif not options.quiet:
        console = stdout_console()
        lines_of_plan: tuple[Fact, ...] = ()
        if plan is not None:
            deciding = _deciding_options(options, run)
            lines_of_plan = tuple(lines_to_pass_on(plan, run, advisor, *deciding))
        result = result_of(
            run,
            advisor,
            plan=lines_of_plan,
            # The question was on stderr: stdout may be a file, which has all of the plan.
            differing_only=has_shown_plan and console.is_terminal,
            shown_above={"error", "warning"} if console.is_terminal else {"error"},
        )
        terminal.show_document(console, result)
    if is_json or options.quiet:
        for line in what_needs_attention(run, advisor).brief():
            command = {"command": line.command} if line.command else {}
            log.warning(line.text, **command)
    _print_errors(run)


def print_end_at_question(options: RunOptions, run: RunRecord) -> None:
    """Print why a run ended at its question, below which nothing has changed: no, or a stop."""
    if options.output == "json":
        write_json(result_json(run))
    end = run.end
    if end is not None and Reason.NOT_CONFIRMED in end.reasons:
        print_error(Cancelled("Cancelled."))
    else:
        _print_errors(run)


def _print_errors(run: RunRecord) -> None:
    """Print each error of a run and of its organizations once."""
    if run.end is not None:
        for parts in errors_of(run.end):
            print_error_parts(parts)


def _deciding_options(options: RunOptions, record: RunRecord) -> Sequence[str]:
    """Return the options that decided about a plan: the sweep that applies it needs them, too."""
    words: list[str] = []
    if record.start.shard is not None:
        words += ["--shard", record.start.shard]
    if options.plan_max_age != RunOptions().plan_max_age:
        words += ["--plan-max-age", options.plan_max_age]
    return words

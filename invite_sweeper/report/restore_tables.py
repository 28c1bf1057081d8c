"""The result and the plan of a restore as tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.endings import ExitCode, Status
from invite_sweeper.report.rows import (
    INVITED,
    LIST,
    PLACE,
    RESULT,
    ROLES,
    Row,
    display_text,
    row_of,
    row_order,
)
from invite_sweeper.report.tables import RightTrimmed, cell_text, line_text, wrap_parts
from invite_sweeper.restore.deletions import DeletedInvitation
from invite_sweeper.restore.report import RestoreReport
from invite_sweeper.restore.restorer import MAX_PER_MINUTE
from invite_sweeper.text import escape_unprintable, organization_label, plural_form, pluralize

_FEDERATION = (
    "Atlas adds users of a federated organization at once as active members, without an acceptance."
)


def show_result(console: Console, report: RestoreReport) -> None:
    """Write the result of each deletion and the totals; control characters are escaped."""
    console.print(_heading(report), soft_wrap=True)
    if report.deletions:
        _show_rows(console, report, report.deletions)
    else:
        console.print("Nothing to restore: the log has no matching deletion.")
    if report.dry_run and report.to_restore:
        _show_notes(console, report)
    if report.uncertain:
        console.print(RightTrimmed(_uncertain_table(report)), end="")
    for line in _total_lines(report):
        console.print(line, soft_wrap=True)


def show_restore_plan(console: Console, report: RestoreReport) -> None:
    """Write who would be invited, and the question."""
    console.print(_heading(report), soft_wrap=True)
    _show_rows(console, report, report.to_restore)
    _show_notes(console, report)
    minutes = (len(report.to_restore) - 1) // MAX_PER_MINUTE
    duration = (
        f", which takes {pluralize(minutes, 'minute')} at {MAX_PER_MINUTE} a minute"
        if minutes
        else ""
    )
    users = pluralize(len(report.to_restore), "user")
    console.print(f"Re-invite {users}{duration}?", soft_wrap=True)


def _show_notes(console: Console, report: RestoreReport) -> None:
    for note in (_FEDERATION, *report.warnings):
        console.print(Text(escape_unprintable(note)), soft_wrap=True)


def _heading(report: RestoreReport) -> Text:
    kind = "Dry run of a restore" if report.dry_run else "Restore"
    run = f" of run {escape_unprintable(report.undone_run)}" if report.undone_run else ""
    names = (
        escape_unprintable(organization_label(each, report.organization_names.get(each)))
        for each in report.organizations
    )
    where = plural_form(len(report.organizations), "organization", "organizations")
    organizations = f" in {where} {', '.join(names)}" if report.organizations else ""
    return Text.assemble((f"{kind}{run}", "bold"), f"{organizations} at {report.base_url}")


def _uncertain_table(report: RestoreReport) -> RenderableType:
    """Return the users that the run may have deleted, with what is known."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    for row in _rows(report, report.uncertain):
        table.add_row(*map(Text, (row.user, row.place.name, row.detail)))
    users = pluralize(len(report.uncertain), "user")
    are = plural_form(len(report.uncertain), "is", "are")
    heading = f"{users} that the run may have deleted {are} missing, and not restored"
    return Group(Text(f"{heading}; --include-recovered does:", style="bold yellow"), table)


_UNLIMITED_CELLS = 10_000
"""A width at which the measure of a table is what it needs, not what it has."""
_COLUMNS = (INVITED, PLACE, ROLES, LIST, RESULT)


def _show_rows(
    console: Console, report: RestoreReport, deletions: Sequence[DeletedInvitation]
) -> None:
    """Write a table, or two lines for each invitation where the terminal is too narrow for one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in _COLUMNS:
        table.add_column(column.heading.upper(), overflow="fold")
    rows = _rows(report, deletions)
    for row in rows:
        table.add_row(*(cell_text(column.cell(row)) for column in _COLUMNS))
    unlimited = console.options.update(max_width=_UNLIMITED_CELLS)
    if console.measure(table, options=unlimited).maximum <= console.width:
        console.print(RightTrimmed(table), end="")
        return
    for row in rows:
        cells = (column.cell(row) for column in (RESULT, PLACE, ROLES, LIST))
        parts = [line_text(line) for cell in cells for line in cell.lines]
        details = (Padding(line, (0, 0, 0, 2)) for line in wrap_parts(parts, console.width - 2))
        console.print(RightTrimmed(Group(cell_text(INVITED.cell(row)), *details)), end="")


def _rows(report: RestoreReport, deletions: Sequence[DeletedInvitation]) -> list[Row]:
    """Return the rows of deletions in their order: owners first, then the oldest."""
    names = report.organization_names
    labels = {each: organization_label(each, names.get(each)) for each in report.organizations}
    found = [
        (InvitationFields.from_invitation(each.invitation, report.now), each) for each in deletions
    ]
    found.sort(key=lambda each: row_order(each[0]))
    return [_row(report, deleted, row_of(fields, labels)) for fields, deleted in found]


def _row(report: RestoreReport, deleted: DeletedInvitation, row: Row) -> Row:
    result = report.results.get(deleted)
    detail = result.reason or result.error_code or "" if result is not None else deleted.doubt
    return replace(row, outcome=report.outcome_of(deleted), detail=display_text(detail))


def _total_lines(report: RestoreReport) -> Iterator[Text]:
    outcomes = ", ".join(
        f"{count:,} {outcome.value.replace('_', ' ')}" for outcome, count in report.outcomes.items()
    )
    if report.dry_run:
        yield Text.assemble(
            ("Dry run: ", "bold"),
            f"no one was invited; {len(report.to_restore):,} of {len(report.deletions):,} would be",
        )
    if outcomes:
        code = ExitCode(report.exit_code)
        style = "bold green" if code.succeeded else "bold red"
        # A restore that only made people active members has sent everything.
        status = code.status if report.is_incomplete or report.error else Status.DONE
        yield Text.assemble((f"{status.label}: ", style), outcomes)
    if report.added:
        users = pluralize(len(report.added), "user")
        are = plural_form(len(report.added), "is", "are")
        yield Text(f"{users} {are} active now, without an acceptance.", style="bold red")
    for advice in report.advice:
        yield Text.assemble(("What to do: ", "bold"), escape_unprintable(advice))
    if not report.dry_run:
        yield Text.assemble(("Audit: ", "bold"), escape_unprintable(report.audit_log))

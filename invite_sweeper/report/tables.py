"""Print a run as tables: the plan, failures, kept invitations and totals.

Names from Atlas can neither move the cursor nor start a new line.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from invite_sweeper.endings import Colour, ExitCode
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import Source
from invite_sweeper.report import formatting
from invite_sweeper.report.run_view import (
    InvitationRow,
    KeptInvitations,
    ProjectRows,
    RunView,
    UnreadableProject,
    merge_rows_by_user,
)
from invite_sweeper.sweep.summary import SUNSET_WARNING_DAYS, OrganizationSummary, RunSummary
from invite_sweeper.text import escape_unprintable, pluralize

OUTCOME_STYLES = {
    "deleted": "green",
    "already_gone": "cyan",
    "accepted_before": "cyan",
    "accepted_during": "bold red",
    "failed": "bold red",
    "unknown": "bold red",
    "skipped": "yellow",
}
_GAP = 2
_SEPARATOR = " · "
_INDENT = 2
_HEADINGS = ("AGE", "INVITED", "RULE", "ROLE", "INVITED BY", "OUTCOME")
_MAX_WIDTHS = (9, 64, 24, 24, 32, 16)
"""Maximum terminal cells per column; longer text wraps."""
_INVITED_COLUMN = 1
_MIN_INVITED_WIDTH = 30
"""Below this width addresses wrap too often: each invitation then takes two lines."""
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


def plan_table(
    groups: Sequence[ProjectRows], width: int, labels: Mapping[str, str] = _NO_LABELS
) -> Iterator[RenderableType]:
    """Yield the planned invitations by project, with columns aligned across projects.

    Args:
        groups: The projects.
        width: Terminal width in cells.
        labels: The organizations' names with their ids, by id.
    """
    if not groups:
        return
    cells = [[_cells(row) for row in group.rows] for group in groups]
    outcomes = any(row.outcome for group in groups for row in group.rows)
    widths = _column_widths([row for rows in cells for row in rows], width, outcomes=outcomes)
    if widths:
        yield _indented(_one_line_rows(widths, [[Text(head, style="dim") for head in _HEADINGS]]))
    several = len({group.rows[0].org_id for group in groups}) > 1
    for group, rows in zip(groups, cells, strict=True):
        yield _project_heading(group, labels, with_organization=several)
        yield _indented(
            _one_line_rows(widths, rows)
            if widths
            else _two_line_rows(rows, width, outcomes=outcomes)
        )
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more", style="dim"))
        yield Text("")


def _project_heading(
    group: ProjectRows, labels: Mapping[str, str], *, with_organization: bool
) -> Text:
    """Return the project, or the organization for its own list, with the number of deletions."""
    row = group.rows[0]
    label = escape_unprintable(labels.get(row.org_id, row.org_id))
    in_project = row.project_id is not None
    organization = f"  organization {label}" if in_project and with_organization else ""
    return Text.assemble(
        (place_of(row, labels), "bold"), (f"  {group.count:,}{organization}", "dim")
    )


def place_of(row: InvitationRow, labels: Mapping[str, str]) -> str:
    """Return the project of an invitation, or the organization with its name and id."""
    if row.project_id is None and row.org_id:
        return f"organization {escape_unprintable(labels.get(row.org_id, row.org_id))}"
    return row.project or "(no name)"


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


def _cells(row: InvitationRow) -> tuple[Text, ...]:
    """Return the cells in the order of `_HEADINGS`."""
    return (
        Text(formatting.format_age(row.age_days)),
        _invited_cell(row),
        Text(row.rule),
        formatting.format_roles(row.roles),
        Text(row.inviter),
        Text("\n").join(map(_outcome_cell, (row, *row.duplicates))),
    )


def _invited_cell(row: InvitationRow) -> Text:
    """Return the address; with duplicates, also the lists that contain the user."""
    address = invited_text(row.username, new=row.new)
    if not row.duplicates:
        return address
    lists = ", ".join(each.source for each in (row, *row.duplicates))
    duplicates = Text(f"in {len(row.duplicates) + 1} lists: {lists}", style="dim")
    return Text("\n").join((address, duplicates))


def invited_text(username: str, *, new: bool) -> Text:
    """Return the address, and whether the last plan did not contain the invitation."""
    return Text.assemble(username or "(no address)", (" (new)" if new else "", "bold"))


def _outcome_cell(row: InvitationRow) -> Text:
    outcome = row.outcome or "skipped"
    return Text(outcome.replace("_", " "), style=OUTCOME_STYLES.get(outcome, ""))


def _column_widths(
    rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool
) -> tuple[int, ...]:
    """Return the column widths, INVITED taking the rest; empty if the terminal is too narrow."""
    count = len(_HEADINGS) if outcomes else len(_HEADINGS) - 1
    widths = [
        min(
            _MAX_WIDTHS[column],
            max(len(_HEADINGS[column]), *(_max_cell_width(row[column]) for row in rows)),
        )
        for column in range(count)
    ]
    free_width = width - _INDENT - sum(widths) - _GAP * (count - 1)
    if free_width < 0:
        widths[_INVITED_COLUMN] += free_width
        if widths[_INVITED_COLUMN] < _MIN_INVITED_WIDTH:
            return ()
    return tuple(widths)


def _max_cell_width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _one_line_rows(widths: Sequence[int], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right", overflow="fold")
    for row in rows:
        table.add_row(*row[: len(widths)])
    return table


def _two_line_rows(rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool) -> Table:
    """Return rows with the address on the first line and the other values below it."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    free_width = width - _INDENT - _GAP - max(row[0].cell_len for row in rows)
    for age, invited, rule, roles, inviter, outcome in rows:
        parts = list(outcome.split()) if outcomes else []
        parts += [Text(str(rule), style="dim"), *roles.split()]
        parts += [Text(f"by {inviter}", style="dim")] if inviter else []
        table.add_row(age, Text("\n").join((invited, *_wrap_parts(parts, free_width))))
    return table


def _wrap_parts(parts: Sequence[Text], max_width: int) -> Iterator[Text]:
    """Yield lines with as many parts as fit; a part that is too long has its own line."""
    line = Text()
    for part in parts:
        if line and line.cell_len + len(_SEPARATOR) + part.cell_len > max_width:
            yield line
            line = Text()
        if line:
            line.append(_SEPARATOR, style="dim")
        line.append_text(part)
    yield line


_STYLES: Final = {
    Colour.GOOD: "bold green",
    Colour.WARNING: "bold yellow",
    Colour.BAD: "bold red",
    Colour.PLAIN: "bold",
}


def totals(summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    """Yield the totals, one labelled line each.

    The path of the log, its last hash and the hints are never wrapped, so that paths and commands
    can be copied.
    """
    lines = tuple(_total_lines(summary, view))
    longest = "Checkpoint" if summary.checkpoint is not None else "Last hash"
    label_width = max(len(longest), *(len(label) for label, _, _ in lines))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, width=label_width)
    table.add_column(overflow="fold")
    for label, style, content in lines:
        table.add_row(Text(label, style=style), Text(content))
    yield table
    audit = "Audit".ljust(label_width + _GAP)
    yield Text.assemble((audit, "bold"), escape_unprintable(summary.audit_log), no_wrap=True)
    if summary.audit_last_hash:
        last = "Last hash".ljust(label_width + _GAP)
        yield Text.assemble((last, "bold"), (summary.audit_last_hash, "dim"), no_wrap=True)
    if summary.checkpoint is not None:
        signed = "Checkpoint".ljust(label_width + _GAP)
        text = formatting.describe_checkpoint(summary.checkpoint)
        yield Text.assemble((signed, "bold"), (text, "dim"), no_wrap=True)
    for hint in summary.advice:
        yield Text.assemble(("What to do: ", "bold"), escape_unprintable(hint), no_wrap=True)


def _total_lines(summary: RunSummary, view: RunView) -> Iterator[tuple[str, str, str]]:
    dry_run = summary.mode == "dry-run"
    result = (
        formatting.describe_dry_run(summary, view)
        if dry_run
        else formatting.describe_outcomes(summary)
    )
    failed = formatting.describe_failed_organizations(summary)
    result = "; ".join(filter(None, (result, "" if dry_run else failed)))
    yield *_status_label(summary), escape_unprintable(result)
    if not dry_run and len(summary.organizations) == 1:
        yield "Organization", "bold", _organization_label(summary.organizations[0])
    yield "Seen", "bold", _seen(summary)
    yield "Stale", "bold", _stale(summary, view)
    if summary.changes is not None:
        yield "Changes", "bold", formatting.describe_changes(summary.changes)
    if summary.policy_change is not None:
        text = formatting.describe_policy_change(summary.policy_change)
        yield "Policy", "bold yellow", text
    if summary.recovered:
        deletions = pluralize(summary.recovered, "deletion")
        yield "Recovered", "bold", f"{deletions} that an interrupted run left without an outcome"
    yield "Time", "bold", _time(summary, view)
    if summary.sources_retired:
        lists = ", ".join(map(escape_unprintable, summary.sources_retired))
        yield "Retired", "bold red", f"Atlas no longer serves these lists: {lists}"
    if _is_sunset_near(summary):
        message = f"Atlas stops serving an API version in use on {summary.sunset}"
        yield "Sunset", "bold yellow", message


def _status_label(summary: RunSummary) -> tuple[str, str]:
    text = "Dry run" if summary.mode == "dry-run" else formatting.describe_status(summary)
    return text, _STYLES[ExitCode(summary.exit_code).status.colour]


def _organization_status(exit_code: int, mode: str) -> tuple[str, str]:
    """Return how the run of an organization ended, and the style."""
    status = ExitCode(exit_code).status
    return ("Dry run" if mode == "dry-run" else status.label), _STYLES[status.colour]


def _organization_label(organization: OrganizationSummary) -> str:
    return escape_unprintable(organization.label)


def _organizations_section(summary: RunSummary) -> Iterator[RenderableType]:
    """Yield a line for each of several organizations: how it ended, and its counts."""
    if len(summary.organizations) <= 1:
        return
    shared = all(each.error == summary.error for each in summary.organizations)
    shared_error = summary.error if shared else None
    yield _heading("Organizations", len(summary.organizations), "bold")
    yield _list(
        (_organization_label(each), _organization_text(each, summary.mode, shared_error))
        for each in summary.organizations
    )
    yield Text("")


def _organization_text(
    organization: OrganizationSummary, mode: str, shared_error: ErrorParts | None
) -> Text:
    """Return how an organization ended; an error that all of them share is printed once."""
    stale = (
        f"{pluralize(organization.invitations_seen, 'invitation')} in "
        f"{pluralize(organization.projects_seen, 'project')}, "
        f"{organization.stale - organization.trimmed:,} stale"
    )
    known = stale if organization.read_completely else formatting.NOT_ALL_READ
    counts = f"{known}, {formatting.describe_outcomes(organization)}"
    error = organization.error
    if error is None:
        return Text.assemble(_organization_status(organization.exit_code, mode), f": {counts}")
    status = _organization_status(organization.exit_code, "")  # not a dry run's: it has no result
    message = error["message"].removeprefix(f"Organization {organization.label}: ")
    rest = f"; {escape_unprintable(message)}" if error != shared_error else ""
    return Text.assemble(status, f": {counts}{rest}")


def _seen(summary: RunSummary) -> str:
    invitations = pluralize(summary.invitations_seen, "invitation")
    projects = pluralize(summary.projects_seen, "project")
    if not summary.read_completely:
        return f"{invitations}; the lists of {projects} were not all read"
    if any(Source(each).is_organization_level for each in summary.invitations_by_source):
        projects += f" and {pluralize(len(summary.organizations), 'organization list')}"
    unreadable = f", {summary.projects_unreadable:,} of them not read"
    gone = f", {summary.projects_gone:,} of them deleted since it was listed"
    return (
        f"{invitations} in {projects}{unreadable if summary.projects_unreadable else ''}"
        f"{gone if summary.projects_gone else ''}"
    )


def _stale(summary: RunSummary, view: RunView) -> str:
    if not summary.stale:
        return "none" if summary.read_completely else f"unknown: {formatting.NOT_ALL_READ}"
    places = formatting.describe_places(view.projects, view.organization_lists)
    where = f" in {places}" if places else ""
    trimmed = f", {formatting.describe_trimmed(summary.trimmed)}" if summary.trimmed else ""
    so_far = "" if summary.read_completely else f"; {formatting.NOT_ALL_READ}"
    return f"{summary.stale - summary.trimmed:,}{where}{trimmed}{so_far}"


def _time(summary: RunSummary, view: RunView) -> str:
    parts = [formatting.format_duration(summary.duration_s)]
    parts.append(pluralize(summary.requests, "request"))
    if summary.retries:
        parts.append(pluralize(summary.retries, "retry", "retries"))
    if summary.rate_limited:
        parts.append(f"{summary.rate_limited:,} rate-limited")
    return ", ".join(parts) + _compare_with_estimate(summary, view)


def _compare_with_estimate(summary: RunSummary, view: RunView) -> str:
    """Return the duration of the deletions and what was expected."""
    if summary.estimate_s is None or not summary.stale:
        return ""
    expected = formatting.describe_estimate(summary.estimate_s)
    if view.deleting_s is None:
        return f"; {pluralize(view.planned, 'deletion')}: {expected}"
    return f"; deletions: {formatting.format_duration(view.deleting_s)}, {expected}"


def _is_sunset_near(summary: RunSummary) -> bool:
    if summary.sunset is None:
        return False
    today = datetime.fromisoformat(summary.now).date()
    return (date.fromisoformat(summary.sunset) - today).days <= SUNSET_WARNING_DAYS


class RightTrimmed:
    """A renderable without trailing blanks."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, each with its newline."""
        for line in console.render_lines(self._part, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style))
            yield from (*line, Segment.line())


def show(
    console: Console,
    summary: RunSummary,
    view: RunView,
    *,
    kept_invitations: KeptInvitations | None = None,
) -> None:
    """Print a run to the console.

    Args:
        console: Where to print.
        summary: Totals of the run.
        view: Rows of the run.
        kept_invitations: Kept invitations to list; None prints only their number.
    """
    _write(console, _parts(console.width, summary, view, kept_invitations))


def show_plan(console: Console, summary: RunSummary, view: RunView) -> None:
    """Print only the plan, before the confirmation prompt."""
    _write(console, _plan(console.width, summary, view))


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            console.print(RightTrimmed(part), end="")


def _parts(
    width: int, summary: RunSummary, view: RunView, kept_invitations: KeptInvitations | None
) -> Iterator[RenderableType]:
    yield from _plan(width, summary, view)
    yield from _failed_section(summary, view)
    yield from _bounced_section(summary, view)
    yield from _unreadable_section(summary, view)
    yield from _kept_section(summary, kept_invitations)
    yield from _organizations_section(summary)
    yield from totals(summary, view)


def _plan(width: int, summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    yield from plan_table(merge_rows_by_user(view.groups), width, summary.organization_labels)
    if hidden := view.projects + view.organization_lists - len(view.groups):
        count = view.planned - sum(group.count for group in view.groups)
        noun = "other list" if view.organization_lists else "other project"
        rest = f"… {count:,} more in {pluralize(hidden, noun)}"
        yield Text(rest, style="dim")
    if view.planned > sum(len(group.rows) for group in view.groups):
        yield Text("Shown are owners first, then the oldest.", style="dim")
        yield _audit_show_hint(summary, "planned")
        yield Text("")


def _failed_section(summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    count = summary.failed + summary.unknown + summary.accepted_during
    if not count:
        return
    yield _heading("Not as planned", count, "bold red")
    labels = summary.organization_labels
    yield _list((_user_in_place(row, labels), _failure_text(row)) for row in view.failed)
    yield from _more_rows(count - len(view.failed))
    yield Text("")


def _failure_text(row: InvitationRow) -> Text:
    outcome = row.outcome or ""
    label = outcome.replace("_", " ")
    return Text.assemble((label, OUTCOME_STYLES.get(outcome, "")), f": {row.detail}")


def _bounced_section(summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    if not view.bounced_count:
        return
    yield _heading("Invited again after a deletion", view.bounced_count, "bold yellow")
    yield _list(
        (
            _user_in_place(row, summary.organization_labels),
            Text(f"deleted {pluralize(row.bounced, 'time')} before"),
        )
        for row in view.bounced
    )
    yield from _more_rows(view.bounced_count - len(view.bounced))
    yield Text("")


def _unreadable_section(summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    count = summary.projects_unreadable
    if not count:
        return
    yield _heading("Projects not read; nothing is deleted there", count, "bold yellow")
    labels = summary.organization_labels
    yield _list((_unreadable_place(each, labels), Text(each.reason)) for each in view.unreadable)
    if count > len(view.unreadable):
        yield from _more_rows(count - len(view.unreadable))
        yield _audit_show_hint(summary, "project_unreadable")
    yield Text("")


def _unreadable_place(each: UnreadableProject, labels: Mapping[str, str]) -> str:
    if each.is_organization:
        return f"organization {escape_unprintable(labels.get(each.org_id, each.org_id))}"
    return each.project or "(no name)"


def _kept_section(
    summary: RunSummary, kept_invitations: KeptInvitations | None
) -> Iterator[RenderableType]:
    if not summary.kept:
        return
    yield _heading("Kept", summary.kept, "bold")
    by_count = sorted(summary.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    if kept_invitations is None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for reason, count in by_count:
            table.add_row(f"{count:,}", Text(formatting.describe_keep_reason(reason)))
        yield Padding(table, (0, 0, 0, 2))
    else:
        for reason, count in by_count:
            yield Text.assemble(
                f"  {formatting.describe_keep_reason(reason)}", (f"  {count:,}", "dim")
            )
            rows = kept_invitations.rows.get(reason, ())
            yield from _kept_names(rows, count, summary.organization_labels)
    yield Text("")


def _kept_names(
    rows: Sequence[InvitationRow], count: int, labels: Mapping[str, str]
) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(formatting.format_age(row.age_days), Text(_user_in_place(row, labels)))
    if rows:
        yield Padding(table, (0, 0, 0, 4))
    yield from (Padding(part, (0, 0, 0, 2)) for part in _more_rows(count - len(rows)))


def _user_in_place(row: InvitationRow, labels: Mapping[str, str]) -> str:
    return f"{row.username or '(no address)'} in {place_of(row, labels)}"


def _heading(title: str, count: int, style: str) -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _list(items: Iterable[tuple[str, Text]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for label, content in items:
        table.add_row(Text(label), content)
    return Padding(table, (0, 0, 0, 2))


def _more_rows(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")


def _audit_show_hint(summary: RunSummary, event: str) -> Text:
    """Return the command that lists all records; never wrapped, so that it can be copied."""
    log, run_id = shlex.quote(escape_unprintable(summary.audit_log)), summary.run_id
    command = f"invite-sweeper audit show {log} --run {escape_unprintable(run_id)} --event {event}"
    return Text.assemble(("Show all: ", "dim"), command, no_wrap=True)

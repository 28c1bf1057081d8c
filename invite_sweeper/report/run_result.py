"""Print a run's result: the plan, failures, kept invitations and totals."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.endings import Colour, ExitCode, Reason, WarningCode
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import Source
from invite_sweeper.report import formatting
from invite_sweeper.report.columns import format_age
from invite_sweeper.report.rows import Row, outcome_line
from invite_sweeper.report.run_view import KeptInvitations, ProjectRows, RunView
from invite_sweeper.report.tables import (
    Group,
    RightTrimmed,
    invitation_tables,
    line_text,
    two_columns,
)
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary
from invite_sweeper.sweep.sunset import SUNSET_WARNING_DAYS
from invite_sweeper.text import escape_unprintable, pluralize

_GAP: Final = 2


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
    rows = ((Text(label, style=style), Text(content)) for label, style, content in lines)
    yield two_columns(rows, width=label_width)
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
    if view.approver:
        yield "Approved by", "bold", f"the key {view.approver}"
    yield "Seen", "bold", _seen(summary)
    yield "Stale", "bold", _stale(summary, view)
    yield from _sentences(summary)
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
        style = "bold red" if Reason.RETIRED_SOURCE in summary.reasons else "bold"
        yield "Retired", style, f"Atlas no longer serves these lists: {lists}"
    if _is_sunset_near(summary):
        message = f"Atlas stops serving an API version in use on {summary.sunset}"
        yield "Sunset", "bold yellow", message


def _sentences(summary: RunSummary) -> Iterator[tuple[str, str, str]]:
    for warning in summary.warnings:
        if warning.code == WarningCode.NOTICE:
            yield "Notice", "bold", escape_unprintable(warning.message)
    if summary.unseen is not None:
        for sentence in formatting.describe_unseen(summary.unseen, summary.organization_labels):
            yield "Not seen", "bold", escape_unprintable(sentence)


def _status_label(summary: RunSummary) -> tuple[str, str]:
    text = "Dry run" if summary.mode == "dry-run" else formatting.describe_status(summary)
    return text, _STYLES[ExitCode(summary.exit_code).status.colour]


def _organization_status(exit_code: int, mode: str) -> tuple[str, str]:
    """Return how the run of an organization ended, and the style."""
    status = ExitCode(exit_code).status
    return ("Dry run" if mode == "dry-run" else status.label), _STYLES[status.colour]


def _organization_label(organization: OrganizationSummary) -> str:
    return escape_unprintable(organization.label)


def _organizations_section(summary: RunSummary, width: int) -> Iterator[RenderableType]:
    """Yield a line for each of several organizations: how it ended, and its counts."""
    if len(summary.organizations) <= 1:
        return
    shared = all(each.error == summary.error for each in summary.organizations)
    shared_error = summary.error if shared else None
    yield _heading("Organizations", len(summary.organizations), "bold")
    texts = (
        (_organization_label(each), _organization_text(each, summary.mode, shared_error))
        for each in summary.organizations
    )
    yield from _list(texts, width)
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
    if not organization.visible:
        stale = "not visible with these credentials"
    known = stale if organization.plan_made else formatting.NOT_ALL_READ
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
    if not summary.plan_made:
        return f"{invitations}; the lists of {projects} were not all read"
    if any(Source(each).is_organization_level for each in summary.invitations_by_source):
        visible = sum(each.visible and each.plan_made for each in summary.organizations)
        projects += f" and {pluralize(visible, 'organization list')}"
    unreadable = f", {summary.projects_unreadable:,} of them not read"
    gone = f", {summary.projects_gone:,} of them deleted since it was listed"
    return (
        f"{invitations} in {projects}{unreadable if summary.projects_unreadable else ''}"
        f"{gone if summary.projects_gone else ''}"
    )


def _stale(summary: RunSummary, view: RunView) -> str:
    if not summary.stale:
        return "none" if summary.plan_made else f"unknown: {formatting.NOT_ALL_READ}"
    places = formatting.describe_places(view.projects, view.organization_lists)
    where = f" in {places}" if places else ""
    bounced = f", {view.bounced:,} of them deleted before" if view.bounced else ""
    trimmed = f", {formatting.describe_trimmed(summary.trimmed)}" if summary.trimmed else ""
    so_far = "" if summary.plan_made else f"; {formatting.NOT_ALL_READ}"
    return f"{summary.stale - summary.trimmed:,}{where}{bounced}{trimmed}{so_far}"


def _time(summary: RunSummary, view: RunView) -> str:
    parts = [formatting.format_duration(summary.duration_s)]
    parts.append(pluralize(summary.requests, "request"))
    if summary.retries:
        parts.append(pluralize(summary.retries, "retry", "retries"))
    if summary.rate_limited:
        parts.append(f"{summary.rate_limited:,} rate-limited")
    deleting_s = view.deleting_s if summary.stale else None
    deleting = (
        "" if deleting_s is None else f"; deletions: {formatting.format_duration(deleting_s)}"
    )
    return ", ".join(parts) + deleting


def _is_sunset_near(summary: RunSummary) -> bool:
    if summary.sunset is None:
        return False
    today = datetime.fromisoformat(summary.now).date()
    return (date.fromisoformat(summary.sunset) - today).days <= SUNSET_WARNING_DAYS


def show(
    console: Console,
    summary: RunSummary,
    view: RunView,
    *,
    kept_invitations: KeptInvitations | None = None,
) -> None:
    """Print a run to the console."""
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
    yield from _failed_section(summary, view, width)
    yield from _unreadable_section(summary, view, width)
    yield from _kept_section(summary, kept_invitations)
    yield from _organizations_section(summary, width)
    yield from totals(summary, view)


def _plan(width: int, summary: RunSummary, view: RunView) -> Iterator[RenderableType]:
    yield from plan_tables(view, width)
    if view.planned > len(view.rows):
        yield which_are_shown(view)
        yield _audit_show_hint(summary, "planned")
        yield Text("")


def which_are_shown(view: RunView) -> Text:
    """Return the sentence below a plan that is not shown completely."""
    of_each = " of each organization" if len(view.organizations) > 1 else ""
    return Text(f"Shown are owners first, then the oldest{of_each}.", style="dim")


def plan_tables(view: RunView, width: int) -> Iterator[RenderableType]:
    """Yield the rows below their projects, and these below their organizations if it has several.

    The places of which no row is shown are counted at the end of each organization.
    """
    by_organization: dict[str, list[ProjectRows]] = {}
    for each in view.by_place():
        by_organization.setdefault(each.place.organization, []).append(each)
    several, elsewhere = len(view.organizations) > 1, view.hidden_by_organization()
    groups = []
    for organization, places in by_organization.items():
        hidden = elsewhere.get(organization, ())
        count = sum(each.count for each in places) + sum(hidden)
        above = _heading(organization, count, "bold") if several else None
        for each in places:
            name = _OWN_LISTS if several and each.place.project is None else each.place.name
            below = _describe_hidden(hidden, view) if hidden and each is places[-1] else None
            heading = _heading(name, each.count, "bold")
            groups.append(Group(each.rows, heading, each.hidden, above, below))
            above = None
    yield from invitation_tables(groups, width)
    if several and any(row.others for group in groups for row in group.rows):
        yield Text("A person in several lists is one row.", style="dim")
        yield Text("")


_OWN_LISTS: Final = "organization lists"


def _describe_hidden(counts: Sequence[int], view: RunView) -> Text:
    noun = "other list" if view.organization_lists else "other project"
    return Text(f"… {sum(counts):,} more in {pluralize(len(counts), noun)}", style="dim")


def _failed_section(summary: RunSummary, view: RunView, width: int) -> Iterator[RenderableType]:
    count = summary.failed + summary.unknown + summary.accepted_during
    if not count:
        return
    yield _heading("Not as planned", count, "bold red")
    texts = (
        (row.user_in_place, Text.assemble(line_text(outcome_line(row.outcome)), f": {row.detail}"))
        for row in view.failed
    )
    yield from _list(texts, width)
    yield from _more_rows(count - len(view.failed))
    yield Text("")


def _unreadable_section(summary: RunSummary, view: RunView, width: int) -> Iterator[RenderableType]:
    count = summary.projects_unreadable
    if not count:
        return
    yield _heading("Projects not read; nothing is deleted there", count, "bold yellow")
    yield from _list(((each.place.name, Text(each.reason)) for each in view.unreadable), width)
    if count > len(view.unreadable):
        yield from _more_rows(count - len(view.unreadable))
        yield _audit_show_hint(summary, "project_unreadable")
    yield Text("")


def _kept_section(
    summary: RunSummary, kept_invitations: KeptInvitations | None
) -> Iterator[RenderableType]:
    if not summary.kept:
        return
    yield _heading("Kept", summary.kept, "bold")
    by_count = sorted(summary.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    if kept_invitations is None:
        counts = (
            (f"{count:,}", Text(formatting.describe_keep_reason(reason)))
            for reason, count in by_count
        )
        yield Padding(two_columns(counts, justify="right"), (0, 0, 0, 2))
    else:
        for reason, count in by_count:
            yield Text.assemble(
                f"  {formatting.describe_keep_reason(reason)}", (f"  {count:,}", "dim")
            )
            rows = kept_invitations.rows(reason, summary.organization_labels)
            yield from _kept_names(rows, count)
    yield Text("")


def _kept_names(rows: Sequence[Row], count: int) -> Iterator[RenderableType]:
    if rows:
        histories = (f", {row.history}" if row.history else "" for row in rows)
        names = (
            (format_age(row.age_days), Text(f"{row.user_in_place}{history}"))
            for row, history in zip(rows, histories, strict=True)
        )
        yield Padding(two_columns(names, justify="right"), (0, 0, 0, 4))
    yield from (Padding(part, (0, 0, 0, 2)) for part in _more_rows(count - len(rows)))


def _heading(title: str, count: int, style: str) -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _list(items: Iterable[tuple[str, Text]], width: int) -> Iterator[RenderableType]:
    """Yield labels beside their texts, or above them where words would be broken."""
    rows = [(Text(label), content) for label, content in items]
    free = width - 2 * _GAP
    labels, contents = zip(*rows, strict=True) if rows else ((), ())
    label_width = max((each.cell_len for each in labels), default=0)
    if label_width + max((each.cell_len for each in contents), default=0) > free:
        label_width = max(_longest_word(labels), min(label_width, free // 2))
        label_width = min(label_width, free - _longest_word(contents))
    if label_width < _longest_word(labels):
        for label, content in rows:
            yield Padding(label, (0, 0, 0, _GAP))
            yield Padding(content, (0, 0, 0, 2 * _GAP))
        return
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(overflow="fold", width=label_width)
    table.add_column(overflow="fold", width=free - label_width)
    for row in rows:
        table.add_row(*row)
    yield Padding(table, (0, 0, 0, _GAP))


def _longest_word(texts: Iterable[Text]) -> int:
    return max((cell_len(word) for text in texts for word in text.plain.split()), default=0)


def _more_rows(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")


def _audit_show_hint(summary: RunSummary, event: str) -> Text:
    """Return the command that lists all records; never wrapped, so that it can be copied."""
    run_ids = {each.run_id for each in summary.organizations} or {summary.run_id}
    command = formatting.show_command(
        escape_unprintable(summary.audit_log), run_ids, summary.run_id, "--event", event
    )
    return Text.assemble(("Show all: ", "dim"), command, no_wrap=True)

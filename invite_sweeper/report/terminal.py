"""Print a run on a terminal: the plan, what failed, and the story; the question; lists of runs."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.text import Text

from invite_sweeper.audit import LineFilter, RunRecord, filter_lines
from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.endings import Colour, ExitCode
from invite_sweeper.policy import Limits
from invite_sweeper.report.columns import format_age
from invite_sweeper.report.readback import ProjectRows, RunView, read_view
from invite_sweeper.report.rows import Row, outcome_line, role_line, sorted_rows
from invite_sweeper.report.story import Facts, Story, StoryLine, advisor_of, tell
from invite_sweeper.report.tables import (
    Group,
    RightTrimmed,
    definition_table,
    invitation_tables,
    line_text,
    two_columns,
)
from invite_sweeper.report.text import describe_instant
from invite_sweeper.text import escape_unprintable, plural_form, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_STYLES: Final = {
    Colour.GOOD: "bold green",
    Colour.WARNING: "bold yellow",
    Colour.BAD: "bold red",
    Colour.PLAIN: "bold",
}


def show_result(console: Console, record: RunRecord, facts: Facts) -> None:
    """Print the plan, what failed, what could not be read, and how the run went."""
    view, story = _view(record), tell(record, facts)
    _write(console, _plan(console.width, record, view, facts))
    _write(console, _failed(record, view))
    _write(console, _unread(record, view))
    _write(console, _story(record, story, errors=False))


def show_question(console: Console, record: RunRecord, facts: Facts, limits: Limits) -> None:
    """Print the plan as it is on disk, and the question whether to delete."""
    view = _view(record)
    _write(console, _plan(console.width, record, view, facts))
    title = Text(f"Delete {pluralize(view.planned, 'invitation')}?", style="bold")
    table = definition_table(_question_rows(record, view, limits))
    _write(console, (title, table, Text("This cannot be undone.")))


def attention_lines(record: RunRecord, facts: Facts) -> Iterator[str]:
    """Yield what needs attention besides errors, and the first places and people concerned.

    Errors are printed by themselves, and so are warnings as they come.
    """
    story, view = tell(record, facts), _view(record)
    if record.exit_code != ExitCode.PARTIAL and all(e.kind == "error" for e in story.attention):
        return
    yield f"{story.headline.label}: {story.headline.text}"
    for each in story.attention:
        if each.kind == "reason":
            yield each.text
            if each.advice:
                yield f"What to do: {each.advice}"
    for project in view.unreadable[:_MAX_NAMED]:
        yield f"{project.place.full_name} was not read: {project.reason}"
    for row in [row for row in view.failed if row.outcome in {"failed", "unknown"}][:_MAX_NAMED]:
        who = f"{row.user} in {row.place.full_name}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"


def show_people(console: Console, people: Iterable[InvitationFields]) -> None:
    """Print people below their projects."""
    groups: dict[str, list[Row]] = {}
    for row in sorted_rows(people):
        groups.setdefault(row.place.full_name, []).append(row)
    tables = [Group(rows, _heading(name, len(rows))) for name, rows in groups.items()]
    _write(console, invitation_tables(tables, console.width))


def show_runs(console: Console, records: Iterable[RunRecord]) -> None:
    """Print a line for each run."""
    rows = []
    for record in records:
        story = tell(record)
        when = describe_instant(record.start.now) if record.start is not None else ""
        label = Text(f"{record.file.number}  {when}  {record.mode or 'run'}")
        style = _STYLES[story.headline.colour]
        rows.append(
            (label, Text.assemble((story.headline.label, style), f"  {story.headline.text}"))
        )
    if rows:
        console.print(RightTrimmed(two_columns(rows)), end="")
    else:
        console.print("No run.")


def show_run(console: Console, record: RunRecord, line_filter: LineFilter) -> None:
    """Print the plan and the outcomes of a run, or the lines that match a filter."""
    if line_filter != LineFilter():
        for fields, _ in filter_lines(record.file.path, line_filter):
            who = fields.get("username") or fields.get("invitation_id") or ""
            what = fields.get("outcome") or fields.get("reason") or fields.get("rule") or ""
            where = fields.get("project_name") or fields.get("org_id") or ""
            parts = (fields["ts"], fields["event"], what, who, where, fields.get("source") or "")
            text = "  ".join(escape_unprintable(str(each)) for each in parts if each)
            console.print(Text(text), soft_wrap=True)
        return
    view = read_view(record.file.path, max_rows=1_000_000, labels=_labels(record))
    _write(console, _plan(console.width, record, view, Facts()))
    _write(console, _failed(record, view))
    _write(console, _unread(record, view))
    _write(console, _story(record, tell(record), errors=True))


def _view(record: RunRecord) -> RunView:
    return read_view(record.file.path, max_rows=_MAX_ROWS, labels=_labels(record))


def _labels(record: RunRecord) -> dict[str, str]:
    organizations = record.end.organizations if record.end is not None else ()
    return {each.id: each.label for each in organizations}


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            console.print(RightTrimmed(part), end="")


def _plan(width: int, record: RunRecord, view: RunView, facts: Facts) -> Iterator[RenderableType]:
    """Yield the rows below their projects, and these below their organizations if several."""
    by_organization: dict[str, list[ProjectRows]] = {}
    for each in view.by_place():
        by_organization.setdefault(each.place.organization, []).append(each)
    several = len(view.organizations) > 1
    groups = []
    for organization, places in by_organization.items():
        above = _heading(organization, sum(each.count for each in places)) if several else None
        for each in places:
            own = several and each.place.project is None
            heading = _heading("organization lists" if own else each.place.name, each.count)
            groups.append(Group(each.rows, heading, each.hidden, above))
            above = None
    yield from invitation_tables(groups, width)
    if more := view.planned - len(view.rows):
        command = advisor_of(record, facts).show()
        yield Text.assemble((f"{more:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _failed(record: RunRecord, view: RunView) -> Iterator[RenderableType]:
    end = record.end
    if end is None or not (count := end.failed + end.unknown + end.accepted_during):
        return
    yield _heading("Not as planned", count, "bold red")
    yield two_columns(
        (
            Text(f"  {row.user_in_place}"),
            Text.assemble(line_text(outcome_line(row.outcome)), f": {row.detail}"),
        )
        for row in view.failed
    )
    yield from _more(count - len(view.failed))
    yield Text("")


def _unread(record: RunRecord, view: RunView) -> Iterator[RenderableType]:
    count = record.end.projects_unreadable if record.end is not None else len(view.unreadable)
    if not count:
        return
    yield _heading("Lists not read; nothing is deleted there", count, "bold yellow")
    yield two_columns((Text(f"  {each.place.name}"), Text(each.reason)) for each in view.unreadable)
    yield from _more(count - len(view.unreadable))
    yield Text("")


def _story(record: RunRecord, story: Story, *, errors: bool) -> Iterator[RenderableType]:
    if story.organizations:
        yield _heading("Organizations", len(story.organizations))
        yield two_columns(
            (Text(f"  {each.label}"), Text(each.text)) for each in story.organizations
        )
        yield Text("")
    lines = (story.headline, *story.lines)
    width = max(len(each.label) for each in (*lines, StoryLine("Last hash", "")))
    yield two_columns(
        ((Text(each.label, _STYLES[each.colour]), Text(each.text)) for each in lines), width=width
    )
    path = escape_unprintable(str(record.file.path))
    yield Text.assemble(("Audit".ljust(width + 2), "bold"), path, no_wrap=True)
    if record.last_hash:
        label = "Last hash".ljust(width + 2)
        yield Text.assemble((label, "bold"), (record.last_hash, "dim"), no_wrap=True)
    for each in story.attention:
        if each.kind == "error" and not errors:
            continue
        title, rest = each.text[: len(each.title) + 1], each.text[len(each.title) + 1 :]
        yield Text.assemble((title, "bold yellow"), rest)
        if each.advice:
            yield Text.assemble(
                ("What to do: ", "bold"), escape_unprintable(each.advice), no_wrap=True
            )


def _question_rows(record: RunRecord, view: RunView, limits: Limits) -> Iterator[tuple[str, Text]]:
    where = plural_form(len(view.organizations), "organization", "organizations")
    yield where, Text(", ".join(view.organizations))
    end = record.end
    seen = end.invitations_seen if end is not None else 0
    count = f"{view.planned:,} of the {seen:,} seen, at most {view.max_in_project:,} in one place"
    if end is not None and end.trimmed:
        count += f"; {end.trimmed:,} left for a later run"
    yield "count", Text(count)
    if view.owners:
        yield "owners", Text(f"{view.owners:,} of them", style="bold")
    if view.bounced:
        yield "history", Text(f"{view.bounced:,} of them deleted before", style="yellow")
    share = view.planned / seen if seen else 0.0
    yield (
        "limits",
        Text(
            f"{limits.max_deletions:,} a run, {limits.max_deletions_per_project:,} a project, "
            f"{limits.max_share:.0%} of those seen (this is {share:.0%})"
        ),
    )
    if view.oldest is not None and view.newest is not None:
        yield "oldest", _invitation(view.oldest)
        yield "newest", _invitation(view.newest)


def _invitation(row: Row) -> Text:
    text = Text(f"{format_age(row.age_days)}  {row.user_in_place}, ")
    text.append_text(Text(", ").join(line_text(role_line(role)) for role in row.roles))
    return text.append(f", {row.history}", style="yellow") if row.history else text


def _heading(title: str, count: int, style: str = "bold") -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _more(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")

"""Print a run on a terminal: the plan, what failed, and the story; the question; lists of runs.

Names from Atlas can neither move the cursor nor start a new line.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit import LineFilter, RunRecord, filter_lines
from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.endings import Colour, ExitCode
from invite_sweeper.policy import Limits
from invite_sweeper.report.readback import ProjectRows, RunView, read_view
from invite_sweeper.report.rows import (
    AGE,
    FROM,
    INVITED,
    INVITER,
    OUTCOME,
    Cell,
    Column,
    Line,
    Row,
    Style,
    format_age,
    invitation_columns,
    role_line,
    sorted_rows,
)
from invite_sweeper.report.story import Facts, Story, StoryLine, advisor_of, tell
from invite_sweeper.report.text import describe_instant
from invite_sweeper.text import escape_unprintable, plural_form, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_GAP: Final = 2
_INDENT: Final = 2
_SEPARATOR: Final = " · "
_PREFIXES: Final = {INVITER: "by ", FROM: "from "}
"""Columns whose values need a word without their heading."""
_COLOURS: Final = {
    Colour.GOOD: "bold green",
    Colour.WARNING: "bold yellow",
    Colour.BAD: "bold red",
    Colour.PLAIN: "bold",
}
_STYLES: Final[Mapping[Style, str]] = {
    "plain": "",
    "note": "dim",
    "strong": "bold",
    "privileged": "bold magenta",
    "good": "green",
    "info": "cyan",
    "warning": "yellow",
    "bad": "bold red",
}


def show_result(console: Console, record: RunRecord, facts: Facts) -> None:
    """Print the plan, what failed, what could not be read, and how the run went."""
    view, story = _view(record), tell(record, facts)
    _write(console, _plan(console.width, record, view, facts))
    _write(console, _announced(console.width, record, view, facts))
    _write(console, _unread(record, view))
    told = {"error", "warning"} if console.is_terminal else {"error"}
    _write(console, _story(record, story, told))


def show_question(console: Console, record: RunRecord, facts: Facts, limits: Limits) -> None:
    """Print the plan as it is on disk, and the question whether to delete."""
    view = _view(record)
    _write(console, _plan(console.width, record, view, facts))
    title = Text(f"Delete {pluralize(view.planned, 'invitation')}?", style="bold")
    items = _question_rows(record, view, limits)
    table = two_columns((Text(f"  {label}", style="dim"), content) for label, content in items)
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
            yield from each.text.split("\n")
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
    tables = [_Group(rows, _heading(name, len(rows))) for name, rows in groups.items()]
    _write(console, _invitation_tables(tables, console.width))


def show_runs(console: Console, records: Iterable[RunRecord]) -> None:
    """Print a line for each run."""
    rows = []
    for record in records:
        story = tell(record)
        when = describe_instant(record.start.now) if record.start is not None else ""
        label = Text(f"{record.file.number}  {when}  {record.mode or 'run'}")
        style = _COLOURS[story.headline.colour]
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
    _write(console, _announced(console.width, record, view, Facts()))
    _write(console, _unread(record, view))
    _write(console, _story(record, tell(record)))


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
            groups.append(_Group(each.rows, heading, each.hidden, above))
            above = None
    yield from _invitation_tables(groups, width)
    if more := view.planned - len(view.rows):
        command = advisor_of(record, facts).show()
        yield Text.assemble((f"{more:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _announced(
    width: int, record: RunRecord, view: RunView, facts: Facts
) -> Iterator[RenderableType]:
    """Yield who was announced, or in a dry run would be, and from when each may be deleted."""
    count = record.end.announced if record.end is not None else len(view.announced)
    if not view.announced:
        return
    title = "Would be announced" if record.mode == "dry-run" else "Announced for a later deletion"
    group = _Group(view.announced, _heading(title, count))
    yield from _invitation_tables([group], width, with_place=True)
    if more := count - len(view.announced):
        event = "would_be_announced" if record.mode == "dry-run" else "announced"
        command = advisor_of(record, facts).show("--event", event)
        yield Text.assemble((f"{more:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _unread(record: RunRecord, view: RunView) -> Iterator[RenderableType]:
    count = record.end.projects_unreadable if record.end is not None else len(view.unreadable)
    if not count:
        return
    yield _heading("Lists not read; nothing is deleted there", count, "bold yellow")
    yield two_columns((Text(f"  {each.place.name}"), Text(each.reason)) for each in view.unreadable)
    yield from _more(count - len(view.unreadable))
    yield Text("")


def _story(record: RunRecord, story: Story, told: Collection[str] = ()) -> Iterator[RenderableType]:
    """Yield how a run went.

    Args:
        told: Kinds of attention that the operator has read already.
    """
    if story.organizations:
        yield _heading("Organizations", len(story.organizations))
        yield two_columns(
            (Text(f"  {each.label}"), Text(each.text)) for each in story.organizations
        )
        yield Text("")
    width = max(len(each.label) for each in (*story.lines, StoryLine("Last hash", "")))
    yield _labelled((story.headline,), max(width, len(story.headline.label)))
    yield _labelled(story.lines, width)
    path = escape_unprintable(str(record.file.path))
    yield Text.assemble(("Audit".ljust(width + _GAP), "bold"), path, no_wrap=True)
    if record.last_hash:
        label = "Last hash".ljust(width + _GAP)
        yield Text.assemble((label, "bold"), (record.last_hash, "dim"), no_wrap=True)
    for each in story.attention:
        if each.kind in told:
            continue
        title, rest = each.text[: len(each.title) + 1], each.text[len(each.title) + 1 :]
        yield Text.assemble((title, "bold yellow"), rest)
        if each.advice:
            yield Text.assemble(
                ("What to do: ", "bold"), escape_unprintable(each.advice), no_wrap=True
            )


def _labelled(lines: Iterable[StoryLine], width: int) -> Table:
    return two_columns(
        ((Text(each.label, _COLOURS[each.colour]), Text(each.text)) for each in lines), width=width
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
    text.append_text(Text(", ").join(_line_text(role_line(role)) for role in row.roles))
    return text.append(f", {row.history}", style="yellow") if row.history else text


def _heading(title: str, count: int, style: str = "bold") -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _more(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")


# Layout ----------------------------------------------------------------------------------------


def _line_text(line: Line) -> Text:
    """Return a line of a cell for the terminal."""
    return Text(line.text, style=_STYLES[line.style])


def _cell_text(cell: Cell) -> Text:
    """Return a cell for the terminal."""
    return Text("\n").join(map(_line_text, cell))


class _Group(NamedTuple):
    """Rows below a heading.

    Attributes:
        hidden: Number of rows that are not shown.
        above: A line above the heading, such as the organization of this and the next groups.
    """

    rows: Sequence[Row]
    heading: Text
    hidden: int = 0
    above: Text | None = None


def _invitation_tables(
    groups: Sequence[_Group], width: int, *, with_place: bool = False
) -> Iterator[RenderableType]:
    """Yield invitations, with columns aligned across the groups.

    Args:
        groups: Each with at least one row. With lines above them, all is indented below these.
        width: Terminal width in cells.
        with_place: Whether each row names its place; else the heading does.
    """
    if not groups:
        return
    indent = _INDENT if any(group.above for group in groups) else 0
    rows = [row for group in groups for row in group.rows]
    columns = invitation_columns(rows, grouped=not with_place)
    cells = {id(row): [_cell_text(column.cell(row)) for column in columns] for row in rows}
    widths = _column_widths(columns, list(cells.values()), width - indent)
    if widths:
        headings = [Text(c.heading.upper(), style="dim") for c in columns]
        yield _indented(_table(widths, [headings]), indent)
    for group in groups:
        if group.above is not None:
            yield group.above
        yield Padding(group.heading, (0, 0, 0, indent))
        yield _indented(
            _table(widths, [cells[id(row)] for row in group.rows])
            if widths
            else _two_line_rows(columns, group.rows, width - indent),
            indent,
        )
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more", style="dim"), indent)
        yield Text("")


def _indented(part: RenderableType, indent: int) -> Padding:
    return Padding(part, (0, 0, 0, indent + _INDENT))


def _column_widths(
    columns: Sequence[Column[Row]], rows: Sequence[Sequence[Text]], width: int
) -> tuple[int, ...]:
    """Return the column widths; empty if the terminal is too narrow to leave words whole."""
    widths, words = [], []
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        heading = len(column.heading)
        words.append(max([heading, *(cell_len(w) for cell in cells for w in cell.plain.split())]))
        longest = max([heading, *(line.cell_len for cell in cells for line in cell.split())])
        widths.append(min(longest, max(column.max_width, words[-1])))
    free_width = width - _INDENT - sum(widths) - _GAP * (len(columns) - 1)
    if free_width < 0:
        invited = columns.index(INVITED)
        widths[invited] += free_width
        if widths[invited] < words[invited]:
            return ()
    return tuple(widths)


def _table(widths: Sequence[int], rows: Iterable[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _two_line_rows(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> Table:
    """Return rows with the address on the first line and the other values below it."""
    ages = [_cell_text(AGE.cell(row)) for row in rows]
    free_width = width - _INDENT - _GAP - max(age.cell_len for age in ages)
    below = [column for column in columns if column not in {AGE, INVITED}]
    below.sort(key=lambda column: column is not OUTCOME)  # the outcome is the first
    lines = []
    for age, row in zip(ages, rows, strict=True):
        parts = [
            _line_text(line._replace(text=f"{_PREFIXES.get(column, '')}{line.text}"))
            for column in below
            for line in column.cell(row)
        ]
        wrapped = _wrap_parts(parts, free_width)
        lines.append((age, Text("\n").join((_cell_text(INVITED.cell(row)), *wrapped))))
    return two_columns(lines, justify="right")


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


def two_columns(
    rows: Iterable[tuple[RenderableType, RenderableType]],
    *,
    justify: JustifyMethod = "left",
    width: int | None = None,
) -> Table:
    """Return a short value beside a longer one, which wraps."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, justify=justify, width=width)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


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

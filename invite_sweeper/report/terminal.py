"""Print a run on a terminal: the plan, what failed, and the story; the question; lists of runs.

Names from Atlas can neither move the cursor nor start a new line.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.reader import Record
from invite_sweeper.endings import Advisor, Colour, ExitCode
from invite_sweeper.models import Invitation, ListUnreadable
from invite_sweeper.report.readback import (
    UNREAD_CAPTION,
    RunRows,
    announced_as,
    read_rows,
    row_of,
)
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
    full_place_name,
    invitation_columns,
    sorted_rows,
)
from invite_sweeper.report.story import Story, StoryLine, advisor_of, describe_instant, tell
from invite_sweeper.text import escape_unprintable, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_GAP: Final = 2
_INDENT: Final = 2
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


def show_result(console: Console, record: RunRecord, advisor: Advisor) -> None:
    """Print the plan, what failed, what could not be read, and how the run went."""
    told = {"error", "warning"} if console.is_terminal else {"error"}
    _write(console, _run(console.width, record, advisor, told))


def show_run(console: Console, record: RunRecord) -> None:
    """Print all of the plan and the outcomes of an earlier run, and how it went."""
    _write(console, _run(console.width, record, Advisor(), max_rows=sys.maxsize))


def show_question(console: Console, record: RunRecord, advisor: Advisor) -> None:
    """Print the plan as it is on disk, and the question whether to delete."""
    found = read_rows(record)
    rows = found.rows.values()
    where = ", ".join(sorted({row.organization for row in rows}))
    lines = [StoryLine("In", where), *tell(record, advisor).lines]
    if owners := sum(row.is_owner for row in rows):
        lines.append(StoryLine("Owners", f"{owners:,} of the stale invitations"))
    if bounced := sum(bool(row.history) for row in rows):
        lines.append(StoryLine("History", f"{bounced:,} of them deleted before"))
    _write(console, _plan(console.width, found, advisor_of(record, advisor)))
    title = Text(f"Delete {pluralize(len(rows), 'invitation')}?", style="bold")
    _write(console, (_labelled(lines), title, Text("This cannot be undone.")))


def attention_lines(record: RunRecord, advisor: Advisor) -> Iterator[str]:
    """Yield what needs attention besides errors, and the first places and people concerned.

    Errors are printed by themselves, and so are warnings as they come.
    """
    story, found = tell(record, advisor), read_rows(record)
    if record.exit_code != ExitCode.PARTIAL and all(e.kind == "error" for e in story.attention):
        return
    yield f"{story.headline.label}: {story.headline.text}"
    for each in story.attention:
        if each.kind == "reason":
            yield from each.text.split("\n")
            if each.advice:
                yield f"What to do: {each.advice}"
    for unread in found.unread[:_MAX_NAMED]:
        yield f"{unread.place} was not read: {unread.reason}"
    left = [row for row in found.rows.values() if row.outcome in {"failed", "unknown"}]
    for row in sorted_rows(left)[:_MAX_NAMED]:
        who = f"{row.user} in {full_place_name(row.event, row.organization)}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"


def show_people(console: Console, people: Iterable[Invitation]) -> None:
    """Print people below their projects."""
    rows = sorted_rows(row_of(each, {}) for each in people)
    _write(console, _invitation_tables(list(_groups(rows, rows)), console.width))


def show_runs(console: Console, records: Iterable[RunRecord]) -> None:
    """Print a line for each run."""
    rows = []
    for record in records:
        headline = tell(record).headline
        when = describe_instant(record.start.now) if record.start is not None else ""
        label = Text(f"{record.file.number}  {when}  {record.mode or 'run'}")
        style = _COLOURS[headline.colour]
        rows.append((label, Text.assemble((headline.label, style), f"  {headline.text}")))
    if rows:
        print_trimmed(console, two_columns(rows))
    else:
        console.print("No run.")


def show_lines(console: Console, lines: Iterable[Record]) -> None:
    """Print lines of a run's file, each on a line."""
    for fields in lines:
        who = fields.get("username") or fields.get("invitation_id") or ""
        what = fields.get("outcome") or fields.get("reason") or fields.get("rule") or ""
        where = fields.get("project_name") or fields.get("org_id") or ""
        parts = (fields["ts"], fields["event"], what, who, where, fields.get("source") or "")
        text = "  ".join(escape_unprintable(str(each)) for each in parts if each)
        console.print(Text(text), soft_wrap=True)


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            print_trimmed(console, part)


def _run(
    width: int,
    record: RunRecord,
    advisor: Advisor,
    told: Collection[str] = (),
    max_rows: int = _MAX_ROWS,
) -> Iterator[RenderableType]:
    """Yield the plan with its outcomes, who was announced, what was not read, and the story.

    Args:
        told: Kinds of attention that the operator has read already.
    """
    found, about = read_rows(record), advisor_of(record, advisor)
    yield from _plan(width, found, about, max_rows)
    if found.announced:
        title, event = announced_as(record)
        group = _Group(found.announced[:max_rows], _heading(title, len(found.announced)))
        yield from _invitation_tables([group], width, with_place=True)
        yield from _rest(len(found.announced) - max_rows, about.show("--event", event))
    if found.unread:
        yield _heading(UNREAD_CAPTION, len(found.unread), "bold yellow")
        shown = found.unread[:max_rows]
        yield from (_indented(Text(f"{each.place}: {each.reason}")) for each in shown)
        yield Text("")
        command = about.show("--event", ListUnreadable.event)
        yield from _rest(len(found.unread) - len(shown), command)
    yield from _story(record, tell(record, advisor), told)


def _plan(
    width: int, found: RunRows, about: Advisor, max_rows: int = _MAX_ROWS
) -> Iterator[RenderableType]:
    rows = found.first(max_rows)
    yield from _invitation_tables(list(_groups(rows, found.rows.values())), width)
    yield from _rest(len(found.rows) - len(rows), about.show())


def _rest(count: int, command: str) -> Iterator[RenderableType]:
    """Yield the command that shows the rows that are not shown."""
    if count > 0:
        yield Text.assemble((f"{count:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _groups(rows: Iterable[Row], every: Iterable[Row]) -> Iterator["_Group"]:
    """Yield rows below their projects, by organization.

    Args:
        every: All rows, shown or not.
    """
    counts = Counter((row.organization, row.event.scope_id) for row in every)
    several = len({organization for organization, _ in counts}) > 1
    places: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        places.setdefault((row.organization, row.event.scope_id), []).append(row)
    for place, shown in sorted(places.items(), key=lambda item: item[0][0]):
        first = shown[0]
        name = full_place_name(first.event, first.organization) if several else first.place
        yield _Group(shown, _heading(name, counts[place]), counts[place] - len(shown))


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


def _labelled(lines: Iterable[StoryLine], width: int | None = None) -> Table:
    rows = ((Text(each.label, _COLOURS[each.colour]), Text(each.text)) for each in lines)
    return two_columns(rows, width=width)


def _heading(title: str, count: int, style: str = "bold") -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


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
    """

    rows: Sequence[Row]
    heading: Text
    hidden: int = 0


def _invitation_tables(
    groups: Sequence[_Group], width: int, *, with_place: bool = False
) -> Iterator[RenderableType]:
    """Yield invitations, with columns aligned across the groups.

    Args:
        groups: Each with at least one row.
        width: Terminal width in cells.
        with_place: Whether each row names its place; else the heading does.
    """
    if not groups:
        return
    rows = [row for group in groups for row in group.rows]
    columns = invitation_columns(rows, grouped=not with_place)
    cells = {id(row): [_cell_text(column.cell(row)) for column in columns] for row in rows}
    widths = _column_widths(columns, list(cells.values()), width)
    if widths:
        yield _indented(_table(widths, [[Text(c.heading.upper(), style="dim") for c in columns]]))
    for group in groups:
        yield group.heading
        if widths:
            yield _indented(_table(widths, [cells[id(row)] for row in group.rows]))
        else:
            yield _indented(_two_line_rows(columns, group.rows))
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more", style="dim"))
        yield Text("")


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


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


def _two_line_rows(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> Table:
    """Return rows with the address on the first line and the other values below it."""
    below = [column for column in columns if column not in {AGE, INVITED}]
    below.sort(key=lambda column: column is not OUTCOME)  # the outcome is the first
    lines = []
    for row in rows:
        parts = [
            Text.assemble(_PREFIXES.get(column, ""), _line_text(line))
            for column in below
            for line in column.cell(row)
        ]
        text = Text("\n").join((_cell_text(INVITED.cell(row)), Text(" · ").join(parts)))
        lines.append((_cell_text(AGE.cell(row)), text))
    return two_columns(lines, justify="right")


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


def print_trimmed(console: Console, part: RenderableType) -> None:
    """Print a renderable without trailing blanks."""
    for line in console.render_lines(part, pad=False):
        text = Text.assemble(*((each.text, each.style or "") for each in line))
        text.rstrip()
        console.print(text, soft_wrap=True)

"""Print a run on a terminal: the plan, what failed, and the story; the question; lists of runs.

Names from Atlas can neither move the cursor nor start a new line.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.person import HistoryLine
from invite_sweeper.endings import Advisor, ExitCode, Style
from invite_sweeper.models import Invitation, ListUnreadable
from invite_sweeper.report.person import describe_line
from invite_sweeper.report.readback import (
    KEPT_CAPTION,
    UNREAD_CAPTION,
    RunRows,
    announced_as,
    kept_rows,
    read_rows,
)
from invite_sweeper.report.rows import (
    AGE,
    FROM,
    GOES,
    INVITED,
    INVITER,
    OUTCOME,
    Cell,
    Column,
    Row,
    invitation_columns,
    listed_columns,
    place_name,
    sorted_rows,
)
from invite_sweeper.report.story import Story, StoryLine, advisor_of, describe_instant, tell
from invite_sweeper.text import escape_unprintable, organization_label, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_GAP: Final = 2
_INDENT: Final = 2
_PREFIXES: Final = {INVITER: "by ", FROM: "from "}
"""Columns whose values need a word without their heading."""
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


def show_result(
    console: Console,
    record: RunRecord,
    advisor: Advisor,
    *,
    plan: Sequence[StoryLine] = (),
    differing_only: bool = False,
) -> None:
    """Print the plan, what failed, what could not be read, and how the run went.

    Args:
        plan: How the plan is passed on; empty where there is none.
        differing_only: Of the plan, print only what was not deleted: the question above has shown
            all of it.
    """
    told = {"error", "warning"} if console.is_terminal else {"error"}
    found = read_rows(record)
    if differing_only:
        found.leave_out_done()
    _write(console, _run(console.width, record, found, advisor, told))
    show_whole(console, plan)


def show_whole(console: Console, lines: Sequence[StoryLine]) -> None:
    """Print lines below an empty one, each on one line so that it can be copied."""
    width = _GAP + max((len(line.label) for line in lines), default=0)
    for line in (StoryLine("", ""), *lines) if lines else ():
        text = Text.assemble((line.label.ljust(width), "bold"), escape_unprintable(line.text))
        text.rstrip()
        console.print(text, soft_wrap=True)


def show_run(console: Console, record: RunRecord) -> None:
    """Print all that an earlier run planned, did and recorded as kept, and how it went."""
    found = read_rows(record)
    _write(console, _kept(console.width, record, found))
    _write(console, _run(console.width, record, found, Advisor(), max_rows=sys.maxsize))


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
    story = tell(record, advisor)
    if record.exit_code != ExitCode.PARTIAL and all(e.kind == "error" for e in story.attention):
        return
    yield f"{story.headline.label}: {story.headline.text}"
    for each in story.attention:
        if each.kind == "reason":
            yield from each.text.split("\n")
            if each.advice:
                yield f"What to do: {each.advice}"
    found = read_rows(record)
    for unread in found.unread[:_MAX_NAMED]:
        yield f"{unread.label} was not read: {unread.text}"
    left = [row for row in found.rows.values() if row.outcome in {"failed", "unknown"}]
    for row in sorted_rows(left)[:_MAX_NAMED]:
        who = f"{row.user} in {place_name(row.event, row.organization, full=True)}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"


def show_people(console: Console, people: Iterable[Invitation], names: Mapping[str, str]) -> None:
    """Print people below their projects; `names` are those of organizations by id."""
    found = RunRows({org_id: organization_label(org_id, name) for org_id, name in names.items()})
    rows = sorted_rows(map(found.row, people))
    _write(console, _invitation_tables(list(_groups(rows, rows)), console.width))


def show_listed(
    console: Console, invitations: Iterable[Invitation], names: Mapping[str, str]
) -> None:
    """Print a row for each invitation, in the order given, and how many are stale and kept.

    Args:
        names: Of the organizations, by id.
    """
    rows = [Row(invitation, names[invitation.org_id]) for invitation in invitations]
    if not rows:
        console.print("No invitation matches.")
        return
    columns = listed_columns(rows)
    cells = [[_cell_text(column.cell(row)) for column in columns] for row in rows]
    widths = _column_widths(columns, cells, console.width)
    table = _narrow_rows(listed_columns(rows, short=True), rows, console.width, label=GOES)
    if widths:
        headings = [Text(column.heading.upper(), style="dim") for column in columns]
        table = _table(widths, [headings, *cells])
    stale = sum(row.is_stale for row in rows)
    count = f"{pluralize(len(rows), 'invitation')}: {stale:,} stale, {len(rows) - stale:,} kept."
    _write(console, (table, Text(count)))


def show_runs(console: Console, records: Iterable[RunRecord], ledger: IntentLedger) -> None:
    """Print a line for each run.

    Args:
        ledger: Which runs were recovered, once all records were read.
    """
    # Of a year of nights, memory holds the lines and the records of the killed runs alone.
    rows: list[tuple[Text, Text]] = []
    killed: dict[int, RunRecord] = {}
    for record in records:
        if record.end is None:
            killed[len(rows)] = record
        rows.append(_row_of_run(record))
    recovered = ledger.recovered_by_file()
    for index, record in killed.items():
        record.recovered = recovered.get(record.file.name)
        rows[index] = _row_of_run(record)
    if rows:
        _write(console, _entries(rows, console.width))


def _row_of_run(record: RunRecord) -> tuple[Text, Text]:
    headline = tell(record, Advisor()).headline
    when = describe_instant(record.start.now)
    label = Text(f"{record.file.number}  {when}  {record.mode or 'run'}")
    return label, Text.assemble(_label(headline), f"  {headline.text}")


def show_lines(console: Console, lines: Iterable[HistoryLine], names: Mapping[str, str]) -> None:
    """Print what runs did, a line each with its run; in a file on one line, as `grep` needs it.

    Args:
        names: The names of organizations by id.
    """
    for line in lines:
        number = f"{line.run.number:>3}" if line.run.number else line.run.path.name
        label = f"{number}  {describe_instant(line.ts)}  {line.start.mode:<7}"
        text = describe_line(line, names)
        if console.is_terminal:
            _write(console, _entries([(Text(label), Text(text))], console.width))
        else:
            console.print(Text(f"{label}  {text}"), soft_wrap=True)


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            print_trimmed(console, part)


def _run(
    width: int,
    record: RunRecord,
    found: RunRows,
    advisor: Advisor,
    told: Collection[str] = (),
    max_rows: int = _MAX_ROWS,
) -> Iterator[RenderableType]:
    """Yield the plan with its outcomes, who was announced, what was not read, and the story.

    Args:
        told: Kinds of attention that the operator has read already.
    """
    about = advisor_of(record, advisor)
    yield from _plan(width, found, about, max_rows)
    if found.announced:
        title, event = announced_as(record)
        rows = found.announced[:max_rows]
        heading = _heading(title, len(rows), len(found.announced))
        yield from _invitation_tables([(heading, rows)], width, with_place=True)
        yield from _rest(len(found.announced) - len(rows), about.show("--event", event))
    if found.unread:
        shown = found.unread[:max_rows]
        yield _heading(UNREAD_CAPTION, len(shown), len(found.unread), "bold yellow")
        yield from (_indented(Text(f"{each.label}: {each.text}")) for each in shown)
        yield Text("")
        command = about.show("--event", ListUnreadable.event)
        yield from _rest(len(found.unread) - len(shown), command)
    yield from _story(record, tell(record, advisor), width, told)


def _kept(width: int, record: RunRecord, found: RunRows) -> Iterator[RenderableType]:
    """Yield what a run kept, where it recorded that: the policy has `audit.record: all`."""
    rows = sorted_rows(kept_rows(record, found))
    if rows:
        heading = _heading(KEPT_CAPTION, len(rows), len(rows))
        yield from _invitation_tables([(heading, rows)], width, with_place=True)


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


def _groups(rows: Iterable[Row], every: Iterable[Row]) -> Iterator[tuple[Text, list[Row]]]:
    """Yield rows below their projects with the number of all their rows, by organization."""
    counts = Counter((row.organization, row.event.scope_id) for row in every)
    several = len({organization for organization, _ in counts}) > 1
    places: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        places.setdefault((row.organization, row.event.scope_id), []).append(row)
    for place, shown in sorted(places.items(), key=lambda item: item[0][0]):
        first = shown[0]
        name = place_name(first.event, first.organization, full=several)
        yield _heading(name, len(shown), counts[place]), shown


def _story(
    record: RunRecord, story: Story, width: int, told: Collection[str]
) -> Iterator[RenderableType]:
    if story.organizations:
        rows = [(Text(each.label), Text(each.text)) for each in story.organizations]
        yield _heading("Organizations", len(rows), len(rows))
        yield from map(_indented, _entries(rows, width - _INDENT))
        yield Text("")
    label_width = max(len(each.label) for each in (*story.lines, StoryLine("Last hash", "")))
    yield _labelled((story.headline,), max(label_width, len(story.headline.label)))
    yield _labelled(story.lines, label_width)
    path = escape_unprintable(str(record.file.path))
    yield Text.assemble(("Audit".ljust(label_width + _GAP), "bold"), path, no_wrap=True)
    if record.last_hash and record.mode != "dry-run":  # it is not the SHA-256 of a plan
        label = "Last hash".ljust(label_width + _GAP)
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
    rows = ((_label(each), Text(each.text)) for each in lines)
    return two_columns(rows, width=width)


def _label(line: StoryLine) -> Text:
    return Text(line.label, f"bold {_STYLES[line.style]}")


def _heading(title: str, shown: int, total: int, style: str = "bold") -> Text:
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return Text.assemble((title, style), (f"  {count}", "dim"))


# Layout ----------------------------------------------------------------------------------------


def _cell_text(cell: Cell) -> Text:
    return Text("\n").join(Text(line.text, style=_STYLES[line.style]) for line in cell)


def _invitation_tables(
    groups: Sequence[tuple[Text, Sequence[Row]]], width: int, *, with_place: bool = False
) -> Iterator[RenderableType]:
    """Yield invitations, with columns aligned across the groups.

    Args:
        groups: A heading and its rows, at least one.
        width: Terminal width in cells.
        with_place: Whether each row names its place; else the heading does.
    """
    if not groups:
        return
    every = [row for _, rows in groups for row in rows]
    columns = invitation_columns(every, grouped=not with_place)
    cells = {id(row): [_cell_text(column.cell(row)) for column in columns] for row in every}
    widths = _column_widths(columns, list(cells.values()), width)
    if widths:
        yield _indented(_table(widths, [[Text(c.heading.upper(), style="dim") for c in columns]]))
    for heading, rows in groups:
        yield heading
        if widths:
            yield _indented(_table(widths, [cells[id(row)] for row in rows]))
        else:
            yield _indented(_narrow_rows(columns, rows, width - _INDENT))
        yield Text("")


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


def _column_widths(
    columns: Sequence[Column[Row]], rows: Sequence[Sequence[Text]], width: int
) -> tuple[int, ...]:
    """Return the column widths; empty if the terminal is too narrow for whole lines."""
    widths = tuple(
        max([len(column.heading), *(line.cell_len for row in rows for line in row[number].split())])
        for number, column in enumerate(columns)
    )
    return widths if _INDENT + sum(widths) + _GAP * (len(widths) - 1) <= width else ()


def _table(widths: Sequence[int], rows: Iterable[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _narrow_rows(
    columns: Sequence[Column[Row]], rows: Iterable[Row], width: int, *, label: Column[Row] = AGE
) -> Table:
    """Return rows with the address on the first line and the other values, each whole, below it.

    Args:
        label: What stands before the address.
    """
    below = [column for column in columns if column not in {label, INVITED}]
    below.sort(key=lambda column: column is not OUTCOME)  # the outcome is the first
    lines = []
    for row in rows:
        first = _cell_text(label.cell(row))
        texts = [_cell_text(INVITED.cell(row)), Text()]
        for column in below:
            for line in column.cell(row):
                part = Text.assemble(_PREFIXES.get(column, ""), _cell_text((line,)))
                longer = Text.assemble(texts[-1], " · ", part) if texts[-1] else part
                fits = longer.cell_len <= width - first.cell_len - _GAP
                texts[-1:] = [longer] if fits or not texts[-1] else [texts[-1], part]
        lines.append((first, Text("\n").join(texts)))
    return two_columns(lines, justify="right")


def _entries(rows: Sequence[tuple[Text, Text]], width: int) -> Iterator[RenderableType]:
    """Yield texts beside their labels; below them where that leaves less than half of the width."""
    if max(label.cell_len for label, _ in rows) < width // 2:
        yield two_columns(rows)
        return
    for label, text in rows:
        yield label
        yield _indented(text)


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

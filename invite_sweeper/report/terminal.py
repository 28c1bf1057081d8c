"""Print a run on a terminal: the plan, what failed, and the story; the question; lists of runs.

Names from Atlas can neither move the cursor nor start a new line.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

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
    RecordedRun,
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
from invite_sweeper.report.story import Attention, Story, advisor_of, story_of
from invite_sweeper.report.story_lines import StoryLine
from invite_sweeper.report.wording import describe_instant
from invite_sweeper.text import escape_unprintable, organization_label, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_GAP: Final = 2
_INDENT: Final = 2
_LAST_HASH: Final = "Last hash"
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
    run: RecordedRun,
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
    run_rows = run.rows.without_done() if differing_only else run.rows
    _write(console, _run(console.width, run.record, run_rows, advisor, told))
    show_whole(console, plan)


def show_whole(console: Console, lines: Sequence[StoryLine]) -> None:
    """Print lines below an empty one, each on one line so that it can be copied."""
    if not lines:
        return
    console.print()
    width = _GAP + max(len(line.label) for line in lines)
    for line in lines:
        label = line.label.ljust(width)
        text = Text.assemble((label, "bold"), escape_unprintable(line.text))
        text.rstrip()
        console.print(text, soft_wrap=True)


def show_run(console: Console, record: RunRecord) -> None:
    """Print all that an earlier run planned, did and recorded as kept, and how it went."""
    run_rows = read_rows(record)
    _write(console, _kept(console.width, record, run_rows))
    _write(console, _run(console.width, record, run_rows, Advisor(), max_rows=sys.maxsize))


def show_question(console: Console, record: RunRecord, advisor: Advisor) -> None:
    """Print the plan as it is on disk, and the question whether to delete."""
    run_rows = read_rows(record)
    _write(console, _plan(console.width, run_rows, advisor_of(record, advisor)))
    rows = run_rows.rows.values()
    organizations = {row.organization for row in rows}
    lines = [StoryLine("In", ", ".join(sorted(organizations)))]
    lines += story_of(record, advisor).lines
    owners = sum(row.is_owner for row in rows)
    if owners:
        lines.append(StoryLine("Owners", f"{owners:,} of the stale invitations"))
    bounced = sum(bool(row.history) for row in rows)
    if bounced:
        lines.append(StoryLine("History", f"{bounced:,} of them deleted before"))
    question = Text(f"Delete {pluralize(len(rows), 'invitation')}?", style="bold")
    _write(console, (_labelled(lines), question, Text("This cannot be undone.")))


def attention_lines(run: RecordedRun, advisor: Advisor) -> Iterator[str]:
    """Yield what needs attention besides errors, and the first places and people concerned.

    Errors are printed by themselves, and so are warnings as they come.
    """
    story = story_of(run.record, advisor)
    has_only_errors = all(attention.kind == "error" for attention in story.attention)
    if has_only_errors and run.record.exit_code != ExitCode.PARTIAL:
        return
    yield f"{story.headline.label}: {story.headline.text}"
    for attention in story.attention:
        if attention.kind != "reason":
            continue
        yield from attention.text.split("\n")
        if attention.advice:
            yield f"What to do: {attention.advice}"
    for unread in run.rows.unread[:_MAX_NAMED]:
        yield f"{unread.label} was not read: {unread.text}"
    left = [row for row in run.rows.rows.values() if row.outcome in {"failed", "unknown"}]
    for row in sorted_rows(left)[:_MAX_NAMED]:
        who = f"{row.user} in {place_name(row.event, row.organization, full=True)}"
        yield f"{who} may still be invited: {row.outcome}, {row.detail}"


def show_people(console: Console, people: Iterable[Invitation], names: Mapping[str, str]) -> None:
    """Print people below their projects; `names` are those of organizations by id."""
    labels = {org_id: organization_label(org_id, name) for org_id, name in names.items()}
    run_rows = RunRows(labels)
    rows = sorted_rows(run_rows.row(person) for person in people)
    groups = _groups(rows, _rows_by_place(rows))
    _write(console, _invitation_tables(list(groups), console.width))


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
    cells = [_cells(columns, row) for row in rows]
    widths = _column_widths(columns, cells, console.width)
    if widths:
        table = _table(widths, [_headings(columns), *cells])
    else:
        short_columns = listed_columns(rows, short=True)
        table = _narrow_rows(short_columns, rows, console.width, label=GOES)
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
    """Return the number, instant and mode of a run, and how it ended."""
    when = describe_instant(record.start.now)
    label = Text(f"{record.file.number}  {when}  {record.mode or 'run'}")
    headline = story_of(record, Advisor()).headline
    text = Text.assemble(_label(headline), f"  {headline.text}")
    return label, text


def show_lines(console: Console, lines: Iterable[HistoryLine], names: Mapping[str, str]) -> None:
    """Print what runs did, a line each with its run; in a file on one line, as `grep` needs it.

    Args:
        names: The names of organizations by id.
    """
    for line in lines:
        # A file that was named on the command line may have no number.
        run = f"{line.run.number:>3}" if line.run.number else line.run.path.name
        label = f"{run}  {describe_instant(line.ts)}  {line.start.mode:<7}"
        text = describe_line(line, names)
        if console.is_terminal:
            _write(console, _entries([(Text(label), Text(text))], console.width))
        else:
            console.print(Text(f"{label}  {text}"), soft_wrap=True)


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        # What is copied, such as a command, stays on one line, which the terminal wraps.
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            print_trimmed(console, part)


def _run(
    width: int,
    record: RunRecord,
    run_rows: RunRows,
    advisor: Advisor,
    told: Collection[str] = (),
    max_rows: int = _MAX_ROWS,
) -> Iterator[RenderableType]:
    """Yield the plan with its outcomes, who was announced, what was not read, and the story.

    Args:
        told: Kinds of attention that the operator has read already.
    """
    about = advisor_of(record, advisor)
    yield from _plan(width, run_rows, about, max_rows)
    announced = run_rows.announced
    if announced:
        title, event = announced_as(record)
        rows = announced[:max_rows]
        heading = _heading(title, len(rows), len(announced))
        yield from _invitation_tables([(heading, rows)], width, with_place=True)
        yield from _rest(len(announced) - len(rows), about.list_run("--event", event))
    unread = run_rows.unread
    if unread:
        shown = unread[:max_rows]
        yield _heading(UNREAD_CAPTION, len(shown), len(unread), "bold yellow")
        for line in shown:
            yield _indented(Text(f"{line.label}: {line.text}"))
        yield Text("")
        command = about.list_run("--event", ListUnreadable.event)
        yield from _rest(len(unread) - len(shown), command)
    yield from _story(record, story_of(record, advisor), width, told)


def _kept(width: int, record: RunRecord, run_rows: RunRows) -> Iterator[RenderableType]:
    """Yield what a run kept, where it recorded that: the policy has `audit.record: all`."""
    rows = sorted_rows(kept_rows(record, run_rows))
    if rows:
        heading = _heading(KEPT_CAPTION, len(rows), len(rows))
        yield from _invitation_tables([(heading, rows)], width, with_place=True)


def _plan(
    width: int, run_rows: RunRows, about: Advisor, max_rows: int = _MAX_ROWS
) -> Iterator[RenderableType]:
    """Yield the first rows of the plan below their projects, and how to see the others."""
    rows = run_rows.first(max_rows)
    groups = _groups(rows, _rows_by_place(run_rows.rows.values()))
    yield from _invitation_tables(list(groups), width)
    yield from _rest(len(run_rows.rows) - len(rows), about.list_run())


def _rest(count: int, command: str) -> Iterator[RenderableType]:
    """Yield the command that shows the rows that are not shown."""
    if count > 0:
        yield Text.assemble((f"{count:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


_Place: TypeAlias = tuple[str, str]
"""The organization, and the id of the project, or of the organization for a list of its own."""


def _rows_by_place(rows: Iterable[Row]) -> dict[_Place, list[Row]]:
    """Return rows by their place; the places are in the order of their first rows."""
    places: dict[_Place, list[Row]] = {}
    for row in rows:
        place = (row.organization, row.event.scope_id)
        places.setdefault(place, []).append(row)
    return places


def _groups(
    rows: Iterable[Row], all_rows: Mapping[_Place, Sequence[Row]]
) -> Iterator[tuple[Text, list[Row]]]:
    """Yield a heading and rows for each place that has some, by organization.

    Args:
        rows: Those that are shown.
        all_rows: By place; the headings count them.
    """
    organizations = {organization for organization, _ in all_rows}
    shown_by_place = _rows_by_place(rows)
    # Sorting is stable: the places of one organization stay in the order of their first rows.
    for place in sorted(shown_by_place, key=lambda place: place[0]):
        shown = shown_by_place[place]
        name = place_name(shown[0].event, shown[0].organization, full=len(organizations) > 1)
        yield _heading(name, len(shown), len(all_rows[place])), shown


def _story(
    record: RunRecord, story: Story, width: int, told: Collection[str]
) -> Iterator[RenderableType]:
    """Yield how the run went, where its file is, and what needs attention.

    Args:
        told: As in `_run`.
    """
    if story.organizations:
        rows = [(Text(line.label), Text(line.text)) for line in story.organizations]
        yield _heading("Organizations", len(rows), len(rows))
        for part in _entries(rows, width - _INDENT):
            yield _indented(part)
        yield Text("")
    label_width = max(len(label) for label in (_LAST_HASH, *(line.label for line in story.lines)))
    yield _labelled((story.headline,), max(label_width, len(story.headline.label)))
    yield _labelled(story.lines, label_width)
    label = "Audit".ljust(label_width + _GAP)
    path = escape_unprintable(str(record.file.path))
    yield Text.assemble((label, "bold"), path, no_wrap=True)
    if record.last_hash and record.mode != "dry-run":  # it is not the SHA-256 of a plan
        label = _LAST_HASH.ljust(label_width + _GAP)
        yield Text.assemble((label, "bold"), (record.last_hash, "dim"), no_wrap=True)
    for attention in story.attention:
        if attention.kind not in told:
            yield from _attention(attention)


def _attention(attention: Attention) -> Iterator[Text]:
    """Yield what needs attention, its title highlighted, and what to do."""
    title_end = len(attention.title) + 1  # with the colon or full stop
    text = Text(attention.text)
    text.stylize("bold yellow", 0, title_end)
    yield text
    if attention.advice:
        advice = escape_unprintable(attention.advice)
        yield Text.assemble(("What to do: ", "bold"), advice, no_wrap=True)


def _labelled(lines: Iterable[StoryLine], width: int | None = None) -> Table:
    rows = [(_label(line), Text(line.text)) for line in lines]
    return two_columns(rows, width=width)


def _label(line: StoryLine) -> Text:
    return Text(line.label, f"bold {_STYLES[line.style]}")


def _heading(title: str, shown: int, total: int, style: str = "bold") -> Text:
    count = f"{total:,}" if shown == total else f"{shown:,} of {total:,}"
    return Text.assemble((title, style), (f"  {count}", "dim"))


# Layout ----------------------------------------------------------------------------------------


def _cell_text(cell: Cell) -> Text:
    lines = [Text(line.text, style=_STYLES[line.style]) for line in cell]
    return Text("\n").join(lines)


def _cells(columns: Iterable[Column[Row]], row: Row) -> list[Text]:
    return [_cell_text(column.cell(row)) for column in columns]


def _headings(columns: Iterable[Column[Row]]) -> list[Text]:
    return [Text(column.heading.upper(), style="dim") for column in columns]


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
    all_rows: list[Row] = []
    for _, rows in groups:
        all_rows += rows
    columns = invitation_columns(all_rows, grouped=not with_place)
    all_cells = [_cells(columns, row) for row in all_rows]
    widths = _column_widths(columns, all_cells, width)
    if widths:
        yield _indented(_table(widths, [_headings(columns)]))
    first = 0
    for heading, rows in groups:
        yield heading
        end = first + len(rows)
        if widths:
            yield _indented(_table(widths, all_cells[first:end]))
        else:
            yield _indented(_narrow_rows(columns, rows, width - _INDENT))
        yield Text("")
        first = end


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


def _column_widths(
    columns: Sequence[Column[Row]], rows: Sequence[Sequence[Text]], width: int
) -> tuple[int, ...]:
    """Return the column widths; empty if the terminal is too narrow for whole lines.

    Args:
        rows: The cells of each row, in the order of the columns.
        width: Of the terminal.
    """
    widths: list[int] = []
    for number, column in enumerate(columns):
        column_width = len(column.heading)
        for row in rows:
            cell_lines = row[number].split()
            for line in cell_lines:
                column_width = max(column_width, line.cell_len)
        widths.append(column_width)
    gaps = _GAP * (len(widths) - 1)
    table_width = _INDENT + sum(widths) + gaps
    return tuple(widths) if table_width <= width else ()


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
    entries = []
    for row in rows:
        row_label = _cell_text(label.cell(row))
        parts: list[Text] = []
        for column in below:
            prefix = _PREFIXES.get(column, "")
            parts += [Text.assemble(prefix, _cell_text((line,))) for line in column.cell(row)]
        lines = [_cell_text(INVITED.cell(row))]
        lines += _joined(parts, width - row_label.cell_len - _GAP)
        entries.append((row_label, Text("\n").join(lines)))
    return two_columns(entries, justify="right")


def _joined(parts: Iterable[Text], width: int) -> list[Text]:
    """Return lines with as many parts as fit; a part that is wider has a line of its own."""
    line = Text()
    lines = [line]
    for part in parts:
        longer = Text.assemble(line, " · ", part) if line else part
        if longer.cell_len <= width or not line:
            line = longer
            lines[-1] = line
        else:
            line = part
            lines.append(line)
    return lines


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
    for segments in console.render_lines(part, pad=False):
        text = Text()
        for segment in segments:
            text.append(segment.text, segment.style)
        text.rstrip()
        console.print(text, soft_wrap=True)

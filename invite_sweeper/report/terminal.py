"""Print a run on a terminal: the plan, what failed, and the story; and the question before it."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console, RenderableType
from rich.text import Text

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import RunRecord
from invite_sweeper.endings import ExitCode
from invite_sweeper.models import ListUnreadable, rfc3339
from invite_sweeper.report.columns import PLACE, full_place_cell, invitation_columns, line_cell
from invite_sweeper.report.document import Attention, Document, Fact, Table
from invite_sweeper.report.layout import (
    GAP,
    INDENT,
    entries,
    heading,
    indented,
    label_text,
    labelled,
    print_parts,
    table_parts,
)
from invite_sweeper.report.readback import (
    KEPT_CAPTION,
    UNREAD_CAPTION,
    RecordedRun,
    RunRows,
    WholeRun,
    announced_as,
    read_rows,
)
from invite_sweeper.report.rows import Row, place_name, sorted_rows
from invite_sweeper.report.story import advisor_of, story_of
from invite_sweeper.report.wording import describe_instant
from invite_sweeper.text import Hint, escape_unprintable, pluralize

_MAX_ROWS: Final = 50
_MAX_NAMED: Final = 10
_LAST_HASH: Final = "Last hash"


def show_result(
    console: Console,
    run: RecordedRun,
    advisor: Advisor,
    *,
    plan: Sequence[Fact] = (),
    differing_only: bool = False,
) -> None:
    """Print the plan, what failed, what could not be read, and how the run went.

    Args:
        plan: How the plan is passed on; empty where there is none.
        differing_only: Of the plan, print only what was not deleted: the question above has shown
            all of it.
    """
    shown_above = {"error", "warning"} if console.is_terminal else {"error"}
    run_rows = run.rows.without_done() if differing_only else run.rows
    parts = _run(console.width, run.record, run_rows, advisor, shown_above=shown_above)
    print_parts(console, parts)
    show_whole(console, plan)


def show_whole(console: Console, lines: Sequence[Fact]) -> None:
    """Print lines below an empty one, each on one line so that it can be copied."""
    if not lines:
        return
    console.print()
    label_width = GAP + max(len(line.label) for line in lines)
    for line in lines:
        label = line.label.ljust(label_width)
        text = Text.assemble((label, "bold"), escape_unprintable(line.text))
        text.rstrip()
        console.print(text, soft_wrap=True)


def show_run(console: Console, run: WholeRun) -> None:
    """Print all that an earlier run planned, did and recorded as kept, and how it went."""
    print_parts(console, _kept(console.width, run))
    parts = _run(console.width, run.record, run.rows, Advisor(), max_rows=sys.maxsize)
    print_parts(console, parts)


def show_question(console: Console, record: RunRecord, advisor: Advisor, until: datetime) -> None:
    """Print the plan as it is on disk, and the question whether to delete.

    Args:
        until: When an answer is too late.
    """
    run_rows = read_rows(record)
    print_parts(console, _plan(console.width, run_rows, advisor_of(record, advisor)))
    rows = run_rows.invitations.values()
    organizations = sorted({row.organization for row in rows})
    lines = [Fact("In", ", ".join(organizations))]
    lines += story_of(record, advisor).facts
    owners = sum(row.is_owner for row in rows)
    if owners:
        lines.append(Fact("Owners", f"{owners:,} of the stale invitations"))
    question = Text(f"Delete {pluralize(len(rows), 'invitation')}?", style="bold")
    remark = Text(f"This cannot be undone. Answer by {describe_instant(rfc3339(until))}.")
    print_parts(console, (labelled(lines), question, remark))


def attention_lines(run: RecordedRun, advisor: Advisor) -> Iterator[Hint]:
    """Yield what needs attention besides errors, and the first places and people concerned.

    Errors are printed by themselves, and so are warnings as they come.
    """
    story = story_of(run.record, advisor)
    has_only_errors = all(attention.kind == "error" for attention in story.attention)
    if has_only_errors and run.record.exit_code != ExitCode.PARTIAL:
        return
    yield Hint(f"{story.headline.label}: {story.headline.text}")
    for attention in story.attention:
        if attention.kind != "reason":
            continue
        yield from map(Hint, attention.text.split("\n"))
        if attention.hint.text:
            yield Hint(f"What to do: {attention.hint.text}", attention.hint.command)
    for unread in run.rows.unread_lines(_MAX_NAMED):
        yield Hint(f"{unread.label} was not read: {unread.text}")
    rows = run.rows.invitations.values()
    in_doubt = [row for row in rows if row.outcome in {"failed", "unknown"}]
    is_restore = run.record.mode == "restore"
    for row in sorted_rows(in_doubt)[:_MAX_NAMED]:
        person = f"{row.user} in {place_name(row.event, row.organization, full=True)}"
        concern = "may lack an invitation" if is_restore else "may still be invited"
        yield Hint(f"{person} {concern}: {row.outcome}, {row.detail}")


# The parts of a run ------------------------------------------------------------------------------


def _run(
    width: int,
    record: RunRecord,
    run_rows: RunRows,
    advisor: Advisor,
    *,
    shown_above: Collection[str] = (),
    max_rows: int = _MAX_ROWS,
) -> Iterator[RenderableType]:
    """Yield the plan with its outcomes, who was announced, what was not read, and the story.

    Args:
        shown_above: Kinds of attention that the operator has read already.
    """
    about = advisor_of(record, advisor)
    yield from _plan(width, run_rows, about, max_rows)
    yield from _announced(width, record, run_rows, about, max_rows)
    yield from _unread(run_rows, about, max_rows)
    story = story_of(record, advisor)
    yield from _organizations(story, width)
    yield from _summary(width, record, story)
    for attention in story.attention:
        if attention.kind not in shown_above:
            yield from _attention(attention)


def _plan(
    width: int, run_rows: RunRows, about: Advisor, max_rows: int = _MAX_ROWS
) -> Iterator[RenderableType]:
    """Yield the first rows of the plan below their projects, and how to see the others."""
    rows = run_rows.first(max_rows)
    all_rows = run_rows.invitations.values()
    if rows:
        table = table_by_place(rows, all_rows, with_organization=run_rows.is_of_several)
        yield from table_parts(table, width)
    yield from _rest(len(run_rows.invitations) - len(rows), about.list_run())


def _announced(
    width: int, record: RunRecord, run_rows: RunRows, about: Advisor, max_rows: int
) -> Iterator[RenderableType]:
    """Yield the first that are announced, and how to see the others."""
    total = len(run_rows.announced)
    if not total:
        return
    kind = announced_as(record)
    rows = run_rows.announced[:max_rows]
    yield from table_parts(_table(kind.caption, run_rows, rows, total), width)
    yield from _rest(total - len(rows), about.list_run("--event", kind.event))


def _unread(run_rows: RunRows, about: Advisor, max_rows: int) -> Iterator[RenderableType]:
    """Yield the first lists that were not read, and how to see the others."""
    total = len(run_rows.unreadable)
    if not total:
        return
    shown = run_rows.unread_lines(max_rows)
    yield heading(UNREAD_CAPTION, len(shown), total, "bold yellow")
    for line in shown:
        yield indented(Text(f"{line.label}: {line.text}"))
    yield Text("")
    yield from _rest(total - len(shown), about.list_run("--event", ListUnreadable.event))


def _kept(width: int, run: WholeRun) -> Iterator[RenderableType]:
    """Yield what a run kept, where it recorded that."""
    rows = sorted_rows(run.kept)
    if rows:
        yield from table_parts(_table(KEPT_CAPTION, run.rows, rows, len(rows)), width)


def _table(caption: str, run_rows: RunRows, rows: Sequence[Row], total: int) -> Table:
    """Return invitations of which each names its place."""
    columns = invitation_columns(rows, full_place_cell if run_rows.is_of_several else None)
    return Table.of("invitations", caption, columns, rows, total=total)


def _rest(count: int, command: str) -> Iterator[RenderableType]:
    """Yield the command that shows the rows that are not shown."""
    if count > 0:
        yield Text.assemble((f"{count:,} more: ", "dim"), command, no_wrap=True)
        yield Text("")


def _organizations(story: Document, width: int) -> Iterator[RenderableType]:
    """Yield how each of several organizations ended."""
    for section in story.sections:
        rows = [(Text(line.label), Text(line.text)) for line in section.facts]
        yield heading(section.heading, len(rows), len(rows))
        for part in entries(rows, width - INDENT):
            yield indented(part)
        yield Text("")


def _summary(width: int, record: RunRecord, story: Document) -> Iterator[RenderableType]:
    """Yield how the run went, where its file is, and its last hash."""
    label_width = len(_LAST_HASH)
    for line in story.facts:
        label_width = max(label_width, len(line.label))
    # The label of a headline may be longer: it does not move the texts below it.
    headline = (label_text(story.headline), Text(story.headline.text))
    yield from entries([headline], width, label_width=label_width)
    yield labelled(story.facts, label_width)
    yield _to_copy("Audit", escape_unprintable(str(record.file.path)), label_width)
    if record.last_hash and record.mode != "dry-run":  # it is not the SHA-256 of a plan
        yield _to_copy(_LAST_HASH, record.last_hash, label_width, "dim")


def _to_copy(label: str, text: str, label_width: int, style: str = "") -> Text:
    """Return a line that stays on one line, so that its text can be copied."""
    padded_label = label.ljust(label_width + GAP)
    return Text.assemble((padded_label, "bold"), (text, style), no_wrap=True)


def _attention(attention: Attention) -> Iterator[Text]:
    """Yield what needs attention, its title highlighted, and what to do."""
    title_end = len(attention.title) + 1  # with the colon or full stop
    text = Text(attention.text)
    text.stylize("bold yellow", 0, title_end)
    yield text
    if attention.hint.text:
        hint = escape_unprintable(attention.hint.sentence)
        yield Text.assemble(("What to do: ", "bold"), hint, no_wrap=True)


# Rows below their places -------------------------------------------------------------------------


def table_by_place(
    rows: Sequence[Row], all_rows: Iterable[Row], *, with_organization: bool = False
) -> Table:
    """Return the table of invitations below their places, by organization.

    Args:
        rows: Those that are shown.
        all_rows: The headings count them.
        with_organization: Headings name the organization even if all rows are of one.
    """
    all_rows = tuple(all_rows)
    is_full = with_organization or len({row.organization for row in all_rows}) > 1

    def name_of(row: Row) -> str:
        return place_name(row.event, row.organization, full=is_full)

    totals = Counter(map(name_of, all_rows))
    first_rows = {name: number for number, name in enumerate(dict.fromkeys(map(name_of, rows)))}
    # The places of one organization are in the order of their first rows.
    ordered = sorted(rows, key=lambda row: (row.organization, first_rows[name_of(row)]))
    columns = invitation_columns(ordered, lambda row: line_cell(name_of(row)))
    table = Table.of("plan", "", columns, ordered, total=totals.total())
    return table._replace(grouped_by=table.columns.index(PLACE), group_totals=totals)

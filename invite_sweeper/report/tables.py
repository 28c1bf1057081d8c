"""Plan, outcomes, totals and log lines as tables."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from invite_sweeper.errors import ExitCode, RunStatus
from invite_sweeper.report import formatting
from invite_sweeper.report.run_view import Group, KeptNames, Row, Shown, name, one_row_a_person
from invite_sweeper.sweep.summary import SUNSET_WARNING_DAYS, RunSummary
from invite_sweeper.text import counted, text, visible

# The plan as a table grouped by project: one line an invitation where there is room, else two.


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
_DOT = " · "
_INDENT = 2
_HEADS = ("AGE", "INVITED", "RULE", "ROLE", "INVITED BY", "OUTCOME")
_WIDEST = (9, 64, 24, 24, 32, 16)
"""Cells a column asks for at most; what is longer goes on in the next line."""
_INVITED = 1
_LEAST_INVITED = 30
"""Below this an address breaks too often: then an invitation takes two lines."""


def grouped(groups: Sequence[Group], width: int) -> Iterator[RenderableType]:
    """Give the projects with their invitations, all columns in line.

    Args:
        width: Cells of the terminal.
    """
    if not groups:
        return
    cells = [[_cells(row) for row in group.rows] for group in groups]
    outcomes = any(row.outcome for group in groups for row in group.rows)
    widths = _widths([row for rows in cells for row in rows], width, outcomes=outcomes)
    if widths:
        yield _indented(_line_each(widths, [[Text(head, style="dim") for head in _HEADS]]))
    for group, rows in zip(groups, cells, strict=True):
        yield _project_heading(group)
        yield _indented(
            _line_each(widths, rows) if widths else _two_lines(rows, width, outcomes=outcomes)
        )
        if group.hidden:
            yield _indented(Text(f"… {group.hidden:,} more, none of them older", style="dim"))
        yield Text("")


def _project_heading(group: Group) -> Text:
    return Text.assemble((group.project or "(no name)", "bold"), (f"  {group.count:,}", "dim"))


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, _INDENT))


def _cells(row: Row) -> tuple[Text, ...]:
    """Give the cells in the order of `_HEADS`."""
    return (
        Text(formatting.age(row.age_days)),
        _invited(row),
        Text(row.rule),
        formatting.roles(row.roles),
        Text(row.inviter),
        Text("\n").join(map(_outcome, (row, *row.doors))),
    )


def _invited(row: Row) -> Text:
    """Give the address; a person with several doors is told which lists they are in."""
    address = Text(row.username or "(no address)")
    if not row.doors:
        return address
    lists = ", ".join(each.source for each in (row, *row.doors))
    doors = Text(f"{len(row.doors) + 1} doors: {lists}", style="dim")
    return Text("\n").join((address, doors))


def _outcome(row: Row) -> Text:
    outcome = row.outcome or "skipped"
    return Text(outcome.replace("_", " "), style=OUTCOME_STYLES.get(outcome, ""))


def _widths(rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool) -> tuple[int, ...]:
    """Give each column what it asks for and INVITED the rest; nothing where that is too little."""
    count = len(_HEADS) if outcomes else len(_HEADS) - 1
    asked = [
        min(_WIDEST[column], max(len(_HEADS[column]), *(_longest(row[column]) for row in rows)))
        for column in range(count)
    ]
    room = width - _INDENT - sum(asked) - _GAP * (count - 1)
    if room < 0:
        asked[_INVITED] += room
        if asked[_INVITED] < _LEAST_INVITED:
            return ()
    return tuple(asked)


def _longest(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _line_each(widths: Sequence[int], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, width in enumerate(widths):
        table.add_column(width=width, justify="left" if number else "right", overflow="fold")
    for row in rows:
        table.add_row(*row[: len(widths)])
    return table


def _two_lines(rows: Sequence[Sequence[Text]], width: int, *, outcomes: bool) -> Table:
    """The address in a line of its own, all else below it."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    room = width - _INDENT - _GAP - max(row[0].cell_len for row in rows)
    for age, invited, rule, roles, inviter, outcome in rows:
        said = list(outcome.split()) if outcomes else []
        said += [Text(str(rule), style="dim"), *roles.split()]
        said += [Text(f"by {inviter}", style="dim")] if inviter else []
        table.add_row(age, Text("\n").join((invited, *_filled(said, room))))
    return table


def _filled(parts: Sequence[Text], room: int) -> Iterator[Text]:
    """Put as many parts into each line as it holds; only a part too long for one is broken."""
    line = Text()
    for part in parts:
        if line and line.cell_len + len(_DOT) + part.cell_len > room:
            yield line
            line = Text()
        if line:
            line.append(_DOT, style="dim")
        line.append_text(part)
    yield line


# The last lines of a run on the terminal: how it ended, what it took, where it is written.


_STYLES: Final = {
    RunStatus.DONE: "bold green",
    RunStatus.PARTLY_DONE: "bold yellow",
    RunStatus.STOPPED: "bold yellow",
    RunStatus.REFUSED: "bold red",
    RunStatus.FAILED: "bold red",
}


def closing(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    """Give the totals, a line each after a word of their own.

    The log and its last hash are there to be copied: they stay in one line.
    """
    lines = tuple(_lines(summary, shown))
    words = max(len("Last hash"), *(len(word) for word, _, _ in lines))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, width=words)
    table.add_column(overflow="fold")
    for word, style, said in lines:
        table.add_row(Text(word, style=style), Text(said))
    yield table
    audit = "Audit".ljust(words + _GAP)
    yield Text.assemble((audit, "bold"), visible(summary.audit_log), no_wrap=True)
    if summary.audit_last_hash:
        last = "Last hash".ljust(words + _GAP)
        yield Text.assemble((last, "bold"), (summary.audit_last_hash, "dim"), no_wrap=True)


def _lines(summary: RunSummary, shown: Shown) -> Iterator[tuple[str, str, str]]:
    yield *_verdict(summary), _done(summary)
    yield "Seen", "bold", _seen(summary)
    yield "Stale", "bold", _stale(summary, shown)
    if summary.recovered:
        settled = counted(summary.recovered, "deletion")
        yield "Settled", "bold", f"{settled} that an earlier run had left open"
    yield "Time", "bold", _time(summary, shown)
    if summary.sources_retired:
        lists = ", ".join(map(visible, summary.sources_retired))
        yield "Retired", "bold red", f"Atlas no longer serves these lists: {lists}"
    if _sunset_is_near(summary):
        yield "Sunset", "bold yellow", f"Atlas stops serving what this run used on {summary.sunset}"


def _verdict(summary: RunSummary) -> tuple[str, str]:
    status = ExitCode(summary.exit_code).status
    done_nothing = status is RunStatus.DONE and summary.mode == "dry-run"
    return ("Dry run" if done_nothing else status.capitalize()), _STYLES[status]


def _done(summary: RunSummary) -> str:
    counts = (
        ("deleted", summary.deleted),
        ("already gone", summary.already_gone),
        ("accepted before", summary.accepted_before),
        ("accepted during", summary.accepted_during),
        ("failed", summary.failed),
        ("unknown", summary.unknown),
        ("skipped", summary.skipped),
    )
    told = ", ".join(f"{count:,} {name}" for name, count in counts if count)
    return told or "nothing was deleted"


def _seen(summary: RunSummary) -> str:
    invitations = counted(summary.invitations_seen, "invitation")
    projects = counted(summary.projects_seen, "project")
    lost = f", {summary.projects_unreadable:,} of them not read"
    return f"{invitations} in {projects}{lost if summary.projects_unreadable else ''}"


def _stale(summary: RunSummary, shown: Shown) -> str:
    if not summary.stale:
        return "none"
    where = f" in {counted(shown.projects, 'project')}" if shown.projects else ""
    trimmed = f", {formatting.left_over(summary.trimmed)}" if summary.trimmed else ""
    return f"{summary.stale - summary.trimmed:,}{where}{trimmed}"


def _time(summary: RunSummary, shown: Shown) -> str:
    told = f"{formatting.duration(summary.duration_s)}, {counted(summary.requests, 'request')}"
    if summary.retries:
        told += f", {counted(summary.retries, 'retry', 'retries')}"
    if summary.rate_limited:
        told += f", {counted(summary.rate_limited, 'answer')} 429"
    return told + _against_estimate(summary, shown)


def _against_estimate(summary: RunSummary, shown: Shown) -> str:
    """Hold the time of the deletions against what Atlas's limits ask for."""
    if summary.estimate_s is None or not summary.stale:
        return ""
    limits = formatting.limits(summary.estimate_s)
    if shown.swept_s is None:
        return f"; {counted(shown.planned, 'deletion')}: {limits}"
    return f"; the deletions {formatting.duration(shown.swept_s)}, {limits}"


def _sunset_is_near(summary: RunSummary) -> bool:
    if summary.sunset is None:
        return False
    today = datetime.fromisoformat(summary.now).date()
    return (date.fromisoformat(summary.sunset) - today).days <= SUNSET_WARNING_DAYS


# What is printed, without the blanks that fill a table up to its right edge.


class Trimmed:
    """A part of the output whose lines end where their last letter does."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the lines; each ends with its newline."""
        for line in console.render_lines(self._part, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style))
            yield from (*line, Segment.line())


# A run on the terminal: the plan by project, what was kept and why, the trouble, the totals.


def show(
    console: Console, summary: RunSummary, shown: Shown, *, kept: KeptNames | None = None
) -> None:
    """Write a run to the console; names cannot move the cursor or fake a line.

    Args:
        kept: The kept invitations by name; None tells their number alone.
    """
    _write(console, _parts(console.width, summary, shown, kept))


def plan_only(console: Console, summary: RunSummary, shown: Shown) -> None:
    """Write the plan alone, before the question on a terminal."""
    _write(console, _plan(console.width, summary, shown))


def _write(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if isinstance(part, Text) and part.no_wrap:
            console.print(part, soft_wrap=True)
        else:
            console.print(Trimmed(part), end="")


def _parts(
    width: int, summary: RunSummary, shown: Shown, kept: KeptNames | None
) -> Iterator[RenderableType]:
    yield from _plan(width, summary, shown)
    yield from _astray(summary, shown)
    yield from _returned(shown)
    yield from _lost(summary, shown)
    yield from _kept(summary, kept)
    yield from closing(summary, shown)


def _plan(width: int, summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    yield from grouped(one_row_a_person(shown.groups), width)
    if hidden := shown.projects - len(shown.groups):
        count = shown.planned - sum(group.count for group in shown.groups)
        rest = f"… {count:,} more in {counted(hidden, 'other project')}"
        yield Text(rest, style="dim")
    if shown.planned > sum(len(group.rows) for group in shown.groups):
        yield _see_all(summary, "planned")
        yield Text("")


def _astray(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    count = summary.failed + summary.unknown + summary.accepted_during
    if not count:
        return
    yield _heading("Not as planned", count, "bold red")
    yield _list(
        (f"{row.username or '(no address)'} in {row.project or '(no name)'}", _why(row))
        for row in shown.astray
    )
    yield from _rest(count - len(shown.astray))
    yield Text("")


def _why(row: Row) -> Text:
    outcome = row.outcome or ""
    said = outcome.replace("_", " ")
    return Text.assemble((said, OUTCOME_STYLES.get(outcome, "")), f": {row.detail}")


def _returned(shown: Shown) -> Iterator[RenderableType]:
    if not shown.returned_count:
        return
    yield _heading("Back after an earlier deletion", shown.returned_count, "bold yellow")
    yield _list(
        (
            f"{row.username or '(no address)'} in {row.project or '(no name)'}",
            Text(f"deleted {counted(row.bounced, 'time')} before"),
        )
        for row in shown.returned
    )
    yield from _rest(shown.returned_count - len(shown.returned))
    yield Text("")


def _lost(summary: RunSummary, shown: Shown) -> Iterator[RenderableType]:
    count = summary.projects_unreadable
    if not count:
        return
    yield _heading("Projects not read; they lose nothing", count, "bold yellow")
    yield _list((lost.project or "(no name)", Text(lost.reason)) for lost in shown.lost)
    if count > len(shown.lost):
        yield from _rest(count - len(shown.lost))
        yield _see_all(summary, "project_unreadable")
    yield Text("")


def _kept(summary: RunSummary, names: KeptNames | None) -> Iterator[RenderableType]:
    if not summary.kept:
        return
    yield _heading("Kept", summary.kept, "bold")
    by_count = sorted(summary.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    if names is None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for why, count in by_count:
            table.add_row(f"{count:,}", Text(formatting.reason(why)))
        yield Padding(table, (0, 0, 0, 2))
    else:
        for why, count in by_count:
            yield Text.assemble(f"  {formatting.reason(why)}", (f"  {count:,}", "dim"))
            yield from _kept_names(names.rows.get(why, ()), count)
    yield Text("")


def _kept_names(rows: Sequence[Row], count: int) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        who = f"{row.username or '(no address)'} in {row.project or '(no name)'}"
        table.add_row(formatting.age(row.age_days), Text(who))
    if rows:
        yield Padding(table, (0, 0, 0, 4))
    yield from (Padding(part, (0, 0, 0, 2)) for part in _rest(count - len(rows)))


def _heading(title: str, count: int, style: str) -> Text:
    return Text.assemble((title, style), (f"  {count:,}", "dim"))


def _list(items: Iterable[tuple[str, Text]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for who, what in items:
        table.add_row(Text(who), what)
    return Padding(table, (0, 0, 0, 2))


def _rest(count: int) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  … {count:,} more", style="dim")


def _see_all(summary: RunSummary, event: str) -> Text:
    """The command in one line, however narrow the terminal is: it is there to be copied."""
    log = shlex.quote(visible(summary.audit_log))
    command = f"invite-sweeper audit show {log} --run {visible(summary.run_id)} --event {event}"
    return Text.assemble(("All of them: ", "dim"), command, no_wrap=True)


# Audit lines on the terminal: written as they are read, in flat memory.


_PAGE = 500
_TIME_CELLS, _RUN_CELLS, _EVENT_CELLS = 19, 25, 18
_TABLE_FROM_WIDTH = 130
"""Below it a line of the log takes two on the terminal."""


class LineTable:
    """Shows records page by page, so that a long log needs no memory.

    Widths are fixed: a column must not jump from page to page.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wide = console.width >= _TABLE_FROM_WIDTH
        self._table = self._page(show_header=True)
        self._rows = 0
        self._shown = 0

    def add(self, record: Mapping[str, object]) -> None:
        """Show one record."""
        time = name(text(record.get("ts"))[:_TIME_CELLS].replace("T", " "))
        run, event = name(record.get("run_id")), name(record.get("event"))
        project, username = name(record.get("project_name")), name(record.get("username"))
        said = _said(record)
        self._shown += 1
        if not self._wide:
            self._two_lines(f"{time}  {run}  {event}", project, username, said)
            return
        self._table.add_row(*map(Text, (time, run[:_RUN_CELLS], event, project, username, said)))
        self._rows += 1
        if self._rows == _PAGE:
            self._flush()

    def close(self) -> None:
        """Show what is left, or say that there was nothing."""
        self._flush()
        if not self._shown:
            self._console.print(Text("No such lines."))

    def _two_lines(self, head: str, project: str, username: str, said: str) -> None:
        whose = " in ".join(filter(None, (username, project)))
        below = ": ".join(filter(None, (whose, said)))
        self._console.print(Trimmed(Text(head, style="dim", overflow="fold")), end="")
        if below:
            part = Padding(Text(below, overflow="fold"), (0, 0, 0, _GAP))
            self._console.print(Trimmed(part), end="")

    def _flush(self) -> None:
        if self._rows:
            self._console.print(Trimmed(self._table), end="")
        self._table = self._page(show_header=False)
        self._rows = 0

    def _page(self, *, show_header: bool) -> Table:
        table = Table(
            box=None, padding=(0, _GAP, 0, 0), header_style="dim", show_header=show_header
        )
        table.add_column("TIME (UTC)", width=_TIME_CELLS, no_wrap=True)
        table.add_column("RUN", width=_RUN_CELLS, no_wrap=True)
        table.add_column("EVENT", width=_EVENT_CELLS, overflow="fold")
        taken = _TIME_CELLS + _RUN_CELLS + _EVENT_CELLS + 6 * _GAP
        free = max(self._console.width - taken, 24)
        table.add_column("PROJECT", width=free // 4, overflow="fold")
        table.add_column("INVITED", width=free // 3, overflow="fold")
        table.add_column("WHAT", width=free - free // 4 - free // 3, overflow="fold")
        return table


def _said(record: Mapping[str, object]) -> str:
    """What is worth a word in a line of this event."""
    match record.get("event"):
        case "outcome":
            names = ("outcome", "http_status", "error_code")
            return " ".join(filter(None, (name(record.get(key)) for key in names)))
        case "planned" | "intent":
            return name(record.get("rule"))
        case "project_unreadable" | "source_retired":
            return name(record.get("reason"))
        case "run_started":
            return f"{name(record.get('mode'))} by {name(record.get('actor'))}"
        case "run_finished":
            return (
                f"exit {name(record.get('exit_code'))}, {name(record.get('stale'))} stale, "
                f"{name(record.get('deleted'))} deleted"
            )
        case _:
            return ""

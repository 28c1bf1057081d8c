"""Print records of an audit log as a table, in constant memory.

Names from Atlas can neither move the cursor nor start a new line.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.columns import Cell, Column, text_cell
from invite_sweeper.report.rows import display_text
from invite_sweeper.report.tables import RightTrimmed, cell_text
from invite_sweeper.text import to_text

_Record: TypeAlias = Mapping[str, object]
_GAP: Final = 2
_PAGE_ROWS: Final = 500
_TIME_CELLS: Final = 19
_RUN_CELLS: Final = 25
_TABLE_MIN_WIDTH: Final = 130
"""Below this width each record takes two lines."""


def _field(name: str) -> Callable[[_Record], Cell]:
    """Return a function that returns the cell of a field."""
    return lambda record: text_cell(display_text(record.get(name)))


def _time_cell(record: _Record) -> Cell:
    return text_cell(display_text(to_text(record.get("ts"))[:_TIME_CELLS].replace("T", " ")))


def _run_cell(record: _Record) -> Cell:
    return text_cell(display_text(record.get("run_id"))[:_RUN_CELLS])


def _detail_cell(record: _Record) -> Cell:
    """Return the most useful fields of a record, by its event."""

    def text(key: str) -> str:
        return display_text(record.get(key))

    match record.get("event"):
        case "outcome":
            found = " ".join(filter(None, map(text, ("outcome", "http_status", "error_code"))))
        case "planned" | "intent" | "announced":
            found = text("rule")
        case "project_unreadable" | "source_retired" | "announcement_ended" | "kept":
            found = text("reason")
        case "run_started":
            found = f"{text('mode')} by {text('actor')}"
        case "run_finished":
            found = f"exit {text('exit_code')}, {text('stale')} stale, {text('deleted')} deleted"
        case _:
            found = ""
    return text_cell(found)


_FIXED: Final[tuple[Column[_Record], ...]] = (
    Column("Time (UTC)", _time_cell, "date", _TIME_CELLS),
    Column("Run", _run_cell, "code", _RUN_CELLS),
    Column("Event", _field("event"), max_width=18),
)
_FOLDED: Final[tuple[Column[_Record], ...]] = (
    Column("Project", _field("project_name")),
    Column("Invited", _field("username"), "address"),
    Column("Detail", _detail_cell, "prose"),
)


class RecordTable:
    """Prints audit records page by page, in constant memory.

    Column widths are fixed, so that they are the same on every page.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        fixed = sum(each.max_width for each in _FIXED) + 6 * _GAP
        free = max(console.width - fixed, 24)
        widths = (free // 4, free // 3, free - free // 4 - free // 3)
        folded = (each._replace(max_width=w) for each, w in zip(_FOLDED, widths, strict=True))
        self._columns = (*_FIXED, *folded)
        self._wide = console.width >= _TABLE_MIN_WIDTH
        self._table = self._new_table(show_header=True)
        self._shown = 0

    def add(self, record: _Record) -> None:
        """Add one record; a full page is printed."""
        self._shown += 1
        cells = [column.cell(record) for column in self._columns]
        if self._wide:
            self._table.add_row(*map(cell_text, cells))
            if self._table.row_count == _PAGE_ROWS:
                self._flush()
        else:
            self._print_two_lines(*(cell.text for cell in cells))

    def close(self) -> None:
        """Print the remaining rows, or a note that there were none."""
        self._flush()
        if not self._shown:
            self._console.print(Text("No matching records."))

    def _print_two_lines(
        self, time: str, run: str, event: str, project: str, username: str, detail: str
    ) -> None:
        head = f"{time}  {run}  {event}"
        subject = " in ".join(filter(None, (username, project)))
        below = ": ".join(filter(None, (subject, detail)))
        self._console.print(RightTrimmed(Text(head, style="dim", overflow="fold")), end="")
        if below:
            part = Padding(Text(below, overflow="fold"), (0, 0, 0, _GAP))
            self._console.print(RightTrimmed(part), end="")

    def _flush(self) -> None:
        if self._table.row_count:
            self._console.print(RightTrimmed(self._table), end="")
        self._table = self._new_table(show_header=False)

    def _new_table(self, *, show_header: bool) -> Table:
        table = Table(
            box=None, padding=(0, _GAP, 0, 0), header_style="dim", show_header=show_header
        )
        for column in self._columns:
            heading, no_wrap = column.heading.upper(), column.kind in {"date", "code"}
            table.add_column(heading, width=column.max_width, no_wrap=no_wrap, overflow="fold")
        return table

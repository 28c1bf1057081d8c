"""Print records of an audit log as a table, in constant memory.

Names from Atlas can neither move the cursor nor start a new line.
"""

from collections.abc import Mapping

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.rows import display_text
from invite_sweeper.report.tables import RightTrimmed
from invite_sweeper.text import to_text

_GAP = 2
_PAGE_ROWS = 500
_TIME_CELLS, _RUN_CELLS, _EVENT_CELLS = 19, 25, 18
_TABLE_MIN_WIDTH = 130
"""Below this width each record takes two lines."""


class RecordTable:
    """Prints audit records page by page, in constant memory.

    Column widths are fixed, so that they are the same on every page.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wide = console.width >= _TABLE_MIN_WIDTH
        self._table = self._new_table(show_header=True)
        self._rows = 0
        self._shown = 0

    def add(self, record: Mapping[str, object]) -> None:
        """Add one record; a full page is printed."""
        time = display_text(to_text(record.get("ts"))[:_TIME_CELLS].replace("T", " "))
        run, event = display_text(record.get("run_id")), display_text(record.get("event"))
        project, username = (
            display_text(record.get("project_name")),
            display_text(record.get("username")),
        )
        summary = _summarize_record(record)
        self._shown += 1
        if not self._wide:
            self._print_two_lines(f"{time}  {run}  {event}", project, username, summary)
            return
        self._table.add_row(*map(Text, (time, run[:_RUN_CELLS], event, project, username, summary)))
        self._rows += 1
        if self._rows == _PAGE_ROWS:
            self._flush()

    def close(self) -> None:
        """Print the remaining rows, or a note that there were none."""
        self._flush()
        if not self._shown:
            self._console.print(Text("No matching records."))

    def _print_two_lines(self, head: str, project: str, username: str, summary: str) -> None:
        subject = " in ".join(filter(None, (username, project)))
        below = ": ".join(filter(None, (subject, summary)))
        self._console.print(RightTrimmed(Text(head, style="dim", overflow="fold")), end="")
        if below:
            part = Padding(Text(below, overflow="fold"), (0, 0, 0, _GAP))
            self._console.print(RightTrimmed(part), end="")

    def _flush(self) -> None:
        if self._rows:
            self._console.print(RightTrimmed(self._table), end="")
        self._table = self._new_table(show_header=False)
        self._rows = 0

    def _new_table(self, *, show_header: bool) -> Table:
        table = Table(
            box=None, padding=(0, _GAP, 0, 0), header_style="dim", show_header=show_header
        )
        table.add_column("TIME (UTC)", width=_TIME_CELLS, no_wrap=True)
        table.add_column("RUN", width=_RUN_CELLS, no_wrap=True)
        table.add_column("EVENT", width=_EVENT_CELLS, overflow="fold")
        fixed_width = _TIME_CELLS + _RUN_CELLS + _EVENT_CELLS + 6 * _GAP
        free_width = max(self._console.width - fixed_width, 24)
        table.add_column("PROJECT", width=free_width // 4, overflow="fold")
        table.add_column("INVITED", width=free_width // 3, overflow="fold")
        table.add_column(
            "DETAIL", width=free_width - free_width // 4 - free_width // 3, overflow="fold"
        )
        return table


def _summarize_record(record: Mapping[str, object]) -> str:
    """Return the most useful fields of a record, by its event."""

    def text(key: str) -> str:
        return display_text(record.get(key))

    match record.get("event"):
        case "outcome":
            return " ".join(filter(None, map(text, ("outcome", "http_status", "error_code"))))
        case "planned" | "intent" | "announced":
            return text("rule")
        case "project_unreadable" | "source_retired" | "announcement_ended":
            return text("reason")
        case "run_started":
            return f"{text('mode')} by {text('actor')}"
        case "run_finished":
            return f"exit {text('exit_code')}, {text('stale')} stale, {text('deleted')} deleted"
        case _:
            return ""

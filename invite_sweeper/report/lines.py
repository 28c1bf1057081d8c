"""Audit lines on the terminal: written as they are read, in flat memory."""

from collections.abc import Mapping

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.rows import name
from invite_sweeper.report.trimmed import Trimmed
from invite_sweeper.report.values import text

_PAGE = 500
_TIME_CELLS, _RUN_CELLS, _EVENT_CELLS = 19, 25, 18
_GAP = 2
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

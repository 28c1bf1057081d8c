"""Audit lines on the terminal: a table that is written as it is read, in flat memory."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invite_sweeper.report.values import shortened, text, visible

_PAGE = 500
_RUN_CHARS = 25


class LineTable:
    """Shows records page by page, so that a long log needs no memory.

    Widths are fixed: a column must not jump from page to page.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._table = self._page(show_header=True)
        self._rows = 0
        self._shown = 0

    def add(self, record: Mapping[str, object]) -> None:
        """Show one record."""
        event = text(record.get("event"))
        self._table.add_row(
            text(record.get("ts"))[:19].replace("T", " "),
            visible(text(record.get("run_id")))[:_RUN_CHARS],
            Text(visible(event)),
            Text(visible(text(record.get("project_name")))),
            Text(visible(text(record.get("username")))),
            Text(visible(shortened(_said(event, record), 200))),
        )
        self._rows += 1
        self._shown += 1
        if self._rows == _PAGE:
            self._flush()

    def close(self) -> None:
        """Show what is left, or say that there was nothing."""
        self._flush()
        if not self._shown:
            self._console.print(Text("No such lines."))

    def _flush(self) -> None:
        if self._rows:
            self._console.print(self._table)
        self._table = self._page(show_header=False)
        self._rows = 0

    def _page(self, *, show_header: bool) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=show_header)
        table.add_column("TIME (UTC)", width=19, no_wrap=True)
        table.add_column("RUN", width=_RUN_CHARS, no_wrap=True)
        table.add_column("EVENT", width=12, no_wrap=True)
        free = max(self._console.width - 19 - _RUN_CHARS - 12 - 12, 24)
        table.add_column("PROJECT", width=free // 4, overflow="fold")
        table.add_column("INVITED", width=free // 3, overflow="fold")
        table.add_column("WHAT", width=free - free // 4 - free // 3, overflow="fold")
        return table


def _said(event: str, record: Mapping[str, object]) -> str:
    """What is worth a word in a line of this event."""
    if event == "outcome":
        names = ("outcome", "http_status", "error_code")
        return " ".join(filter(None, (text(record.get(name)) for name in names)))
    if event in {"planned", "intent"}:
        return text(record.get("rule"))
    if event == "project_unreadable":
        return text(record.get("reason"))
    if event == "run_started":
        return f"{text(record.get('mode'))} by {text(record.get('actor'))}"
    if event == "run_finished":
        return (
            f"exit {text(record.get('exit_code'))}, {text(record.get('stale'))} stale, "
            f"{text(record.get('deleted'))} deleted"
        )
    return ""

"""The confirmation on a terminal before anything is deleted, invited or approved."""

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TextIO, TypeVar

from rich.console import Console, Group, RenderableType
from rich.text import Text

from invite_sweeper.cli.console import RedactingConsole
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Limits
from invite_sweeper.report import formatting
from invite_sweeper.report.columns import format_age
from invite_sweeper.report.rows import Row, role_line
from invite_sweeper.report.run_view import RunView
from invite_sweeper.report.tables import RightTrimmed, definition_table, line_text
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import plural_form, pluralize

_TERMINAL = Path("/dev/tty")
_MAX_LINE_BYTES = 1024


_Shown = TypeVar("_Shown")


class Confirmation(Generic[_Shown]):
    """Shows what would be done and asks for confirmation; only a typed `yes` confirms.

    Args:
        present: Writes what would be done, and the question.
        consequence: The state if the question cannot be asked.
    """

    def __init__(
        self,
        stop: StopRequest,
        present: Callable[[Console, _Shown], None],
        *,
        consequence: str = NOTHING_DELETED,
    ) -> None:
        self._stop = stop
        self._present = present
        self._consequence = consequence

    @staticmethod
    def is_interactive() -> bool:
        """Return whether stdin is a terminal."""
        return sys.stdin.isatty()

    async def __call__(self, shown: _Shown) -> bool:
        """Return whether the user confirmed; end of input, a signal and the deadline do not.

        Raises:
            GuardRefused: The question cannot be shown on a terminal.
        """
        with _terminal_stream(self._consequence) as stream:
            self._present(RedactingConsole(file=stream), shown)
            # Discard input typed before the question was shown: it does not answer it.
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
            stream.write("Type yes or no: ")
            stream.flush()
            answer = await self._read_line()
            if not answer.endswith(b"\n"):
                stream.write("\n")
            if answer.strip().lower() == b"y":
                stream.write("Only the whole word yes confirms.\n")
        return answer.strip().lower() == b"yes"

    async def _read_line(self) -> bytes:
        """Return a line; b"" at the end of input or when a stop is requested first."""
        descriptor = sys.stdin.fileno()
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()
        stop_task = asyncio.ensure_future(self._stop.requested.wait())
        loop.add_reader(descriptor, _on_readable, descriptor, bytearray(), line)
        try:
            await asyncio.wait((line, stop_task), return_when=asyncio.FIRST_COMPLETED)
            return line.result() if line.done() and not stop_task.done() else b""
        finally:
            loop.remove_reader(descriptor)
            stop_task.cancel()


def _on_readable(descriptor: int, received: bytearray, line: "asyncio.Future[bytes]") -> None:
    """Collect available bytes until the line is complete; a blocking read would delay signals."""
    if line.done():
        return
    try:
        chunk = os.read(descriptor, _MAX_LINE_BYTES)
    except OSError:  # the terminal is gone
        chunk = b""
    received += chunk
    if not chunk or received.endswith(b"\n") or len(received) > _MAX_LINE_BYTES:
        line.set_result(bytes(received))


@contextmanager
def _terminal_stream(consequence: str) -> Iterator[TextIO]:
    """Yield stderr, or the terminal if stderr is redirected."""
    if sys.stderr.isatty():
        yield sys.stderr
        return
    try:
        stream = _TERMINAL.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError:
        raise GuardRefused(
            "Cannot ask for confirmation: stderr is not a terminal.",
            consequence=consequence,
            hint="Do not redirect stderr, or use --yes.",
            reasons=(Reason.NOT_CONFIRMED,),
        ) from None
    with stream:
        yield stream


def render_question(summary: RunSummary, view: RunView, limits: Limits) -> RenderableType:
    """Return the question with the counts, limits and ages of the planned deletions."""
    table = definition_table(_question_rows(summary, view, limits))
    planned = pluralize(view.planned, "invitation")
    title = Text(f"Delete {planned}?", style="bold")
    return RightTrimmed(Group(title, table, Text("This cannot be undone.")))


def _question_rows(
    summary: RunSummary, view: RunView, limits: Limits
) -> Iterator[tuple[str, Text]]:
    where = plural_form(len(view.organizations), "organization", "organizations")
    yield where, Text(", ".join(view.organizations))
    yield "count", Text(_count_text(summary, view))
    for warning in summary.warnings:
        if warning.code == WarningCode.NOTICE:
            yield "notice", Text(warning.message)
    if view.owners:
        yield "owners", Text(f"{view.owners:,} of them", style="bold")
    if view.bounced:
        yield "history", Text(f"{view.bounced:,} of them deleted before", style="yellow")
    yield "limits", Text(_limits_text(summary, view, limits))
    if view.oldest is not None and view.newest is not None:
        yield "oldest", _invitation_text(view.oldest)
        yield "newest", _invitation_text(view.newest)


def _count_text(summary: RunSummary, view: RunView) -> str:
    places = formatting.describe_places(view.projects, view.organization_lists)
    trimmed = f"; {formatting.describe_trimmed(summary.trimmed)}" if summary.trimmed else ""
    return (
        f"{view.planned:,} of the {summary.invitations_seen:,} seen, in {places}, "
        f"at most {view.max_in_project:,} in one{trimmed}"
    )


def _limits_text(summary: RunSummary, view: RunView, limits: Limits) -> str:
    share = view.planned / summary.invitations_seen if summary.invitations_seen else 0.0
    return (
        f"{limits.max_deletions:,} a run, {limits.max_deletions_per_project:,} a project, "
        f"{limits.max_share:.0%} of those seen (this is {share:.0%})"
    )


def _invitation_text(row: Row) -> Text:
    text = Text(f"{format_age(row.age_days)}  {row.user_in_place}, ")
    text.append_text(Text(", ").join(line_text(role_line(role)) for role in row.roles))
    return text.append(f", {row.history}", style="yellow") if row.history else text

"""The question before a deletion."""

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Limits
from invite_sweeper.report import formatting
from invite_sweeper.report.run_view import Row, Shown
from invite_sweeper.report.tables import Trimmed
from invite_sweeper.shutdown import Stop
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import counted

if TYPE_CHECKING:
    from rich.console import Console


# The question on a terminal before anything is deleted.


_TERMINAL = Path("/dev/tty")
_MOST_BYTES = 1024


class Question:
    """Shows the plan and asks; only a typed yes is one.

    Args:
        present: Writes the plan and the question for a person.
    """

    def __init__(self, stop: Stop, present: "Callable[[Console, RunSummary], None]") -> None:
        self._stop = stop
        self._present = present

    @staticmethod
    def is_due() -> bool:
        """Whether a person sits there who can type an answer."""
        return sys.stdin.isatty()

    async def __call__(self, summary: RunSummary) -> bool:
        """Ask; an end of input, a signal or the deadline is no yes.

        Raises:
            GuardRefused: The person cannot be shown what is asked. Nothing was deleted.
        """
        with _where_the_person_looks() as stream:
            self._present(Console(file=stream), summary)
            # What was typed before the question was there answered another one.
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
            stream.write("Type yes or no: ")
            stream.flush()
            answer = await self._line()
            if not answer.endswith(b"\n"):
                stream.write("\n")
        return answer.strip().lower() in {b"y", b"yes"}

    async def _line(self) -> bytes:
        """Wait for a line, its end or a stop, whichever comes first."""
        descriptor = sys.stdin.fileno()
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[bytes] = loop.create_future()
        bell = asyncio.ensure_future(self._stop.asked.wait())
        loop.add_reader(descriptor, _read, descriptor, bytearray(), typed)
        try:
            await asyncio.wait((typed, bell), return_when=asyncio.FIRST_COMPLETED)
            return typed.result() if typed.done() and not bell.done() else b""
        finally:
            loop.remove_reader(descriptor)
            bell.cancel()


def _read(descriptor: int, so_far: bytearray, typed: "asyncio.Future[bytes]") -> None:
    """Take what there is, and wait for the rest: a blocking read would be deaf to signals."""
    if typed.done():
        return
    try:
        piece = os.read(descriptor, _MOST_BYTES)
    except OSError:  # the terminal is gone
        piece = b""
    so_far += piece
    if not piece or so_far.endswith(b"\n") or len(so_far) > _MOST_BYTES:
        typed.set_result(bytes(so_far))


@contextmanager
def _where_the_person_looks() -> Iterator[TextIO]:
    """Give stderr, or the terminal itself where stderr goes elsewhere."""
    if sys.stderr.isatty():
        yield sys.stderr
        return
    try:
        stream = _TERMINAL.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError:
        raise GuardRefused(
            "There is a terminal to answer on, and none to ask on.",
            hint="Let stderr be a terminal, or say --yes.",
        ) from None
    with stream:
        yield stream


# The question before a deletion: whose invitations, how many, within which limits, how old.


def question(summary: RunSummary, shown: Shown, limits: Limits) -> RenderableType:
    """Give the question, without the words that ask for the answer."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for word, said in _facts(summary, shown, limits):
        table.add_row(Text(f"  {word}", style="dim"), said)
    planned = counted(shown.planned, "invitation")
    title = Text(f"Delete {planned}?", style="bold")
    return Trimmed(Group(title, table, Text("There is no undo.")))


def _facts(summary: RunSummary, shown: Shown, limits: Limits) -> Iterator[tuple[str, Text]]:
    organizations = ", ".join(shown.organizations)
    yield "organization" if len(shown.organizations) == 1 else "organizations", Text(organizations)
    yield "count", Text(_count(summary, shown))
    yield "limits", Text(_limits(summary, shown, limits))
    if shown.oldest is not None and shown.newest is not None:
        yield "oldest", _one(shown.oldest)
        yield "newest", _one(shown.newest)
    if summary.estimate_s is not None:
        yield "time", Text(formatting.limits(summary.estimate_s))


def _count(summary: RunSummary, shown: Shown) -> str:
    projects = counted(shown.projects, "project")
    trimmed = f"; {formatting.left_over(summary.trimmed)}" if summary.trimmed else ""
    return (
        f"{shown.planned:,} of the {summary.invitations_seen:,} seen, in {projects}, "
        f"at most {shown.most_in_project:,} in one{trimmed}"
    )


def _limits(summary: RunSummary, shown: Shown, limits: Limits) -> str:
    share = shown.planned / summary.invitations_seen if summary.invitations_seen else 0.0
    return (
        f"{limits.max_deletions:,} a run, {limits.max_deletions_per_project:,} a project, "
        f"{limits.max_share:.0%} of those seen (this is {share:.0%})"
    )


def _one(row: Row) -> Text:
    said = Text(f"{formatting.age(row.age_days)}  {row.username or '(no address)'}")
    said.append(f" in {row.project or '(no name)'}, ")
    return said.append_text(Text(", ").join(formatting.roles(row.roles).split()))

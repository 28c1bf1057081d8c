"""The question on a terminal before anything is deleted."""

import asyncio
import sys
from collections.abc import Callable

from invite_sweeper.report.summary import Summary
from invite_sweeper.stop import Stop


class Question:
    """Shows the plan and asks; only a typed yes is one.

    Args:
        show: Shows the plan to the person, on stderr.
        organizations: Whose invitations they are.
    """

    def __init__(self, stop: Stop, show: Callable[[Summary], None], organizations: str) -> None:
        self._stop = stop
        self._show = show
        self._organizations = organizations

    @staticmethod
    def can_ask() -> bool:
        """Whether a person sits at both ends."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    async def __call__(self, summary: Summary) -> bool:
        """Ask; an end of input, a signal or the deadline is no yes."""
        self._show(summary)
        planned = summary.stale - summary.trimmed
        seconds = f", about {summary.estimate_s:.0f} s" if summary.estimate_s else ""
        sys.stderr.write(
            f"Delete these {planned} of {summary.invitations_seen} invitations of organization "
            f"{self._organizations}{seconds}? There is no undo. [yes/no] "
        )
        sys.stderr.flush()
        return (await self._line()).strip().lower() in {"y", "yes"}

    async def _line(self) -> str:
        """Wait for a line or for a stop, whichever comes first."""
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[None] = loop.create_future()
        bell = asyncio.ensure_future(self._stop.asked.wait())
        descriptor = sys.stdin.fileno()
        loop.add_reader(descriptor, _note, typed)
        try:
            await asyncio.wait((typed, bell), return_when=asyncio.FIRST_COMPLETED)
            return sys.stdin.readline() if typed.done() else ""
        finally:
            loop.remove_reader(descriptor)
            bell.cancel()


def _note(typed: "asyncio.Future[None]") -> None:
    if not typed.done():
        typed.set_result(None)

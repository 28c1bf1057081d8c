"""Why and how a run ends early: once asked politely, twice at once."""

import asyncio


class Stop:
    """One wish to stop, seen by everything that waits.

    The first call of `ask` stops new work; `at_once` gives up what is in flight too.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.asked = asyncio.Event()
        self.given_up = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Ask to stop; the first reason stands, and asking again changes nothing."""
        if self.reason is None:
            self.reason = reason
            self.asked.set()

    def at_once(self, reason: str) -> None:
        """Stop without waiting for what is in flight."""
        self.ask(reason)
        self.given_up.set()

"""Notice that the machine, or the process, stood still: a closed lid, a stopped process.

What was read before a pause is older than the work since suggests: people may have accepted, or
been invited anew. So a sweep reads everything again before it deletes, and a pause while it does
that, or while it deletes, stops it: the next run reads everything anew.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Self

from invite_sweeper.shutdown import StopRequest

MAX_PAUSE_S: Final = 60.0
"""After a longer pause or question, what was read before is not deleted by."""
_TICK_S: Final = 5.0


class PauseWatch:
    """Watches for pauses while its block runs, by a task that ticks every few seconds.

    A slow Atlas and an open question are no pauses: the task goes on meanwhile.

    Args:
        clock: Seconds, the time asleep included.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s = clock()
        self._has_paused = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()

    def forget(self) -> bool:
        """Forget a pause, as everything is read again after it; return whether there was one."""
        self._tick()
        has_paused = self._has_paused
        self._has_paused = False
        return has_paused

    def check(self, stop: StopRequest) -> None:
        """Request a stop if there was a pause."""
        self._tick()
        if self._has_paused:
            stop.request("the machine or the process was paused, and the lists are old")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._tick()

    def _tick(self) -> None:
        """Record a pause if the last tick was long ago: the task ticks every few seconds."""
        now_s = self._clock()
        self._has_paused |= now_s - self._last_s > MAX_PAUSE_S
        self._last_s = now_s

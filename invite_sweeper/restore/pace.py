"""How fast invitations may be sent."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

A_MINUTE: Final = 10
"""So many from one address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08), told as `INVITATIONS_RATE_LIMITED_IP` too.
"""
_LATER_S: Final = (10.0, 20.0, 40.0, 60.0)
_WINDOW_S: Final = 61.0  # a second more, as Atlas's clock is not ours


class Pace:
    """So many a minute, counted over any minute.

    Args:
        clock: Monotonic seconds.
        rest: Waits seconds, or until the run has to end, whichever comes first.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rest: Callable[[float], Awaitable[None]],
        *,
        most: int = A_MINUTE,
        window_s: float = _WINDOW_S,
    ) -> None:
        self.clock = clock
        self._rest = rest
        self._window_s = window_s
        self._sent_s: deque[float] = deque(maxlen=most)

    async def turn(self, ended: Callable[[], bool]) -> bool:
        """Wait for a turn and take it; False, and nothing taken, where the run ended meanwhile."""
        while not ended():
            wait_s = self._wait_s()
            if not wait_s:
                return True
            await self._rest(wait_s)
        return False

    async def later(self, refusals: int, ended: Callable[[], bool]) -> bool:
        """Wait after so many refusals, from 1, ever longer, and then for a turn."""
        await self._rest(_LATER_S[min(refusals, len(_LATER_S)) - 1])
        return await self.turn(ended)

    def _wait_s(self) -> float:
        """Take a turn and give 0.0, or take nothing and give the seconds until there is one."""
        now_s = self.clock()
        if len(self._sent_s) == self._sent_s.maxlen:
            wait_s = self._sent_s[0] + self._window_s - now_s
            if wait_s > 0:
                return wait_s
        self._sent_s.append(now_s)
        return 0.0

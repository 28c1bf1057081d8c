"""The attempts of one request after the first one, as tenacity makes them.

They are bounded by a number, but for those after a 429, which the deadline bounds.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_chain,
    wait_random,
    wait_random_exponential,
)

from invite_sweeper.atlas.responses import (
    Decide,
    ResponseOrFailure,
    RetryDecision,
    is_unauthenticated,
)

_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=30.0)
"""Waits after a response: up to 0.5, 1, 2 … 30 seconds."""
_UNREACHABLE: Final = wait_chain(*(wait_random(s, 1.25 * s) for s in (0.5, 10, 20, 30)))
"""Waits after a request without a response: with the default of 5 attempts they outlast a minute
in which Atlas or the proxy is not reachable."""


class Attempts:
    """The attempts of one request.

    A 429 is not an attempt of its own: Atlas may answer with it as often as it likes.

    Args:
        first: The result of the first attempt, which was made.
        send_again: Sends the request again after a result; None if that is not allowed any more.
        decide: What to do with a result.
        is_awaited: A person waits for the first response: it is asked for more often.
    """

    def __init__(
        self,
        first: ResponseOrFailure,
        send_again: Callable[[ResponseOrFailure], Awaitable[ResponseOrFailure | None]],
        decide: Decide,
        *,
        is_awaited: bool,
    ) -> None:
        self._last = first
        self._send_again = send_again
        self._decide = decide
        self._unanswered = _BACKOFF if is_awaited else _UNREACHABLE
        self._decisions = Counter[RetryDecision]()
        self._is_over = False

    async def finish(
        self,
        attempts: int,
        sleep: Callable[[float], Awaitable[None]],
        before_sleep: Callable[[ResponseOrFailure, float], None],
    ) -> ResponseOrFailure:
        """Make attempts until the result is final, and return it.

        Args:
            attempts: The most that are made, with the first one.
            sleep: Waits for seconds, or less where nothing more may be sent.
            before_sleep: Called with the last result and the seconds before each wait.
        """
        retrying = AsyncRetrying(
            retry=retry_if_result(self._may_repeat),
            wait=self._wait_s,
            stop=stop_after_attempt(attempts),
            sleep=sleep,
            before_sleep=lambda state: before_sleep(self._last, state.upcoming_sleep),
            retry_error_callback=lambda _: self._last,
        )
        return await retrying(self._make)

    async def _make(self) -> ResponseOrFailure:
        """Return the result of the next attempt."""
        if self._decisions:  # else it is the first one
            await self._send()
        while not self._is_over and self._decide(self._last) is RetryDecision.RATE_LIMITED:
            await self._send()
        self._decisions[self._decide(self._last)] += 1
        return self._last

    async def _send(self) -> None:
        result = await self._send_again(self._last)
        if result is None:
            self._is_over = True
        else:
            self._last = result

    def _may_repeat(self, result: ResponseOrFailure) -> bool:
        """Return whether another attempt may be made after a result."""
        decision = self._decide(result)
        if self._is_over or decision is RetryDecision.DONE:
            return False
        if decision is RetryDecision.ONCE_MORE:
            return self._decisions[decision] <= 1
        if decision is RetryDecision.REAUTHENTICATE:
            # A new access token may be rejected as well.
            return self._decisions[decision] <= 1 + is_unauthenticated(result)
        return True

    def _wait_s(self, state: RetryCallState) -> float:
        """Return the seconds before the next attempt.

        The `Retry-After` of a 429 or 503 blocks the bucket, whose token is acquired next.
        """
        wait = self._unanswered if self._last.status is None else _BACKOFF
        return wait(state)

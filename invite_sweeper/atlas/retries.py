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
_UNREACHABLE: Final = wait_chain(
    wait_random(0.5, 0.625),
    wait_random(10, 12.5),
    wait_random(20, 25),
    wait_random(30, 37.5),
)
"""Waits after a request without a response, each with a quarter of jitter. With the default of 5
attempts they outlast a minute in which Atlas or the proxy is not reachable."""


class Attempts:
    """The attempts of one request.

    A 429 is not an attempt of its own: Atlas may answer with it as often as it likes.

    Args:
        first: The result of the first attempt, which was made.
        send_again: Makes an attempt after a result; None if that is not allowed any more.
        decide: What to do with a result.
        is_awaited: A person waits for the first response: it is requested more often.
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
        self._wait_unanswered = _BACKOFF if is_awaited else _UNREACHABLE
        self._decided = Counter[RetryDecision]()  # of the attempts so far
        self._may_send = True

    async def make_until_final(
        self,
        attempts: int,
        *,
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
            retry=retry_if_result(self._is_retried),
            wait=self._wait_s,
            stop=stop_after_attempt(attempts),
            sleep=sleep,
            before_sleep=lambda state: before_sleep(self._last, state.upcoming_sleep),
            retry_error_callback=lambda _: self._last,
        )
        return await retrying(self._attempt)

    async def _attempt(self) -> ResponseOrFailure:
        """Make the next attempt, with a request for each 429, and return its result.

        Of the first attempt, the first result is known already.
        """
        is_first = not self._decided
        if not is_first:
            await self._send()
        while self._may_send and self._decide(self._last) is RetryDecision.RATE_LIMITED:
            await self._send()
        self._decided[self._decide(self._last)] += 1
        return self._last

    async def _send(self) -> None:
        """Send again; the last result stays if that is not allowed any more."""
        result = await self._send_again(self._last)
        if result is None:
            self._may_send = False
        else:
            self._last = result

    def _is_retried(self, result: ResponseOrFailure) -> bool:
        """Return whether another attempt is made after a result, if the number allows it."""
        decision = self._decide(result)
        if not self._may_send or decision is RetryDecision.DONE:
            return False
        if decision is RetryDecision.ONCE_MORE:
            max_retries = 1
        elif decision is RetryDecision.REAUTHENTICATE:
            # A new access token may be rejected as well, and a 401 about a role is not about it.
            max_retries = 2 if is_unauthenticated(result) else 1
        else:
            return True
        return self._decided[decision] <= max_retries

    def _wait_s(self, state: RetryCallState) -> float:
        """Return the seconds before the next attempt.

        The `Retry-After` of a 429 or 503 blocks the bucket, whose token is acquired next.
        """
        is_unanswered = self._last.status is None
        wait = self._wait_unanswered if is_unanswered else _BACKOFF
        return wait(state)

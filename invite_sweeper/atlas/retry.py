"""How often a request is repeated, and after which wait."""

import asyncio
import math
import random as random_module
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_exponential

from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.http import retry_after_s
from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
)

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 30.0
UNREACHABLE_STEPS: Final = (1, 20, 40, 60)
"""Waits after a request without a response, in `BACKOFF_BASE_S`: with the default of 5 attempts
they outlast a minute in which Atlas or the proxy is not reachable."""
LONG_WAIT_S: Final = 6.0
_JITTER: Final = 0.25
_CANCEL_CHECK_S: Final = 1.0
_PAST_DEADLINE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of retries, and the clock they use.

    Attributes:
        attempts: Attempts per request, including the first; those with a 429 do not count.
        deadline_s: On the clock of `monotonic`; no retry is sent after it.
        sleep: Waits for a number of seconds.
        random: Returns a number from 0 up to 1, for jitter.
        monotonic: Returns seconds.
        on_long_wait: Called with the reason and the seconds before a wait of `LONG_WAIT_S` or more
            for a request without a response.
    """

    attempts: int = 5
    deadline_s: float = math.inf
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random_module.random
    monotonic: Callable[[], float] = time.monotonic
    on_long_wait: Callable[[str, float], None] = lambda _reason, _wait_s: None

    async def wait(self, seconds: float, cancelled: Callable[[], bool] | None) -> None:
        """Wait; if `cancelled` is set, call it once a second and return when it is true."""
        if cancelled is None:
            await self.sleep(seconds)
            return
        until_s = self.monotonic() + seconds
        while (left_s := until_s - self.monotonic()) > 0 and not cancelled():
            await self.sleep(min(left_s, _CANCEL_CHECK_S))

    def tell(
        self,
        on_wait: Callable[[ResponseOrFailure, float], None],
        result: ResponseOrFailure,
        wait_s: float,
    ) -> None:
        """Tell the caller of a wait, and the run of a long one for a request without a response."""
        on_wait(result, wait_s)
        if isinstance(result, RequestFailed) and wait_s >= LONG_WAIT_S:
            self.on_long_wait(result.reason, wait_s)

    def until_deadline_s(self, seconds: float) -> float:
        """Return a wait that ends one second after the deadline at the latest.

        No attempt follows such a wait, and the run reports the deadline and not the last response
        of Atlas.
        """
        left_s = self.deadline_s - self.monotonic()
        return seconds if seconds < left_s else left_s + _PAST_DEADLINE_S


class Attempt(NamedTuple):
    """One attempt of a request.

    Attributes:
        header: The `Authorization` header that it used; None if a middleware signed it.
    """

    result: ResponseOrFailure
    header: Secret | None = None


class Retried(NamedTuple):
    """The last attempt.

    Attributes:
        cut_short: It would have been retried, but for the deadline or a cancellation.
    """

    last: Attempt
    cut_short: bool


def _backoff_s(
    state: RetryCallState,
    result: ResponseOrFailure,
    jitter: float,
    clock: Callable[[], datetime],
) -> float:
    """Return the wait before the next attempt; without a response it is longer."""
    if isinstance(result, Response):
        exponential = wait_exponential(multiplier=BACKOFF_BASE_S, max=BACKOFF_CAP_S)
        return max(jitter * exponential(state), retry_after_s(result.headers, clock) or 0.0)
    step = UNREACHABLE_STEPS[min(state.attempt_number, len(UNREACHABLE_STEPS)) - 1]
    return BACKOFF_BASE_S * step * (1 + _JITTER * jitter)


async def retry(
    first: Attempt,
    again: Callable[[], Awaitable[Attempt]],
    policy: RetryPolicy,
    *,
    clock: Callable[[], datetime],
    blocked_s: Callable[[], float],
    on_wait: Callable[[ResponseOrFailure, float], None] = lambda _result, _wait_s: None,
    cancelled: Callable[[], bool] | None = None,
    decide: Callable[[ResponseOrFailure], RetryDecision] = classify,
) -> Retried:
    """Repeat a request after its first attempt, and return the last one.

    The caller makes the first attempt itself, because most requests succeed and never get here.

    Args:
        first: The first attempt.
        again: Makes another one.
        policy: The limits.
        clock: Current time in UTC, for a `Retry-After` date.
        blocked_s: Returns the seconds to wait after a 429; the rate limiter decides them.
        on_wait: Called before each wait with the last result and the seconds.
        cancelled: Whether the request was cancelled; None if it cannot be.
        decide: Returns what to do with a result.
    """
    last, counted, is_final, is_started = first, 0, False, False
    rejected: list[Secret | None] = []

    def may_not_send() -> bool:
        return (cancelled is not None and cancelled()) or policy.monotonic() >= policy.deadline_s

    def record(made: Attempt) -> None:
        nonlocal last, counted, is_final
        last, decision = made, decide(made.result)
        counted += decision is not RetryDecision.RATE_LIMITED
        if decision is RetryDecision.REAUTHENTICATE:
            # Each header may be rejected once, and no more than two of them.
            is_final = made.header in rejected or len(rejected) > 1
            rejected.append(made.header)

    async def attempt() -> Attempt:
        """Return the next result that is not a 429, which Atlas answers as long as it likes."""
        nonlocal is_started
        if is_started and not may_not_send():  # since the wait
            record(await again())
        is_started = True
        while decide(last.result) is RetryDecision.RATE_LIMITED and not may_not_send():
            wait_s = policy.until_deadline_s(blocked_s())
            on_wait(last.result, wait_s)
            await policy.wait(wait_s, cancelled)
            if not may_not_send():
                record(await again())
        return last

    def is_retried(made: Attempt) -> bool:
        decision = decide(made.result)
        return decision is RetryDecision.RETRY or (
            decision is RetryDecision.REAUTHENTICATE and not is_final
        )

    def backoff_s(state: RetryCallState) -> float:
        return policy.until_deadline_s(_backoff_s(state, last.result, policy.random(), clock))

    retrying = AsyncRetrying(
        retry=retry_if_result(is_retried),
        stop=lambda state: state.attempt_number >= policy.attempts or may_not_send(),
        wait=backoff_s,
        sleep=lambda seconds: policy.wait(seconds, cancelled),
        before_sleep=lambda state: policy.tell(on_wait, last.result, state.upcoming_sleep),
        retry_error_callback=lambda _: last,
    )
    record(first)
    await retrying(attempt)
    decision = decide(last.result)
    is_exhausted = is_final or (
        decision is not RetryDecision.RATE_LIMITED and counted >= policy.attempts
    )
    was_due = decision is not RetryDecision.DONE and not is_exhausted and may_not_send()
    return Retried(last, cut_short=was_due or last.result is CANCELLED)

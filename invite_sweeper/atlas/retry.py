"""Which results are retried, how often, and after which wait."""

import asyncio
import math
import random as random_module
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from invite_sweeper.atlas.headers import retry_after_s
from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    ResponseOrFailure,
    parse_error,
)

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 30.0
_CANCEL_CHECK_S: Final = 1.0
_PAST_DEADLINE_S: Final = 1.0

_FIRST_ERROR_STATUS: Final = 400
_UNAUTHORIZED: Final = 401
_METHOD_NOT_ALLOWED: Final = 405
_TOO_MANY_REQUESTS: Final = 429
_TRANSIENT: Final = frozenset({500, 502, 503, 504})
_UPGRADE_CODE: Final = "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"


class RetryDecision(Enum):
    """What to do with a result."""

    DONE = auto()
    """Final."""
    RETRY = auto()
    """A transient failure; counted in `attempts`."""
    RATE_LIMITED = auto()
    """429; not counted in `attempts`, limited by the deadline."""
    REAUTHENTICATE = auto()
    """401; retried once, because it also occurs with valid credentials; counted in `attempts`."""


def classify(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with a result.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08): 405 with
        `WRITES_NOT_ALLOWED_DURING_APP_UPGRADES` is temporary maintenance.
    """
    if isinstance(result, RequestFailed):
        return RetryDecision.RETRY if result.retryable else RetryDecision.DONE
    if result.status < _FIRST_ERROR_STATUS:  # the common case first
        return RetryDecision.DONE
    if result.status == _TOO_MANY_REQUESTS:
        return RetryDecision.RATE_LIMITED
    if result.status == _UNAUTHORIZED:
        return RetryDecision.REAUTHENTICATE
    in_upgrade = result.status == _METHOD_NOT_ALLOWED and parse_error(result).code == _UPGRADE_CODE
    return RetryDecision.RETRY if in_upgrade or result.status in _TRANSIENT else RetryDecision.DONE


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of retries, and the clock they use.

    Attributes:
        attempts: Attempts per request, including the first; those with a 429 do not count.
        deadline_s: On the clock of `monotonic`; no retry is sent after it.
        sleep: Waits for a number of seconds.
        random: Returns a number from 0 up to 1, for jitter.
        monotonic: Returns seconds.
    """

    attempts: int = 5
    deadline_s: float = math.inf
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random_module.random
    monotonic: Callable[[], float] = time.monotonic

    async def wait(self, seconds: float, cancelled: Callable[[], bool] | None) -> None:
        """Wait; if `cancelled` is set, call it once a second and return when it is true."""
        if cancelled is None:
            await self.sleep(seconds)
            return
        until_s = self.monotonic() + seconds
        while (left_s := until_s - self.monotonic()) > 0 and not cancelled():
            await self.sleep(min(left_s, _CANCEL_CHECK_S))


@dataclass(slots=True)
class RetryLoop:
    """The retries of one request, after its first failure.

    A wait beyond the deadline ends one second after it, so that the run reports the deadline
    and not the last response of Atlas. No attempt follows such a wait.

    Attributes:
        policy: The limits.
        clock: Current time in UTC, for a `Retry-After` date.
        rate_limited_wait_s: Returns the seconds after a 429; the rate limiter decides them.
        on_wait: Called before each wait with the last result and the seconds.
        cancelled: Whether the request was cancelled; None if it cannot be.
        decide: Returns what to do with a result.
        counted_attempts: Attempts so far, without those with a 429.
        unauthorized: Responses with a 401 so far; reset by the caller after a token refresh.
        retries_cut_short: The result would have been retried, but for the deadline or a
            cancellation.
    """

    policy: RetryPolicy
    clock: Callable[[], datetime]
    rate_limited_wait_s: Callable[[], float]
    on_wait: Callable[[ResponseOrFailure, float], None] = lambda _result, _wait_s: None
    cancelled: Callable[[], bool] | None = None
    decide: Callable[[ResponseOrFailure], RetryDecision] = classify
    counted_attempts: int = 0
    unauthorized: int = 0
    retries_cut_short: bool = False
    _decision: RetryDecision = RetryDecision.DONE

    async def run(
        self, first: ResponseOrFailure, retry: Callable[[], Awaitable[ResponseOrFailure]]
    ) -> ResponseOrFailure:
        """Retry after the result of a first attempt, and return the last result.

        The caller makes the first attempt itself, because most requests succeed and never get
        here; tenacity's first attempt returns its result.
        """
        last: ResponseOrFailure | None = None

        async def attempt() -> ResponseOrFailure:
            nonlocal last
            if last is not None and self._may_not_send():  # since the wait
                return last
            last = first if last is None else await retry()
            self._count(last)
            return last

        retrying = AsyncRetrying(
            retry=retry_if_result(lambda _: not self._is_final()),
            wait=self._wait_s,
            sleep=self._sleep,
            before_sleep=self._report_wait,
        )
        return await retrying(attempt)

    def _count(self, result: ResponseOrFailure) -> None:
        self._decision = self.decide(result)
        self.retries_cut_short = result is CANCELLED
        self.counted_attempts += self._decision is not RetryDecision.RATE_LIMITED
        self.unauthorized += self._decision is RetryDecision.REAUTHENTICATE

    def _is_final(self) -> bool:
        """Return whether the last result is not retried."""
        if self._decision is RetryDecision.DONE:
            return True
        is_rate_limited = self._decision is RetryDecision.RATE_LIMITED
        is_exhausted = (not is_rate_limited and self.counted_attempts >= self.policy.attempts) or (
            self._decision is RetryDecision.REAUTHENTICATE and self.unauthorized > 1
        )
        self.retries_cut_short = not is_exhausted and self._may_not_send()
        return is_exhausted or self.retries_cut_short

    def _may_not_send(self) -> bool:
        """Return whether the request was cancelled or the deadline has passed."""
        cancelled = self.cancelled is not None and self.cancelled()
        return cancelled or self.policy.monotonic() >= self.policy.deadline_s

    async def _sleep(self, seconds: float) -> None:
        await self.policy.wait(seconds, self.cancelled)

    def _report_wait(self, state: RetryCallState) -> None:
        self.on_wait(_last_result(state), state.upcoming_sleep)

    def _wait_s(self, state: RetryCallState) -> float:
        left_s = self.policy.deadline_s - self.policy.monotonic()
        wait_s = self._backoff_s(_last_result(state))
        return wait_s if wait_s < left_s else left_s + _PAST_DEADLINE_S

    def _backoff_s(self, result: ResponseOrFailure) -> float:
        if self._decision is RetryDecision.RATE_LIMITED:
            return self.rate_limited_wait_s()
        step_s = BACKOFF_BASE_S * 2.0 ** max(self.counted_attempts - 1, 0)
        wait_s = self.policy.random() * min(step_s, BACKOFF_CAP_S)
        requested_s = (
            retry_after_s(result.headers, self.clock) if isinstance(result, Response) else None
        )
        return max(wait_s, requested_s or 0.0)


def _last_result(state: RetryCallState) -> ResponseOrFailure:
    assert state.outcome is not None  # noqa: S101 - tenacity waits only after an attempt
    result: ResponseOrFailure = state.outcome.result()
    return result

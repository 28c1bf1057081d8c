"""Which failures are retried, how often, and after how long."""

import asyncio
import math
import random as random_module
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    ResponseOrFailure,
    parse_error,
    parse_rate_limit_error,
    retry_after_s,
)

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 30.0
_RATE_LIMITED_STEPS_S: Final = (1.0, 10.0, 20.0, 40.0)
_RATE_LIMITED_JITTER: Final = 0.25

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
    """It stands."""
    RETRY = auto()
    """Another attempt may succeed; counted against `attempts`."""
    RATE_LIMITED = auto()
    """429: not counted, bounded by the deadline."""
    REAUTHENTICATE = auto()
    """401: seen with good credentials, so sent once more before it is believed; counted."""


def classify(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with a result.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08): 405 with
        `WRITES_NOT_ALLOWED_DURING_APP_UPGRADES` is maintenance and ends by itself.
    """
    if isinstance(result, RequestFailed):
        return RetryDecision.RETRY if result.retryable else RetryDecision.DONE
    if result.status < _FIRST_ERROR_STATUS:  # as nearly all are
        return RetryDecision.DONE
    if result.status == _TOO_MANY_REQUESTS:
        return RetryDecision.RATE_LIMITED
    if result.status == _UNAUTHORIZED:
        return RetryDecision.REAUTHENTICATE
    in_upgrade = result.status == _METHOD_NOT_ALLOWED and parse_error(result).code == _UPGRADE_CODE
    return RetryDecision.RETRY if in_upgrade or result.status in _TRANSIENT else RetryDecision.DONE


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a request is retried.

    Attributes:
        attempts: Of a request, the first included; one with the response 429 is not counted.
        deadline_s: On the clock of `monotonic`; nothing is sent again from then on.
        sleep: Waits seconds.
        random: From 0 up to 1.
        monotonic: Seconds, rising.
    """

    attempts: int = 5
    deadline_s: float = math.inf
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random_module.random
    monotonic: Callable[[], float] = time.monotonic

    async def wait(self, seconds: float, cancelled: Callable[[], bool] | None) -> None:
        """Wait; where the wait can be cancelled, check once a second whether it was."""
        if cancelled is None:
            await self.sleep(seconds)
            return
        until_s = self.monotonic() + seconds
        while (left_s := until_s - self.monotonic()) > 0 and not cancelled():
            await self.sleep(min(left_s, _CANCEL_CHECK_S))


@dataclass(slots=True)
class RetryLoop:
    """The retries of one request, from its first failure on.

    A wait that would go beyond the deadline ends just after it, so that the run ends with the
    deadline as its reason and not with Atlas's last answer. No attempt follows such a wait.

    Attributes:
        cut_short: It would have gone on, but nothing more may be sent.
    """

    policy: RetryPolicy
    clock: Callable[[], datetime]
    on_wait: Callable[[ResponseOrFailure, float], None] = lambda _result, _wait_s: None
    cancelled: Callable[[], bool] | None = None
    counted_attempts: int = 0
    rate_limited: int = 0
    refused: int = 0
    retries_cut_short: bool = False
    _decision: RetryDecision = field(default=RetryDecision.DONE)

    async def run(
        self, first: ResponseOrFailure, retry: Callable[[], Awaitable[ResponseOrFailure]]
    ) -> ResponseOrFailure:
        """Retry after a first failure until a result stands, and return it.

        Most requests succeed at once and skip this, so the caller makes the first attempt
        itself, and tenacity's first attempt only replays its result.
        """
        last: ResponseOrFailure | None = None

        async def attempt() -> ResponseOrFailure:
            nonlocal last
            if last is not None and self._may_not_send():
                return last
            last = first if last is None else await retry()
            self._record(last)
            return last

        retrying = AsyncRetrying(
            retry=retry_if_result(lambda _: self._decision is not RetryDecision.DONE),
            wait=self._wait_s,
            stop=self._should_stop,
            sleep=self._sleep,
            before_sleep=self._report_wait,
            retry_error_callback=_last_result,
        )
        return await retrying(attempt)

    def _record(self, result: ResponseOrFailure) -> None:
        self._decision = classify(result)
        self.retries_cut_short = result is CANCELLED
        self.counted_attempts += self._decision is not RetryDecision.RATE_LIMITED
        self.rate_limited += self._decision is RetryDecision.RATE_LIMITED
        self.refused += self._decision is RetryDecision.REAUTHENTICATE

    def _should_stop(self, _state: RetryCallState) -> bool:
        counts = self._decision is not RetryDecision.RATE_LIMITED
        is_exhausted = (counts and self.counted_attempts >= self.policy.attempts) or (
            self._decision is RetryDecision.REAUTHENTICATE and self.refused > 1
        )
        self.retries_cut_short = not is_exhausted and self._may_not_send()
        return is_exhausted or self.retries_cut_short

    def _may_not_send(self) -> bool:
        """Return whether nothing more may be sent."""
        cancelled = self.cancelled is not None and self.cancelled()
        return cancelled or self.policy.monotonic() >= self.policy.deadline_s

    async def _sleep(self, seconds: float) -> None:
        await self.policy.wait(seconds, self.cancelled)

    def _wait_s(self, state: RetryCallState) -> float:
        left_s = self.policy.deadline_s - self.policy.monotonic()
        wait_s = self._backoff_s(state)
        return wait_s if wait_s < left_s else left_s + _PAST_DEADLINE_S

    def _backoff_s(self, state: RetryCallState) -> float:
        result = _last_result(state)
        asked_s = (
            retry_after_s(result.headers, self.clock) if isinstance(result, Response) else None
        )
        if self._decision is RetryDecision.RATE_LIMITED and isinstance(result, Response):
            return self._rate_limited_s(asked_s or parse_rate_limit_error(result).wait_s)
        step_s = BACKOFF_BASE_S * 2.0 ** max(self.counted_attempts - 1, 0)
        wait_s = self.policy.random() * min(step_s, BACKOFF_CAP_S)
        return max(wait_s, asked_s or 0.0)

    def _rate_limited_s(self, asked_s: float | None) -> float:
        """At least what Atlas asks for; from the second 429 on at least 10, 20, 40 s.

        Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08).
        """
        step_s = _RATE_LIMITED_STEPS_S[min(self.rate_limited, len(_RATE_LIMITED_STEPS_S)) - 1]
        step_s *= 1.0 + _RATE_LIMITED_JITTER * self.policy.random()
        return max(asked_s or 0.0, step_s)

    def _report_wait(self, state: RetryCallState) -> None:
        self.on_wait(_last_result(state), state.upcoming_sleep)


def _last_result(state: RetryCallState) -> ResponseOrFailure:
    """Return the result of the attempt that has just ended."""
    outcome = state.outcome
    assert outcome is not None  # noqa: S101 - tenacity asks only after an attempt
    result: ResponseOrFailure = outcome.result()
    return result

"""Which failures are tried again, how often, and after how long."""

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

from invite_sweeper.atlas.answers import CANCELLED, Answer, Broken, Result, error_of
from invite_sweeper.atlas.headers import retry_after_s
from invite_sweeper.atlas.refusals import told_bucket

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 30.0
_THROTTLED_STEPS_S: Final = (1.0, 10.0, 20.0, 40.0)
_THROTTLED_JITTER: Final = 0.25

_LOOK_UP_S: Final = 1.0
_PAST_THE_DEADLINE_S: Final = 1.0

_REFUSED: Final = 400
_UNAUTHORIZED: Final = 401
_NOT_ALLOWED: Final = 405
_TOO_MANY: Final = 429
_PASSING: Final = frozenset({500, 502, 503, 504})
_UPGRADE: Final = "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"


class Kind(Enum):
    """What a result asks for."""

    FINAL = auto()
    """It is what it is."""
    PASSING = auto()
    """Another try may do better; counted against `attempts`."""
    THROTTLED = auto()
    """429: not counted, bounded by the deadline."""
    UNAUTHORIZED = auto()
    """401: seen with good credentials, so asked once more before it is believed; counted."""


def kind_of(result: Result) -> Kind:
    """Judge one result.

    Source:
        https://www.mongodb.com/docs/atlas/reference/api-errors (read 2026-08): 405 with
        `WRITES_NOT_ALLOWED_DURING_APP_UPGRADES` is maintenance and passes.
    """
    if isinstance(result, Broken):
        return Kind.PASSING if result.passing else Kind.FINAL
    if result.status < _REFUSED:  # as nearly all are
        return Kind.FINAL
    if result.status == _TOO_MANY:
        return Kind.THROTTLED
    if result.status == _UNAUTHORIZED:
        return Kind.UNAUTHORIZED
    in_upgrade = result.status == _NOT_ALLOWED and error_of(result).code == _UPGRADE
    return Kind.PASSING if in_upgrade or result.status in _PASSING else Kind.FINAL


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long one goes on.

    Attributes:
        attempts: Tries of a request, the first included; one that a 429 answers is not counted.
        deadline_s: On the clock of `monotonic`; nothing is tried again from then on.
        sleep: Waits seconds.
        random: From 0 up to 1.
        monotonic: Seconds, rising.
    """

    attempts: int = 5
    deadline_s: float = math.inf
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random_module.random
    monotonic: Callable[[], float] = time.monotonic

    async def wait(self, seconds: float, called_off: Callable[[], bool] | None) -> None:
        """Wait; what can be called off looks up once a second whether it was."""
        if called_off is None:
            await self.sleep(seconds)
            return
        until_s = self.monotonic() + seconds
        while (left_s := until_s - self.monotonic()) > 0 and not called_off():
            await self.sleep(min(left_s, _LOOK_UP_S))


@dataclass(slots=True)
class Course:
    """The retries of one request, from its first failure on.

    A wait that would go beyond the deadline ends just after it: whoever ends the run then says
    that the deadline came, and nobody blames Atlas. No try follows such a wait.

    Attributes:
        cut_short: It ended because nothing more might be sent, and would have gone on.
    """

    persistence: Persistence
    clock: Callable[[], datetime]
    on_wait: Callable[[Result, float], None] = lambda _result, _wait_s: None
    called_off: Callable[[], bool] | None = None
    counted: int = 0
    throttled: int = 0
    unauthorized: int = 0
    cut_short: bool = False
    _kind: Kind = field(default=Kind.FINAL)

    async def run(self, first: Result, again: Callable[[], Awaitable[Result]]) -> Result:
        """Go on from a first failure until a result stands; that result.

        Most requests succeed at once and must not pay for this, so the caller makes the first
        try itself, and what tenacity takes for its first attempt only replays that result.
        """
        last: Result | None = None

        async def attempt() -> Result:
            nonlocal last
            if last is not None and self._is_over():
                return last
            last = first if last is None else await again()
            self._note(last)
            return last

        retrying = AsyncRetrying(
            retry=retry_if_result(lambda _: self._kind is not Kind.FINAL),
            wait=self._wait_s,
            stop=self._must_stop,
            sleep=self._sleep,
            before_sleep=self._tell,
            retry_error_callback=_last,
        )
        return await retrying(attempt)

    def _note(self, result: Result) -> None:
        self._kind = kind_of(result)
        self.cut_short = result is CANCELLED
        self.counted += self._kind is not Kind.THROTTLED
        self.throttled += self._kind is Kind.THROTTLED
        self.unauthorized += self._kind is Kind.UNAUTHORIZED

    def _must_stop(self, _state: RetryCallState) -> bool:
        tried = self._kind is not Kind.THROTTLED and self.counted >= self.persistence.attempts
        spent = tried or (self._kind is Kind.UNAUTHORIZED and self.unauthorized > 1)
        self.cut_short = not spent and self._is_over()
        return spent or self.cut_short

    def _is_over(self) -> bool:
        """Tell whether nothing more may be sent."""
        called_off = self.called_off is not None and self.called_off()
        return called_off or self.persistence.monotonic() >= self.persistence.deadline_s

    async def _sleep(self, seconds: float) -> None:
        await self.persistence.wait(seconds, self.called_off)

    def _wait_s(self, state: RetryCallState) -> float:
        left_s = self.persistence.deadline_s - self.persistence.monotonic()
        wait_s = self._asked_s(state)
        return wait_s if wait_s < left_s else left_s + _PAST_THE_DEADLINE_S

    def _asked_s(self, state: RetryCallState) -> float:
        result = _last(state)
        asked_s = retry_after_s(result.headers, self.clock) if isinstance(result, Answer) else None
        if self._kind is Kind.THROTTLED and isinstance(result, Answer):
            return self._throttled_s(asked_s or told_bucket(result).wait_s)
        step_s = BACKOFF_BASE_S * 2.0 ** max(self.counted - 1, 0)
        wait_s = self.persistence.random() * min(step_s, BACKOFF_CAP_S)
        return max(wait_s, asked_s or 0.0)

    def _throttled_s(self, asked_s: float | None) -> float:
        """At least what Atlas asks for; from the second 429 on at least 10, 20, 40 s.

        Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08).
        """
        step_s = _THROTTLED_STEPS_S[min(self.throttled, len(_THROTTLED_STEPS_S)) - 1]
        step_s *= 1.0 + _THROTTLED_JITTER * self.persistence.random()
        return max(asked_s or 0.0, step_s)

    def _tell(self, state: RetryCallState) -> None:
        self.on_wait(_last(state), state.upcoming_sleep)


def _last(state: RetryCallState) -> Result:
    """The result of the try that has just ended."""
    outcome = state.outcome
    assert outcome is not None  # noqa: S101 - tenacity asks only after a try
    result: Result = outcome.result()
    return result

"""Faults that a simulation or a test can inject into requests."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from random import Random
from typing import NamedTuple, TypeAlias

from invite_sweeper.simulator.responses import (
    Call,
    Json,
    SimulatedResponse,
    Transmission,
    api_error,
)

Send: TypeAlias = Callable[[], Awaitable[SimulatedResponse]]
Fault: TypeAlias = Callable[[Call, Send], Awaitable[SimulatedResponse]]
"""Answers a request; it may execute it by `Send`, before or after a change of its own.

Each function that makes one returns a `partial` of no arguments: it has no name, so that faults of
one kind are numbered where tests are parametrized with several.
"""
Effect: TypeAlias = Callable[[Call], None]


def delay(seconds: float) -> Fault:
    """Return a fault that delays the response."""

    async def answer(_call: Call, send: Send) -> SimulatedResponse:
        await asyncio.sleep(seconds)
        return await send()

    return partial(answer)


def effect(before: Effect) -> Fault:
    """Return a fault that calls `before` first, which may change the request or Atlas's data."""

    async def answer(call: Call, send: Send) -> SimulatedResponse:
        before(call)
        return await send()

    return partial(answer)


def respond_with(response: SimulatedResponse, *, late: bool = False) -> Fault:
    """Return a fault that sends this response in place of the request's own.

    Args:
        late: After the request was executed, and not in place of executing it.
    """

    async def answer(_call: Call, send: Send) -> SimulatedResponse:
        if late:  # Atlas did it, and its answer is lost
            await send()
        return response

    return partial(answer)


def fail_with(
    status: int = 500,
    code: str = "UNEXPECTED_ERROR",
    detail: str = "Unexpected error.",
    *parameters: Json,
    retry_after: str | None = None,
    late: bool = False,
) -> Fault:
    """Return a fault that answers with an `ApiError`; `late` as for `respond_with`."""
    response = api_error(status, code, detail, *parameters, retry_after=retry_after)
    return respond_with(response, late=late)


def reset(*, late: bool = False) -> Fault:
    """Return a fault that resets the connection; `late` as for `respond_with`."""

    async def deliver(transmission: Transmission) -> None:
        transmission.reset()

    return respond_with(SimulatedResponse(500, deliver=deliver), late=late)


class _ScheduledFault(NamedTuple):
    """A fault and the requests that it is for.

    Attributes:
        occurs: Counts a matching request, and returns whether the fault affects it.
    """

    fault: Fault
    method: str
    path: str
    occurs: Callable[[], bool]

    def matches(self, method: str, path: str) -> bool:
        """Return whether the method and the path of a request match."""
        return self.method in {"*", method} and fnmatchcase(path, self.path)


class FaultPlan:
    """Scheduled faults. If several apply to a request, each is around those added after it."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[_ScheduledFault] = []
        self._rng = Random(seed)  # noqa: S311 - faults, not secrets

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "*",
        nth: int = 1,
        times: int | None = 1,
        rate: float | None = None,
    ) -> None:
        """Inject `fault` into matching requests.

        Args:
            method: Upper case, or `*`.
            path: Glob on the path without the query, such as `*/invites/*`.
            nth: First matching request to affect, from 1.
            times: Number of requests to affect; None for all that follow.
            rate: Affect a random share of all instead, from 0 to 1.
        """
        numbers = count(1)
        end = math.inf if times is None else nth + times

        def occurs() -> bool:
            if rate is not None:
                return self._rng.random() < rate
            return nth <= next(numbers) < end

        self._rules.append(_ScheduledFault(fault, method, path, occurs))

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        """Return the faults of this request, in the order they were added."""
        faults: list[Fault] = []
        for rule in self._rules:
            if not rule.matches(method, path):
                continue
            if rule.occurs():  # counts the request, so only matching ones may ask
                faults.append(rule.fault)
        return tuple(faults)

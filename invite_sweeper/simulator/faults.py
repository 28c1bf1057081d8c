"""Faults that a simulation or a test can inject into requests."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from typing import NamedTuple, TypeAlias

from invite_sweeper.simulator.responses import Call, SimulatedResponse

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


def _is_next_within(numbers: Iterator[int], start: int, end: float) -> bool:
    return start <= next(numbers) < end


class FaultPlan:
    """Scheduled faults. If several apply to a request, each is around those added after it."""

    def __init__(self) -> None:
        self._rules: list[_ScheduledFault] = []

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "*",
        nth: int = 1,
        times: int | None = 1,
    ) -> None:
        """Inject `fault` into matching requests.

        Args:
            method: Upper case, or `*`.
            path: Glob on the path without the query, such as `*/invites/*`.
            nth: First matching request to affect, from 1.
            times: Number of requests to affect; None for all that follow.
        """
        numbers = count(1)
        end = math.inf if times is None else nth + times
        occurs = partial(_is_next_within, numbers, nth, end)
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

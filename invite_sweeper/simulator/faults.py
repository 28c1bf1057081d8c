"""Faults that a simulation or a test can inject into requests."""

import asyncio
import sys
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
        numbers: Counts the matching requests, from 1.
        affected: The numbers of those that the fault affects.
    """

    fault: Fault
    method: str
    path: str
    numbers: Iterator[int]
    affected: range

    def affects(self, method: str, path: str) -> bool:
        """Return whether the fault affects this request, and count it if it matches."""
        matches = self.method in {"*", method} and fnmatchcase(path, self.path)
        return matches and next(self.numbers) in self.affected


class FaultPlan:
    """Scheduled faults. If several apply to a request, each is around those added after it."""

    def __init__(self) -> None:
        self.rules: list[_ScheduledFault] = []

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
        affected = range(nth, sys.maxsize if times is None else nth + times)
        self.rules.append(_ScheduledFault(fault, method, path, count(1), affected))

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        """Return the faults of this request, in the order they were added."""
        return tuple(rule.fault for rule in self.rules if rule.affects(method, path))

"""Faults that a simulation or a test can inject into requests."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from random import Random
from typing import TypeAlias

from invite_sweeper.simulator.responses import Call, Delivery, Json, SimulatedResponse, api_error

Send: TypeAlias = Callable[[], Awaitable[SimulatedResponse]]
Fault: TypeAlias = Callable[[Call, Send], Awaitable[SimulatedResponse]]
"""Answers a request; it may execute it by `Send`, before or after a change of its own."""
Effect: TypeAlias = Callable[[Call], None]


def delay(seconds: float) -> Fault:
    """Delay the response."""
    return partial(_delay, seconds)


async def _delay(seconds: float, call: Call, send: Send) -> SimulatedResponse:
    await call.sim.sleep(seconds)
    return await send()


def effect(*, before: Effect | None = None, after: Effect | None = None) -> Fault:
    """Change the request, or Atlas's data around it, such as an invitation that is accepted."""
    return partial(_effect, before, after)


async def _effect(
    before: Effect | None, after: Effect | None, call: Call, send: Send
) -> SimulatedResponse:
    if before is not None:
        before(call)
    response = await send()
    if after is not None:
        after(call)
    return response


def respond_with(response: SimulatedResponse, *, late: bool = False) -> Fault:
    """Send this response before the request is executed, or after if `late`."""
    return partial(_respond, response, late)


async def _respond(
    response: SimulatedResponse, late: bool, _call: Call, send: Send
) -> SimulatedResponse:
    if late:
        await send()
    return response


def fail_with(
    status: int = 500,
    code: str = "UNEXPECTED_ERROR",
    detail: str = "Unexpected error.",
    *parameters: Json,
    retry_after: str | None = None,
    late: bool = False,
) -> Fault:
    """Return an `ApiError` before the request is executed, or after if `late`."""
    response = api_error(status, code, detail, *parameters, retry_after=retry_after)
    return respond_with(response, late=late)


def reset(*, late: bool = False) -> Fault:
    """Reset the connection before the request is executed, or after if `late`."""

    async def deliver(delivery: Delivery) -> None:
        delivery.reset()

    return respond_with(SimulatedResponse(500, deliver=deliver), late=late)


@dataclass(slots=True)
class _Rule:
    """When a fault is injected: from the `nth` match on, `times`, or at random at a rate."""

    fault: Fault
    method: str
    path: str
    nth: int
    times: float
    rate: float | None = None
    matched: int = 0

    def matches(self, method: str, path: str, rng: Random) -> bool:
        if self.method not in {"*", method} or not fnmatchcase(path, self.path):
            return False
        if self.rate is not None:
            return rng.random() < self.rate
        self.matched += 1
        return self.nth <= self.matched < self.nth + self.times


class FaultPlan:
    """Scheduled faults. If several apply to a request, each is around those added after it."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[_Rule] = []
        self._rng = Random(seed)  # noqa: S311 - faults, not secrets

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
        self._rules.append(_Rule(fault, method, path, nth, math.inf if times is None else times))

    def add_random(self, fault: Fault, rate: float, *, method: str = "*", path: str = "*") -> None:
        """Inject `fault` into a random share of matching requests, from 0 to 1."""
        self._rules.append(_Rule(fault, method, path, 1, 0, rate))

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        """Return the faults of this request, in the order they were added."""
        return tuple(each.fault for each in self._rules if each.matches(method, path, self._rng))

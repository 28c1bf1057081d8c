"""Faults that a simulation or a test can inject into requests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.responses import Json, SimulatedResponse, api_error

if TYPE_CHECKING:
    from invite_sweeper.simulator.state import SimulatedAtlas


class Delivery(NamedTuple):
    """What sends a response, for a fault that does it in another way.

    Attributes:
        payload: The response; empty if the request was not executed.
        write: Sends bytes.
        reset: Resets the connection; unsent data is dropped.
        stopped: Set when the server stops.
    """

    payload: bytes
    write: Callable[[bytes], Awaitable[None]]
    reset: Callable[[], None]
    stopped: asyncio.Event


Effect: TypeAlias = Callable[[Call], None]
Deliver: TypeAlias = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request.

    Attributes:
        delay_s: Delay before anything else.
        before: Called just before the request is executed.
        after: Called just after the request is executed.
        instead: The response to send in place of the real one.
        deliver: Sends the response in place of the server; the request counts as unanswered.
        late: Execute the request before `instead` or `deliver` applies.
        alter: Returns another response for the real one.
    """

    delay_s: float = 0.0
    before: Effect | None = None
    after: Effect | None = None
    instead: "SimulatedResponse | Callable[[SimulatedAtlas], SimulatedResponse] | None" = None
    deliver: Deliver | None = None
    late: bool = False
    alter: Callable[[SimulatedResponse], SimulatedResponse] | None = None

    @property
    def ends(self) -> bool:
        """Whether no other fault can answer the request."""
        return self.instead is not None or self.deliver is not None


def delay(seconds: float) -> Fault:
    """Delay the response."""
    return Fault(delay_s=seconds)


def effect(*, before: Effect | None = None, after: Effect | None = None) -> Fault:
    """Change Atlas's data around the request, such as an invitation that is accepted."""
    return Fault(before=before, after=after)


def respond_with(response: SimulatedResponse, *, late: bool = False) -> Fault:
    """Send this response instead."""
    return Fault(instead=response, late=late)


def fail_with(
    status: int = 500,
    code: str = "UNEXPECTED_ERROR",
    detail: str = "Unexpected error.",
    *parameters: Json,
    retry_after: str | None = None,
    late: bool = False,
) -> Fault:
    """Return an `ApiError` before the request is executed, or after if `late`."""
    response = api_error(status, code, detail, *parameters)
    if retry_after is not None:
        response = replace(response, headers=(*response.headers, ("Retry-After", retry_after)))
    return respond_with(response, late=late)


def reset(*, late: bool = False) -> Fault:
    """Reset the connection before the request is executed, or after if `late`."""
    return Fault(deliver=_reset, late=late)


async def _reset(delivery: Delivery) -> None:
    delivery.reset()


@dataclass(slots=True)
class _FaultRule:
    fault: Fault
    method: str
    path: str
    nth: int
    times: int | None
    rate: float | None
    matched: int = 0

    def matches(self, method: str, path: str, rng: Random) -> bool:
        if self.method not in {"*", method} or not fnmatchcase(path, self.path):
            return False
        if self.rate is not None:
            return rng.random() < self.rate
        self.matched += 1
        return self.matched >= self.nth and (
            self.times is None or self.matched < self.nth + self.times
        )


class FaultPlan:
    """Scheduled faults. If several apply to a request, the first with a response wins."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[_FaultRule] = []
        self._latency_s = (0.0, 0.0)
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
        self._rules.append(_FaultRule(fault, method, path, nth, times, None))

    def add_random(self, fault: Fault, rate: float, *, method: str = "*", path: str = "*") -> None:
        """Inject `fault` into a random share of matching requests, from 0 to 1."""
        self._rules.append(_FaultRule(fault, method, path, 1, None, rate))

    def set_latency(self, base_s: float, jitter_s: float = 0.0) -> None:
        """Delay each response by `base_s` plus a uniform random part of `jitter_s`."""
        self._latency_s = (base_s, jitter_s)

    def clear(self) -> None:
        """Remove all faults and the latency."""
        self._rules.clear()
        self._latency_s = (0.0, 0.0)

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        """Return the faults of this request, in the order they were added."""
        base_s, jitter_s = self._latency_s
        latency = (delay(base_s + jitter_s * self._rng.random()),) if base_s or jitter_s else ()
        if not self._rules:
            return latency
        matching = [rule.fault for rule in self._rules if rule.matches(method, path, self._rng)]
        return (*latency, *matching)

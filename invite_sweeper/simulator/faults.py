"""Faults that a test or a simulation can inject into requests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from invite_sweeper.simulator.responses import (
    HeaderStyle,
    Json,
    SimulatedResponse,
    api_error,
    missing_role,
    reason_phrase,
)

ConnectionFault: TypeAlias = Literal["reset", "hang"]


class FaultContext(NamedTuple):
    """The request that an effect is called with; ids are empty if the path has none."""

    method: str
    path: str
    scope_id: str = ""
    item_id: str = ""


Effect: TypeAlias = Callable[[FaultContext], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request, created by the functions below.

    Attributes:
        delay_s: Delay before anything else.
        before: Called just before the request is executed.
        after: Called just after the request is executed.
        instead: Response sent in place of the real one; `challenge` is Digest's first 401.
        connection_fault: Reset the connection, or never respond.
        late: Execute the request before `instead` or `connection_fault` applies.
        body: Replaces the body of the real response, or returns another one for it.
        cut: Close the connection after half of the body.
        media: Replaces the `Content-Type` of the real response.
        drip_s: Send the response byte by byte, with this time between two bytes.
    """

    delay_s: float = 0.0
    before: Effect | None = None
    after: Effect | None = None
    instead: SimulatedResponse | Literal["challenge"] | None = None
    connection_fault: ConnectionFault | None = None
    late: bool = False
    body: bytes | Callable[[bytes], bytes] | None = None
    cut: bool = False
    media: str | None = None
    drip_s: float = 0.0


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
        response = replace(response, extra=(*response.extra, ("Retry-After", retry_after)))
    return respond_with(response, late=late)


def html(status: int = 502, *, retry_after: str | None = None, late: bool = False) -> Fault:
    """Return the HTML page of a proxy, without `Date`, and close the connection.

    Source: recording of a 502.
    """
    line = f"{status} {reason_phrase(status)}"
    page = (
        f"<html>\n<head>\n    <title>{line}</title>\n</head>\n<body>\n    <h1>{line}</h1>\n"
        "    <p>upstream connect error</p>\n</body>\n</html>"
    )
    extra = [("Connection", "close"), ("Server", "proxy")]
    if retry_after is not None:
        extra.append(("Retry-After", retry_after))
    return respond_with(
        SimulatedResponse(status, page.encode(), "text/html", HeaderStyle.BARE, tuple(extra)),
        late=late,
    )


def empty(status: int) -> Fault:
    """Return no body and no `Content-Type`, like a recorded 405 and older 401."""
    return respond_with(SimulatedResponse(status, b"", None, HeaderStyle.EDGE))


def upgrade() -> Fault:
    """Return the temporary 405 of an Atlas upgrade.

    Source: list of errors in the fact sheet; the detail is assumed.
    """
    detail = "Writes are not allowed during app upgrades."
    return fail_with(405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", detail)


def redirect(location: str, status: int = 302) -> Fault:
    """Redirect the client."""
    return respond_with(
        SimulatedResponse(status, b"", None, HeaderStyle.EDGE, (("Location", location),))
    )


def challenge() -> Fault:
    """Return Digest's first 401, even if the credentials are valid."""
    return Fault(instead="challenge")


def role_missing(code: str = "USER_UNAUTHORIZED") -> Fault:
    """Return the 401 of a missing role, even if the roles suffice; Atlas does so at times."""
    return respond_with(missing_role(code))


def reset(*, late: bool = False) -> Fault:
    """Reset the connection before the request is executed, or after if `late`."""
    return Fault(connection_fault="reset", late=late)


def hang(*, late: bool = False) -> Fault:
    """Never respond; the connection stays open until the server stops."""
    return Fault(connection_fault="hang", late=late)


def drip(interval_s: float = 0.5) -> Fault:
    """Send the real response byte by byte: each read succeeds, and the whole takes minutes."""
    return Fault(drip_s=interval_s)


def truncated() -> Fault:
    """Close the connection after half of the body."""
    return Fault(cut=True)


def malformed(body: bytes = b'[{"id":"') -> Fault:
    """Return a body that is not JSON with a JSON `Content-Type`."""
    return Fault(body=body)


def altered(alter: Callable[[bytes], bytes]) -> Fault:
    """Return the real response with an altered body."""
    return Fault(body=alter)


def mislabelled(media: str = "text/html") -> Fault:
    """Return the real response with another `Content-Type`."""
    return Fault(media=media)


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
            fault: The fault.
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

"""Scripted and random faults."""

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

# What can go wrong with a request.


ConnectionFault: TypeAlias = Literal["reset", "hang"]


class FaultContext(NamedTuple):
    """A request as an effect sees it; ids are empty where the path has none."""

    method: str
    path: str
    scope_id: str = ""
    item_id: str = ""


Effect: TypeAlias = Callable[[FaultContext], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with a request. Made by the functions below.

    Attributes:
        delay_s: Waited before anything else.
        before: Called just before the request is carried out.
        after: Called just after it was.
        instead: Sent in place of the true answer; `challenge` is the first 401 of Digest.
        broken: The connection is reset, or nothing is ever said.
        late: `instead` and `broken` come after the request was carried out.
        body: Replaces the body of the true answer.
        cut: The body ends half way, and so does the connection.
        media: Replaces the `Content-Type` of the true answer.
    """

    delay_s: float = 0.0
    before: Effect | None = None
    after: Effect | None = None
    instead: SimulatedResponse | Literal["challenge"] | None = None
    connection_fault: ConnectionFault | None = None
    late: bool = False
    body: bytes | None = None
    cut: bool = False
    media: str | None = None


def delay(seconds: float) -> Fault:
    """The answer comes so much later."""
    return Fault(delay_s=seconds)


def effect(*, before: Effect | None = None, after: Effect | None = None) -> Fault:
    """Something else happens in Atlas just then: somebody accepts, a project goes."""
    return Fault(before=before, after=after)


def respond_with(response: SimulatedResponse, *, late: bool = False) -> Fault:
    """Any other answer."""
    return Fault(instead=response, late=late)


def fail_with(
    status: int = 500,
    code: str = "UNEXPECTED_ERROR",
    detail: str = "Unexpected error.",
    *parameters: Json,
    retry_after: str | None = None,
    late: bool = False,
) -> Fault:
    """An `ApiError`, before the request was carried out or, when `late`, after."""
    response = api_error(status, code, detail, *parameters)
    if retry_after is not None:
        response = replace(response, extra=(*response.extra, ("Retry-After", retry_after)))
    return respond_with(response, late=late)


def html(status: int = 502, *, retry_after: str | None = None, late: bool = False) -> Fault:
    """The page of a proxy in front; no `Date`, and the connection ends.

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
    """No body and no `Content-Type`, as 405 and older 401 have been seen."""
    return respond_with(SimulatedResponse(status, b"", None, HeaderStyle.EDGE))


def upgrade() -> Fault:
    """405 while Atlas is being upgraded; it passes.

    Source: list of errors in the fact sheet; its detail is assumed.
    """
    detail = "Writes are not allowed during app upgrades."
    return fail_with(405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", detail)


def redirect(location: str, status: int = 302) -> Fault:
    """Sends the client elsewhere."""
    return respond_with(
        SimulatedResponse(status, b"", None, HeaderStyle.EDGE, (("Location", location),))
    )


def challenge() -> Fault:
    """The first 401, credentials good or not."""
    return Fault(instead="challenge")


def role_missing(code: str = "USER_UNAUTHORIZED") -> Fault:
    """The second 401, roles good or not; it comes up now and then and passes."""
    return respond_with(missing_role(code))


def reset(*, late: bool = False) -> Fault:
    """The connection is reset, before the request was carried out or, when `late`, after."""
    return Fault(connection_fault="reset", late=late)


def hang(*, late: bool = False) -> Fault:
    """No answer ever comes; the connection stays open until the server ends."""
    return Fault(connection_fault="hang", late=late)


def truncated() -> Fault:
    """The body ends half way and so does the connection."""
    return Fault(cut=True)


def malformed(body: bytes = b'[{"id":"') -> Fault:
    """A body that is no JSON, with a head that says it is."""
    return Fault(body=body)


def mislabelled(media: str = "text/html") -> Fault:
    """The true answer under another `Content-Type`."""
    return Fault(media=media)


# When something goes wrong: scripted by pattern and count, or at random by a seed.


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
    """Faults to come. Where several meet in one request, the first that answers wins."""

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
        """Let `fault` happen to the `nth` request that matches, and to `times` in all.

        Args:
            fault: See `faults`.
            method: Upper case, or `*`.
            path: A glob over the whole path without its query, as `*/invites/*`.
            nth: From 1.
            times: None for all that follow.
        """
        self._rules.append(_FaultRule(fault, method, path, nth, times, None))

    def add_random(self, fault: Fault, rate: float, *, method: str = "*", path: str = "*") -> None:
        """Let `fault` happen to that share of the matching requests, from 0 to 1."""
        self._rules.append(_FaultRule(fault, method, path, 1, None, rate))

    def set_latency(self, base_s: float, jitter_s: float = 0.0) -> None:
        """Let each answer take `base_s` and up to `jitter_s` more, evenly spread."""
        self._latency_s = (base_s, jitter_s)

    def clear(self) -> None:
        """No more faults and no latency."""
        self._rules.clear()
        self._latency_s = (0.0, 0.0)

    def faults_for(self, method: str, path: str) -> tuple[Fault, ...]:
        """What happens to this request, in the order in which it was planned; empty mostly."""
        base_s, jitter_s = self._latency_s
        latency = (delay(base_s + jitter_s * self._rng.random()),) if base_s or jitter_s else ()
        if not self._rules:
            return latency
        matching = [rule.fault for rule in self._rules if rule.matches(method, path, self._rng)]
        return (*latency, *matching)

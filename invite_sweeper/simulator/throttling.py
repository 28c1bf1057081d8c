"""Rate limits: a token bucket per endpoint set and scope, and the limit on invitations."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from math import ceil
from typing import Final, Literal, NamedTuple, TypeAlias

from invite_sweeper.simulator.responses import BucketState, Rejected, SimulatedResponse, api_error

Scope: TypeAlias = Literal["GROUP", "ORGANIZATION", "USER"]


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """Endpoints that share one bucket per scope, with the documented limits.

    Source: rate limit documentation of 2026-04-10, in the fact sheet, section 4.

    Attributes:
        id: Modelled on the one documented id; the others are assumed.
        capacity: Requests in a full bucket.
        refill: Requests added every `period_s`.
    """

    id: str
    name: str
    scope: Scope
    capacity: int
    refill: int
    period_s: int = 60


PROJECT: Final = EndpointSet("projects_group", "Projects", "GROUP", 1200, 500)
PROJECTS: Final = EndpointSet("projects_user", "Projects", "USER", 1200, 500)
ORGANIZATION: Final = EndpointSet(
    "organizations_organization", "Organizations", "ORGANIZATION", 500, 250
)
ORGANIZATIONS: Final = EndpointSet("organizations_user", "Organizations", "USER", 300, 100)
PROJECT_USERS: Final = EndpointSet(
    "mongoDbCloudUsers_group", "MongoDB Cloud Users", "GROUP", 1200, 500
)
ORGANIZATION_USERS: Final = EndpointSet(
    "mongoDbCloudUsers_organization", "MongoDB Cloud Users", "ORGANIZATION", 500, 250
)
PROJECT_TEAMS: Final = EndpointSet("teams_group", "Teams", "GROUP", 1200, 500)
RATE_LIMITS: Final = EndpointSet(
    "rateLimitsInspection_user", "Rate Limits Inspection", "USER", 300, 100
)
FEDERATION: Final = EndpointSet("federation_user", "Federation", "USER", 300, 100)
ROOT: Final = EndpointSet("root_user", "Root", "USER", 300, 100)

_ALL: Final = (
    PROJECT,
    PROJECTS,
    ORGANIZATION,
    ORGANIZATIONS,
    PROJECT_USERS,
    ORGANIZATION_USERS,
    PROJECT_TEAMS,
    RATE_LIMITS,
    FEDERATION,
    ROOT,
)
ENDPOINT_SETS: Final = {each.id: each for each in _ALL}
"""By id, in the order of `/rateLimits`."""


class BucketLimit(NamedTuple):
    """The capacity and refill of a bucket."""

    capacity: int
    refill: int
    period_s: float


@dataclass(slots=True)
class SimulatedBucket:
    """A token bucket that adds `refill` tokens at once every `period_s`.

    Attributes:
        anchor_s: Monotonic start of the first period.

    Source: in the recordings the level falls for up to a minute and then jumps.
    """

    limit: BucketLimit
    anchor_s: float
    tokens: int = field(init=False)
    _refills: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.tokens = self.limit.capacity

    def take_up_to(self, now_s: float, wanted: int = 1) -> int:
        """Take up to `wanted` tokens; return the number taken."""
        self._refill(now_s)
        taken = min(wanted, self.tokens)
        self.tokens -= taken
        return taken

    def next_refill_s(self, now_s: float) -> int:
        """Return the seconds until the next refill, rounded up."""
        elapsed = now_s - self.anchor_s
        return max(0, ceil((self._refills + 1) * self.limit.period_s - elapsed))

    def _refill(self, now_s: float) -> None:
        refills = int((now_s - self.anchor_s) / self.limit.period_s)
        if refills > self._refills:
            gained = (refills - self._refills) * self.limit.refill
            self.tokens = min(self.limit.capacity, self.tokens + gained)
            self._refills = refills


RetryAfter: TypeAlias = Literal["seconds", "missing", "zero", "huge", "date"]
_HUGE_S = 86_400


class Throttling:
    """All buckets, created on first use.

    Attributes:
        headers: Whether responses have `RateLimit-*` headers. The documentation allows both.
        retry_after: Form of the `Retry-After` header of a 429.
        enforced: Whether an empty bucket causes a 429.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.headers = True
        self.retry_after: RetryAfter = "seconds"
        self.enforced = True
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], SimulatedBucket] = {}
        self._overrides: dict[tuple[str, str], tuple[BucketLimit, float | None]] = {}

    def set_bucket(
        self,
        endpoint_set: EndpointSet,
        scope_id: str | None,
        limit: BucketLimit,
        anchor_s: float | None,
    ) -> None:
        """Replace the limits of one scope, or of all with None, by full buckets."""
        self._overrides[endpoint_set.id, scope_id or ""] = (limit, anchor_s)
        for key in [key for key in self._buckets if key[0] == endpoint_set.id]:
            if scope_id is None or key[1] == scope_id:
                del self._buckets[key]

    def limit_for(self, endpoint_set: EndpointSet, scope_id: str) -> BucketLimit:
        """Return the limits of a scope."""
        return self._effective_limit(endpoint_set, scope_id)[0]

    def bucket(self, endpoint_set: EndpointSet, scope_id: str) -> SimulatedBucket:
        """Return the bucket of a scope; by default its first period starts with this call."""
        bucket = self._buckets.get((endpoint_set.id, scope_id))
        if bucket is None:
            limit, anchor_s = self._effective_limit(endpoint_set, scope_id)
            bucket = SimulatedBucket(limit, self._monotonic() if anchor_s is None else anchor_s)
            self._buckets[endpoint_set.id, scope_id] = bucket
        return bucket

    def spend(self, endpoint_set: EndpointSet, scope_id: str, tokens: int) -> int:
        """Take tokens as another client would; return the number taken."""
        return self.bucket(endpoint_set, scope_id).take_up_to(self._monotonic(), tokens)

    def take_token(
        self, endpoint_set: EndpointSet, scope_id: str
    ) -> tuple[bool, BucketState | None]:
        """Take a token for a request; return whether it is allowed, and its headers' values."""
        bucket = self.bucket(endpoint_set, scope_id)
        allowed = bucket.take_up_to(self._monotonic()) == 1 or not self.enforced
        return allowed, BucketState(bucket.limit.capacity, bucket.tokens) if self.headers else None

    def rate_limited_response(
        self, endpoint_set: EndpointSet, scope_id: str, path: str, now: datetime
    ) -> SimulatedResponse:
        """Return the 429 with the documented text.

        Source: rate limit documentation and a log of 2026-09-29, in the fact sheet, section 4.
        """
        bucket = self.bucket(endpoint_set, scope_id)
        wait_s = self._reported_wait_s(bucket)
        capacity, refill, period_s = bucket.limit
        resource = path.lstrip("/")
        response = api_error(
            429,
            "RATE_LIMITED_TOKEN_BUCKET",
            f"Rate limit exceeded for {resource}. Please retry after {wait_s} seconds."
            f" Request capacity: {capacity}. Refill rate: {refill} per {period_s:g} seconds.",
            *(resource, wait_s, capacity, refill, round(period_s)),
        )
        extra = response.extra + self._retry_after_header(wait_s, now)
        return SimulatedResponse(
            response.status, response.body, response.media, response.style, extra
        )

    def _reported_wait_s(self, bucket: SimulatedBucket) -> int:
        if self.retry_after == "zero":
            return 0
        return _HUGE_S if self.retry_after == "huge" else bucket.next_refill_s(self._monotonic())

    def _retry_after_header(self, wait_s: int, now: datetime) -> tuple[tuple[str, str], ...]:
        if self.retry_after == "missing":
            return ()
        if self.retry_after == "date":
            then = now + timedelta(seconds=wait_s)
            return (("Retry-After", format_datetime(then, usegmt=True)),)
        return (("Retry-After", str(wait_s)),)

    def _effective_limit(
        self, endpoint_set: EndpointSet, scope_id: str
    ) -> tuple[BucketLimit, float | None]:
        scope_override = self._overrides.get((endpoint_set.id, scope_id))
        set_override = self._overrides.get((endpoint_set.id, ""))
        documented = BucketLimit(endpoint_set.capacity, endpoint_set.refill, endpoint_set.period_s)
        return scope_override or set_override or (documented, None)


_MINUTE_S = 60


class InviteRateLimit:
    """Limits new invitations per IP address.

    Attributes:
        per_minute: Maximum per minute; None for no limit.

    Source: quoted in the notes on the recordings, section 3: 10 a minute, status 400.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.per_minute: int | None = 10
        self._monotonic = monotonic
        self._sent: dict[str, deque[float]] = {}

    def count(self, client_ip: str) -> None:
        """Count an invitation; raise Rejected if it exceeds the limit."""
        if self.per_minute is None:
            return
        sent = self._sent.setdefault(client_ip, deque())
        now_s = self._monotonic()
        while sent and sent[0] <= now_s - _MINUTE_S:
            sent.popleft()
        if len(sent) >= self.per_minute:
            detail = f"At most {self.per_minute} invitations a minute may be sent from one address."
            raise Rejected(api_error(400, "INVITATIONS_RATE_LIMITED_IP", detail, client_ip))
        sent.append(now_s)

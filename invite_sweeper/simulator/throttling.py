"""Rate limits: a token bucket per family of endpoints and scope."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Literal, NamedTuple

from invite_sweeper.simulator.responses import SimulatedResponse, api_error


class BucketSize(NamedTuple):
    """The requests in a full bucket, and those added at once every `period_s`."""

    capacity: int
    refill: int
    period_s: float = 60.0


class Family(NamedTuple):
    """Endpoints of one resource of Atlas: their version, and the bucket of each scope.

    Attributes:
        name: Its name in `SimulatedAtlas.retired` and `sunsets`.
        bucket: Families with the same one share their buckets. Modelled on the one documented
            id; the others are assumed.
        limit: Source: Atlas documentation, API rate limits of 2026-04-10.
        version: The one that the program uses; a later date is resolved down to it.
    """

    name: str
    bucket: str
    scope: Literal["GROUP", "ORGANIZATION", "USER", "IP"]
    limit: BucketSize
    version: str = "2023-01-01"


_PROJECT_LIMIT = BucketSize(1200, 500)
_USERS_VERSION = "2025-02-19"
GROUPS: Final = Family("groups", "projects_user", "USER", _PROJECT_LIMIT)
INVITES: Final = Family("invites", "projects_group", "GROUP", _PROJECT_LIMIT)
USERS: Final = Family("users", "mongoDbCloudUsers_group", "GROUP", _PROJECT_LIMIT, _USERS_VERSION)
TEAMS: Final = Family("teams", "teams_group", "GROUP", _PROJECT_LIMIT)
ORGS: Final = Family("orgs", "organizations_user", "USER", BucketSize(300, 100))
ORG: Final = Family("orgs", "organizations_organization", "ORGANIZATION", BucketSize(500, 250))
ORG_INVITES: Final = ORG._replace(name="org_invites")
SERVICE_ACCOUNTS: Final = ORG._replace(name="service_accounts", version="2024-08-05")
API_KEYS: Final = ORG._replace(name="api_keys", bucket="api_keys_organization")
ORG_USERS: Final = ORG._replace(
    name="org_users", bucket="mongoDbCloudUsers_organization", version=_USERS_VERSION
)
NEW_INVITATIONS: Final = Family("", "invitations_ip", "IP", BucketSize(10, 10))
"""Counted beside the bucket of their endpoint. Source: quoted in an issue, 10 a minute."""


@dataclass(slots=True)
class SimulatedBucket:
    """A token bucket that is refilled at once every period.

    Attributes:
        anchor_s: Monotonic start of the first period.

    Source: in the recordings the level falls for up to a minute and then jumps.
    """

    limit: BucketSize
    anchor_s: float
    tokens: int = field(init=False)
    _refills: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.tokens = self.limit.capacity

    def take(self, now_s: float) -> bool:
        """Take a token; return whether there was one."""
        refills = int((now_s - self.anchor_s) / self.limit.period_s)
        if refills > self._refills:
            gained = (refills - self._refills) * self.limit.refill
            self.tokens = min(self.limit.capacity, self.tokens + gained)
            self._refills = refills
        if self.tokens == 0:
            return False
        self.tokens -= 1
        return True

    def rate_limited_response(self, now_s: float, path: str) -> SimulatedResponse:
        """Return the 429 with the documented text.

        Source: Atlas documentation, API rate limits of 2026-04-10.
        """
        capacity, refill, period_s = self.limit
        next_refill_s = self.anchor_s + (self._refills + 1) * period_s
        wait_s = ceil(next_refill_s - now_s)
        resource = path.lstrip("/")
        detail = (
            f"Rate limit exceeded for {resource}. Please retry after {wait_s} seconds."
            f" Request capacity: {capacity}. Refill rate: {refill} per {period_s:g} seconds."
        )
        figures = (resource, wait_s, capacity, refill, round(period_s))
        code = "RATE_LIMITED_TOKEN_BUCKET"
        return api_error(429, code, detail, *figures, retry_after=str(wait_s))


class Throttling:
    """All buckets, created on first use.

    Attributes:
        enforced: Whether an empty bucket causes a 429.
        buckets: By its id in `Family`, and project id, organization id or account name.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.enforced = True
        self.buckets: dict[tuple[str, str], SimulatedBucket] = {}
        self._monotonic = monotonic

    def bucket(self, family: Family, place_id: str) -> SimulatedBucket:
        """Return the bucket of a scope; its first period starts with the first call."""
        full = SimulatedBucket(family.limit, self._monotonic())
        return self.buckets.setdefault((family.bucket, place_id), full)

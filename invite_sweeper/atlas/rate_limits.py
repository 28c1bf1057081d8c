"""Documented limits by endpoint set."""

import math
import re
from typing import NamedTuple


class BucketKey(NamedTuple):
    """Which bucket: an endpoint set (the constants of `limits`) and whose requests it counts.

    A named tuple, as it is hashed for every request and that is the fastest there is.

    Attributes:
        scope_id: The project's or organization's id, or the credential's name.
    """

    endpoint_set: str
    scope_id: str


# Which rate limits Atlas documents, and which of them a `GET /rateLimits` entry is. Pure.
#
# Source:
#     https://www.mongodb.com/docs/atlas/api/api-rate-limit ("Last updated April 10, 2026");
#     `RateLimitEndpointSetResponse` in the OpenAPI document of 2025-03-12. The figures are
#     "not part of the API contract": the headers and `GET /rateLimits` come first.


PROJECTS_GROUP = "projects_group"
PROJECTS_USER = "projects_user"
ORGANIZATIONS_ORG = "organizations_org"
ORGANIZATIONS_USER = "organizations_user"
CLOUD_USERS_GROUP = "cloud_users_group"
CLOUD_USERS_ORG = "cloud_users_org"
RATE_LIMITS_USER = "rate_limits_user"

_MOST_REFILLS = 10


class Limit(NamedTuple):
    """A bucket's figures: it holds `capacity`, and `refill` tokens come every `period_s`."""

    capacity: float
    refill: float
    period_s: float

    @property
    def sane(self) -> bool:
        """Whether one can wait by these figures: all above zero and finite."""
        return all(
            figure > 0 and math.isfinite(figure)
            for figure in (self.capacity, self.refill, self.period_s)
        )

    def reserve(self, share: float) -> float:
        """Give how much of the capacity such a share leaves to other programs.

        No more than ten refills: once it is spent, it takes as many periods to come back, and
        nothing goes out meanwhile. All buckets that are documented are refilled in three.
        """
        most = min(_MOST_REFILLS * self.refill, self.capacity - 1)
        return max(0.0, min(share * self.capacity, most))

    def part(self, parts: int) -> "Limit":
        """Give one of so many equal parts; the period stays."""
        return (
            self if parts == 1 else Limit(self.capacity / parts, self.refill / parts, self.period_s)
        )


class RateLimit(NamedTuple):
    """One entry of `GET /rateLimits`, as it stands there.

    Attributes:
        endpoint_set: `endpointSetId` or `endpointSetName`; either will do.
        scope: `IP`, `GROUP`, `ORGANIZATION` or `USER`.
        limit: The `value` of `capacity`, `refillRate` and `refillDurationSeconds`.
    """

    endpoint_set: str
    scope: str
    limit: Limit


_DOCUMENTED = {
    PROJECTS_GROUP: Limit(1200, 500, 60),
    PROJECTS_USER: Limit(1200, 500, 60),
    ORGANIZATIONS_ORG: Limit(500, 250, 60),
    ORGANIZATIONS_USER: Limit(300, 100, 60),
    CLOUD_USERS_GROUP: Limit(1200, 500, 60),
    CLOUD_USERS_ORG: Limit(500, 250, 60),
    RATE_LIMITS_USER: Limit(300, 100, 60),
}
_UNKNOWN = Limit(300, 100, 60)  # assumed: the smallest that a path of ours falls under
_NAMES = {
    "projects": "projects",
    "organizations": "organizations",
    "mongodbcloudusers": "cloud_users",
    "cloudusers": "cloud_users",
    "ratelimitsinspection": "rate_limits",
}
_SCOPES = {
    "GROUP": "group",
    "PROJECT": "group",
    "ORGANIZATION": "org",
    "ORG": "org",
    "USER": "user",
}


def limit_of(endpoint_set: str) -> Limit:
    """Give the documented figures; those of the smallest set for one that is not ours."""
    return _DOCUMENTED.get(endpoint_set, _UNKNOWN)


def ours(rate_limit: RateLimit) -> str | None:
    """Give our name of the entry's endpoint set; None for one that we never ask.

    Lenient, since the ids are seen in one example only (`rateLimitsInspection_group`):
    letters count, not their case, spaces or a scope at the end.
    """
    scope = _SCOPES.get(rate_limit.scope.upper())
    name = re.sub(
        r"_(group|project|org|organization|user|ip)$", "", rate_limit.endpoint_set.lower()
    )
    family = _NAMES.get(re.sub(r"[^a-z]", "", name))
    found = f"{family}_{scope}"
    return found if found in _DOCUMENTED else None

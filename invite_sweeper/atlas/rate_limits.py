"""The documented rate limits by endpoint set, and which one a `GET /rateLimits` entry is. Pure.

Source:
    https://www.mongodb.com/docs/atlas/api/api-rate-limit ("Last updated April 10, 2026");
    `RateLimitEndpointSetResponse` in the OpenAPI document of 2025-03-12. The figures are
    "not part of the API contract": the headers and `GET /rateLimits` come first.
"""

import math
import re
from typing import NamedTuple

PROJECTS_GROUP = "projects_group"
PROJECTS_USER = "projects_user"
ORGANIZATIONS_ORG = "organizations_org"
ORGANIZATIONS_USER = "organizations_user"
CLOUD_USERS_GROUP = "cloud_users_group"
CLOUD_USERS_ORG = "cloud_users_org"
RATE_LIMITS_USER = "rate_limits_user"

_MAX_REFILLS_RESERVED = 10


class BucketKey(NamedTuple):
    """Which bucket: an endpoint set (the constants above) and whose requests it counts.

    A named tuple, because it is hashed for every request.

    Attributes:
        scope_id: The project's or organization's id, or the credential's name.
    """

    endpoint_set: str
    scope_id: str


class BucketLimit(NamedTuple):
    """The figures of a bucket: `capacity` tokens, and `refill` more every `period_s`."""

    capacity: float
    refill: float
    period_s: float

    @property
    def is_usable(self) -> bool:
        """Whether all figures are above zero and finite."""
        return all(
            figure > 0 and math.isfinite(figure)
            for figure in (self.capacity, self.refill, self.period_s)
        )

    def reserve(self, share: float) -> float:
        """Return how many tokens this share of the capacity leaves to other programs.

        At most ten refills: once it is spent, it takes as many periods to come back, and
        nothing is sent meanwhile. All documented buckets are refilled in three.
        """
        limit = min(_MAX_REFILLS_RESERVED * self.refill, self.capacity - 1)
        return max(0.0, min(share * self.capacity, limit))

    def divided_by(self, shards: int) -> "BucketLimit":
        """Return the share of one shard; the period stays."""
        if shards == 1:
            return self
        return BucketLimit(self.capacity / shards, self.refill / shards, self.period_s)


class AdvertisedLimit(NamedTuple):
    """One entry of `GET /rateLimits`.

    Attributes:
        endpoint_set: `endpointSetId` or `endpointSetName`.
        scope: `IP`, `GROUP`, `ORGANIZATION` or `USER`.
        limit: The `value` of `capacity`, `refillRate` and `refillDurationSeconds`.
    """

    endpoint_set: str
    scope: str
    limit: BucketLimit


_DOCUMENTED_LIMITS = {
    PROJECTS_GROUP: BucketLimit(1200, 500, 60),
    PROJECTS_USER: BucketLimit(1200, 500, 60),
    ORGANIZATIONS_ORG: BucketLimit(500, 250, 60),
    ORGANIZATIONS_USER: BucketLimit(300, 100, 60),
    CLOUD_USERS_GROUP: BucketLimit(1200, 500, 60),
    CLOUD_USERS_ORG: BucketLimit(500, 250, 60),
    RATE_LIMITS_USER: BucketLimit(300, 100, 60),
}
_FALLBACK_LIMIT = BucketLimit(
    300, 100, 60
)  # assumed: the smallest that a path used here falls under
_ENDPOINT_FAMILIES = {
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


def documented_limit(endpoint_set: str) -> BucketLimit:
    """Return the documented figures; those of the smallest set for one that is not used here."""
    return _DOCUMENTED_LIMITS.get(endpoint_set, _FALLBACK_LIMIT)


def endpoint_set_of(advertised: AdvertisedLimit) -> str | None:
    """Return the endpoint set of an entry; None for one that is not used here.

    Lenient, because the ids are known from one example only (`rateLimitsInspection_group`):
    case, spaces and a scope at the end are ignored.
    """
    scope = _SCOPES.get(advertised.scope.upper())
    name = re.sub(
        r"_(group|project|org|organization|user|ip)$", "", advertised.endpoint_set.lower()
    )
    family = _ENDPOINT_FAMILIES.get(re.sub(r"[^a-z]", "", name))
    found = f"{family}_{scope}"
    return found if found in _DOCUMENTED_LIMITS else None

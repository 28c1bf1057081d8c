"""The documented rate limits. Pure.

Source:
    https://www.mongodb.com/docs/atlas/api/api-rate-limit ("Last updated April 10, 2026").
    They are "not part of the API contract": the headers of the responses have precedence.
"""

import math
from typing import NamedTuple

PROJECTS_GROUP = "projects_group"
PROJECTS_USER = "projects_user"
ORGANIZATIONS_ORG = "organizations_org"
ORGANIZATIONS_USER = "organizations_user"
CLOUD_USERS_GROUP = "cloud_users_group"
CLOUD_USERS_ORG = "cloud_users_org"
TEAMS_GROUP = "teams_group"
# Not documented: the smallest documented limit applies until a header names another one.
EVENTS_ORG = "events_org"
SERVICE_ACCOUNTS_ORG = "service_accounts_org"

_MAX_REFILLS_RESERVED = 10
MIN_RETRY_AFTER_S = 1.0
"""Atlas has sent `Please retry after 0 seconds`."""
MAX_RETRY_AFTER_S = 120.0


class BucketKey(NamedTuple):
    """Identifies a bucket. A named tuple, because it is hashed for every request.

    Attributes:
        endpoint_set: One of the constants above.
        scope_id: ID of the project or organization, or the name of the credentials.
    """

    endpoint_set: str
    scope_id: str


class BucketLimit(NamedTuple):
    """A bucket holds `capacity` tokens and gains `refill` tokens every `period_s`."""

    capacity: float
    refill: float
    period_s: float

    @property
    def is_usable(self) -> bool:
        """Whether all values are positive and finite."""
        return all(
            value > 0 and math.isfinite(value)
            for value in (self.capacity, self.refill, self.period_s)
        )

    def reserve(self, share: float) -> float:
        """Return the number of tokens left to other programs: a share of the capacity.

        At most ten refills, because nothing is sent until a spent reserve is refilled. All
        documented buckets are refilled in three periods.
        """
        max_tokens = min(_MAX_REFILLS_RESERVED * self.refill, self.capacity - 1)
        return max(0.0, min(share * self.capacity, max_tokens))


_DOCUMENTED_LIMITS = {
    PROJECTS_GROUP: BucketLimit(1200, 500, 60),
    PROJECTS_USER: BucketLimit(1200, 500, 60),
    ORGANIZATIONS_ORG: BucketLimit(500, 250, 60),
    ORGANIZATIONS_USER: BucketLimit(300, 100, 60),
    CLOUD_USERS_GROUP: BucketLimit(1200, 500, 60),
    CLOUD_USERS_ORG: BucketLimit(500, 250, 60),
    TEAMS_GROUP: BucketLimit(1200, 500, 60),
}
_FALLBACK_LIMIT = BucketLimit(300, 100, 60)  # the smallest one above


def clamp_wait_s(wait_s: float) -> float | None:
    """Limit a wait requested by Atlas to the range from floor to cap; None for NaN."""
    if math.isnan(wait_s):
        return None
    return min(max(wait_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


def documented_limit(endpoint_set: str) -> BucketLimit:
    """Return the documented limit; the smallest one for an unknown endpoint set."""
    return _DOCUMENTED_LIMITS.get(endpoint_set, _FALLBACK_LIMIT)

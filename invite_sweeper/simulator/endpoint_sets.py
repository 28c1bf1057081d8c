"""The endpoint sets that Atlas counts requests by, with the documented figures.

Source: rate limit documentation of 2026-04-10, in the fact sheet, section 4.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Scope: TypeAlias = Literal["GROUP", "ORGANIZATION", "USER"]

_GROUP: Final = "/api/atlas/v2/groups/{groupId}"
_ORG: Final = "/api/atlas/v2/orgs/{orgId}"


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """Operations that share one bucket per scope.

    Attributes:
        id: Made after the one id that the documentation shows; the others are assumed.
        capacity: Requests in a full bucket.
        refill: Requests given back every `period_s`.
        endpoints: Method and path template; only those that the simulated Atlas serves.
    """

    id: str
    name: str
    scope: Scope
    capacity: int
    refill: int
    period_s: int
    endpoints: tuple[tuple[str, str], ...]


PROJECT: Final = EndpointSet(
    "projects_group",
    "Projects",
    "GROUP",
    1200,
    500,
    60,
    (
        ("GET", _GROUP),
        ("GET", f"{_GROUP}/invites"),
        ("POST", f"{_GROUP}/invites"),
        ("GET", f"{_GROUP}/invites/{{invitationId}}"),
        ("DELETE", f"{_GROUP}/invites/{{invitationId}}"),
    ),
)
PROJECTS: Final = EndpointSet(
    "projects_user", "Projects", "USER", 1200, 500, 60, (("GET", "/api/atlas/v2/groups"),)
)
ORGANIZATION: Final = EndpointSet(
    "organizations_organization",
    "Organizations",
    "ORGANIZATION",
    500,
    250,
    60,
    (
        ("GET", _ORG),
        ("GET", f"{_ORG}/groups"),
        ("GET", f"{_ORG}/invites"),
        ("POST", f"{_ORG}/invites"),
        ("GET", f"{_ORG}/invites/{{invitationId}}"),
        ("DELETE", f"{_ORG}/invites/{{invitationId}}"),
    ),
)
ORGANIZATIONS: Final = EndpointSet(
    "organizations_user", "Organizations", "USER", 300, 100, 60, (("GET", "/api/atlas/v2/orgs"),)
)
PROJECT_USERS: Final = EndpointSet(
    "mongoDbCloudUsers_group",
    "MongoDB Cloud Users",
    "GROUP",
    1200,
    500,
    60,
    (
        ("GET", f"{_GROUP}/users"),
        ("POST", f"{_GROUP}/users"),
        ("GET", f"{_GROUP}/users/{{userId}}"),
        ("DELETE", f"{_GROUP}/users/{{userId}}"),
    ),
)
ORGANIZATION_USERS: Final = EndpointSet(
    "mongoDbCloudUsers_organization",
    "MongoDB Cloud Users",
    "ORGANIZATION",
    500,
    250,
    60,
    (
        ("GET", f"{_ORG}/users"),
        ("POST", f"{_ORG}/users"),
        ("GET", f"{_ORG}/users/{{userId}}"),
        ("DELETE", f"{_ORG}/users/{{userId}}"),
    ),
)
RATE_LIMITS: Final = EndpointSet(
    "rateLimitsInspection_user",
    "Rate Limits Inspection",
    "USER",
    300,
    100,
    60,
    (
        ("GET", "/api/atlas/v2/rateLimits"),
        ("GET", "/api/atlas/v2/rateLimits/{endpointSetId}"),
    ),
)
ROOT: Final = EndpointSet("root_user", "Root", "USER", 300, 100, 60, (("GET", "/api/atlas/v2"),))

ENDPOINT_SETS: Final = {
    each.id: each
    for each in (
        PROJECT,
        PROJECTS,
        ORGANIZATION,
        ORGANIZATIONS,
        PROJECT_USERS,
        ORGANIZATION_USERS,
        RATE_LIMITS,
        ROOT,
    )
}
"""By their id, in the order in which `/rateLimits` lists them."""

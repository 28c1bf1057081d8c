"""Every request that can be sent at all."""

from dataclasses import dataclass
from typing import Final

from invite_sweeper.atlas.limits import (
    CLOUD_USERS_GROUP,
    CLOUD_USERS_ORG,
    ORGANIZATIONS_ORG,
    PROJECTS_GROUP,
    PROJECTS_USER,
    RATE_LIMITS_USER,
)
from invite_sweeper.inventory import INVITED_STATUSES, MembershipStatus

V2023_01_01: Final = "application/vnd.atlas.2023-01-01+json"
V2025_02_19: Final = "application/vnd.atlas.2025-02-19+json"
"""Of everything about users: the one before lists, and deletes, active members alone."""
V2025_03_12: Final = "application/vnd.atlas.2025-03-12+json"


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of the API, as the client uses it. Each is only equal to itself.

    Attributes:
        method: `GET`, `DELETE` or `POST`.
        template: The path, with `{}` where an id stands.
        media_type: The pinned version; an older or newer one is another operation.
        endpoint_set: Whose bucket it draws from, as `limits` names it.
        query: Pinned parameters, encoded.
        paged: It takes a `pageNum`.
    """

    method: str
    template: str
    media_type: str
    endpoint_set: str
    query: str = ""
    paged: bool = False


LIST_GROUPS: Final = Operation(
    "GET",
    "/api/atlas/v2/groups",
    V2023_01_01,
    PROJECTS_USER,
    query="itemsPerPage=500&includeCount=false",
    paged=True,
)
_GROUP_INVITES: Final = "/api/atlas/v2/groups/{}/invites"
LIST_GROUP_INVITES: Final = Operation("GET", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
DELETE_GROUP_INVITE: Final = Operation(
    "DELETE", f"{_GROUP_INVITES}/{{}}", V2023_01_01, PROJECTS_GROUP
)
LIST_RATE_LIMITS: Final = Operation(
    "GET",
    "/api/atlas/v2/rateLimits",
    V2025_03_12,
    RATE_LIMITS_USER,
    query="itemsPerPage=500",
    paged=True,
)
LIST_PROJECT_RATE_LIMITS: Final = Operation(
    "GET", "/api/atlas/v2/rateLimits?groupId={}", V2025_03_12, RATE_LIMITS_USER
)
"""The limits as they are in one project; the list without a scope tells the usual ones."""
LIST_ORG_RATE_LIMITS: Final = Operation(
    "GET", "/api/atlas/v2/rateLimits?orgId={}", V2025_03_12, RATE_LIMITS_USER
)


def _with_status(*statuses: MembershipStatus) -> str:
    return "&".join(f"orgMembershipStatuses={status}" for status in statuses)


_ANY_STATUS: Final = _with_status(*INVITED_STATUSES, MembershipStatus.ACTIVE)
"""A read without them hides users whose invitation expired or was rejected."""
_USERS_PAGE: Final = f"{_with_status(*INVITED_STATUSES)}&itemsPerPage=500&includeCount=false"
_GROUP_USERS: Final = "/api/atlas/v2/groups/{}/users"
_ORG_USERS: Final = "/api/atlas/v2/orgs/{}/users"
_GROUP_USER: Final = "/api/atlas/v2/groups/{}/users/{}"
_ORG_USER: Final = "/api/atlas/v2/orgs/{}/users/{}"

LIST_GROUP_USERS: Final = Operation(
    "GET", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, query=_USERS_PAGE, paged=True
)
GET_GROUP_USER: Final = Operation(
    "GET", _GROUP_USER, V2025_02_19, CLOUD_USERS_GROUP, query=_ANY_STATUS
)
REMOVE_GROUP_USER: Final = Operation("DELETE", _GROUP_USER, V2025_02_19, CLOUD_USERS_GROUP)
LIST_ORG_USERS: Final = Operation(
    "GET", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, query=_USERS_PAGE, paged=True
)
GET_ORG_USER: Final = Operation("GET", _ORG_USER, V2025_02_19, CLOUD_USERS_ORG, query=_ANY_STATUS)
REMOVE_ORG_USER: Final = Operation("DELETE", _ORG_USER, V2025_02_19, CLOUD_USERS_ORG)
LIST_ORG_INVITES: Final = Operation(
    "GET", "/api/atlas/v2/orgs/{}/invites", V2023_01_01, ORGANIZATIONS_ORG
)
DELETE_ORG_INVITE: Final = Operation(
    "DELETE", "/api/atlas/v2/orgs/{}/invites/{}", V2023_01_01, ORGANIZATIONS_ORG
)
_PRESENT: Final = _with_status(MembershipStatus.PENDING, MembershipStatus.ACTIVE)
_PRESENT_PAGE: Final = f"{_PRESENT}&itemsPerPage=500&includeCount=false"
LIST_GROUP_PEOPLE: Final = Operation(
    "GET", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, query=_PRESENT_PAGE, paged=True
)
"""Who is there already, members among them: asked before inviting again, never for a deletion."""
LIST_ORG_PEOPLE: Final = Operation(
    "GET", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, query=_PRESENT_PAGE, paged=True
)
CREATE_GROUP_INVITE: Final = Operation("POST", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
ADD_GROUP_USER: Final = Operation("POST", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP)
ADD_ORG_USER: Final = Operation("POST", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG)

OPERATIONS: Final = frozenset(
    {
        LIST_GROUP_PEOPLE,
        LIST_ORG_PEOPLE,
        CREATE_GROUP_INVITE,
        ADD_GROUP_USER,
        ADD_ORG_USER,
        LIST_GROUPS,
        LIST_GROUP_INVITES,
        DELETE_GROUP_INVITE,
        LIST_GROUP_USERS,
        GET_GROUP_USER,
        REMOVE_GROUP_USER,
        LIST_ORG_USERS,
        GET_ORG_USER,
        REMOVE_ORG_USER,
        LIST_ORG_INVITES,
        DELETE_ORG_INVITE,
        LIST_ORG_RATE_LIMITS,
        LIST_PROJECT_RATE_LIMITS,
        LIST_RATE_LIMITS,
    }
)
"""Nothing else can be sent; a new source adds its own here.

Source: https://www.mongodb.com/docs/atlas/reference/api-resources-spec/ (v2), read 2026-08.
"""

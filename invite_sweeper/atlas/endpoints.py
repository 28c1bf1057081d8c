"""Every request that can be sent, and its path."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from invite_sweeper.atlas.rate_limits import (
    CLOUD_USERS_GROUP,
    CLOUD_USERS_ORG,
    ORGANIZATIONS_ORG,
    PROJECTS_GROUP,
    PROJECTS_USER,
    RATE_LIMITS_USER,
    BucketKey,
)
from invite_sweeper.atlas.responses import ResponseOrFailure
from invite_sweeper.models import INVITED_STATUSES, DeletionProgress, MembershipStatus

# Every request that can be sent at all.


V2023_01_01: Final = "application/vnd.atlas.2023-01-01+json"
V2025_02_19: Final = "application/vnd.atlas.2025-02-19+json"
"""Of everything about users: the one before lists, and deletes, active members alone."""
V2025_03_12: Final = "application/vnd.atlas.2025-03-12+json"


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
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


LIST_GROUPS: Final = Endpoint(
    "GET",
    "/api/atlas/v2/groups",
    V2023_01_01,
    PROJECTS_USER,
    query="itemsPerPage=500&includeCount=false",
    paged=True,
)
_GROUP_INVITES: Final = "/api/atlas/v2/groups/{}/invites"
LIST_GROUP_INVITES: Final = Endpoint("GET", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
DELETE_GROUP_INVITE: Final = Endpoint(
    "DELETE", f"{_GROUP_INVITES}/{{}}", V2023_01_01, PROJECTS_GROUP
)
LIST_RATE_LIMITS: Final = Endpoint(
    "GET",
    "/api/atlas/v2/rateLimits",
    V2025_03_12,
    RATE_LIMITS_USER,
    query="itemsPerPage=500",
    paged=True,
)
LIST_PROJECT_RATE_LIMITS: Final = Endpoint(
    "GET", "/api/atlas/v2/rateLimits?groupId={}", V2025_03_12, RATE_LIMITS_USER
)
"""The limits as they are in one project; the list without a scope tells the usual ones."""
LIST_ORG_RATE_LIMITS: Final = Endpoint(
    "GET", "/api/atlas/v2/rateLimits?orgId={}", V2025_03_12, RATE_LIMITS_USER
)


def _with_status(*statuses: MembershipStatus) -> str:
    return "&".join(f"orgMembershipStatuses={status}" for status in statuses)


_ANY_STATUS: Final = _with_status(*INVITED_STATUSES, MembershipStatus.ACTIVE)
"""A read without them hides users whose invitation expired or was rejected."""
_INVITED_USERS_PAGE: Final = (
    f"{_with_status(*INVITED_STATUSES)}&itemsPerPage=500&includeCount=false"
)
_GROUP_USERS: Final = "/api/atlas/v2/groups/{}/users"
_ORG_USERS: Final = "/api/atlas/v2/orgs/{}/users"
_GROUP_USER: Final = "/api/atlas/v2/groups/{}/users/{}"
_ORG_USER: Final = "/api/atlas/v2/orgs/{}/users/{}"

LIST_GROUP_USERS: Final = Endpoint(
    "GET", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, query=_INVITED_USERS_PAGE, paged=True
)
GET_GROUP_USER: Final = Endpoint(
    "GET", _GROUP_USER, V2025_02_19, CLOUD_USERS_GROUP, query=_ANY_STATUS
)
REMOVE_GROUP_USER: Final = Endpoint("DELETE", _GROUP_USER, V2025_02_19, CLOUD_USERS_GROUP)
LIST_ORG_USERS: Final = Endpoint(
    "GET", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, query=_INVITED_USERS_PAGE, paged=True
)
GET_ORG_USER: Final = Endpoint("GET", _ORG_USER, V2025_02_19, CLOUD_USERS_ORG, query=_ANY_STATUS)
REMOVE_ORG_USER: Final = Endpoint("DELETE", _ORG_USER, V2025_02_19, CLOUD_USERS_ORG)
LIST_ORG_INVITES: Final = Endpoint(
    "GET", "/api/atlas/v2/orgs/{}/invites", V2023_01_01, ORGANIZATIONS_ORG
)
DELETE_ORG_INVITE: Final = Endpoint(
    "DELETE", "/api/atlas/v2/orgs/{}/invites/{}", V2023_01_01, ORGANIZATIONS_ORG
)
_PRESENT: Final = _with_status(MembershipStatus.PENDING, MembershipStatus.ACTIVE)
_MEMBERS_PAGE: Final = f"{_PRESENT}&itemsPerPage=500&includeCount=false"
LIST_GROUP_MEMBERS: Final = Endpoint(
    "GET", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, query=_MEMBERS_PAGE, paged=True
)
"""Who is there already, members among them: asked before inviting again, never for a deletion."""
LIST_ORG_MEMBERS: Final = Endpoint(
    "GET", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, query=_MEMBERS_PAGE, paged=True
)
CREATE_GROUP_INVITE: Final = Endpoint("POST", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
ADD_GROUP_USER: Final = Endpoint("POST", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP)
ADD_ORG_USER: Final = Endpoint("POST", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG)

ENDPOINTS: Final = frozenset(
    {
        LIST_GROUP_MEMBERS,
        LIST_ORG_MEMBERS,
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


# The one function that makes a path, and the question whether a path is one of its.


_ID: Final = re.compile(r"[a-f0-9]{24}")


class _PathPattern(NamedTuple):
    """What all paths of an operation look like, worked out once.

    Attributes:
        places: For so many ids.
        query: Follows the template.
        fits: Matches a whole path and query of the operation, and nothing else.
    """

    id_count: int
    query: str
    matches: Callable[[str], re.Match[str] | None]


@cache
def _path_pattern(endpoint: Endpoint) -> _PathPattern | None:
    """Give its form; None for one that is none of ours."""
    if endpoint not in ENDPOINTS:
        return None
    query = f"?{endpoint.query}" if endpoint.query else ""
    pattern = re.compile(
        re.escape(endpoint.template).replace(r"\{\}", _ID.pattern)
        + re.escape(query)
        + (r"&pageNum=[1-9][0-9]*" if endpoint.paged else "")
    )
    return _PathPattern(endpoint.template.count("{}"), query, pattern.fullmatch)


class InvalidRequest(ValueError):
    """The request is none of `OPERATIONS`, or an id in it has a wrong form. Nothing is sent."""


def is_id(text: str) -> bool:
    """Tell whether `text` is an id as Atlas writes them: 24 lower-case hex digits."""
    return _ID.fullmatch(text) is not None


def build_path(endpoint: Endpoint, *ids: str, page: int | None = None) -> str:
    """Write the path and query of a request. No other function does.

    An empty id would make another endpoint of the path, so each one is checked.

    Args:
        operation: One of `OPERATIONS`.
        ids: As many as its template has places, in order.
        page: From 1; for a paged operation alone.

    Raises:
        UnsendableError: The operation is unknown, an id has a wrong form, there are too few
            or too many, or the page does not belong there.
    """
    pattern = _path_pattern(endpoint)
    if pattern and len(ids) == pattern.id_count and (page is not None) == endpoint.paged:
        path = endpoint.template.format(*ids) + pattern.query
        if page is not None:
            path = f"{path}&pageNum={page}"
        if pattern.matches(path):  # an id is right where the whole has the right form
            return path
    raise InvalidRequest(f"not a request of ours: {endpoint.method} {endpoint.template}")


def is_valid_path(endpoint: Endpoint, path: str) -> bool:
    """Tell whether a path is just what `target` writes for the operation.

    Asked once more where requests go out, so that one that was made by other hands is not sent.
    """
    pattern = _path_pattern(endpoint)
    return pattern is not None and pattern.matches(path) is not None


# A request before it is sent; only what `operations` knows can become one.


class Request(NamedTuple):
    """One request, before it is sent. A named tuple, as one is made for every request.

    Attributes:
        key: The bucket that it draws from.
        read: Makes a value of a 200's body or raises Nonsense, which is then tried again.
        trail: Told about what happens to it.
        body: JSON; None where there is none.
        part_of: The deletion that it is a step of, and is called off with.
        before_again: Asked before each further try; a result that it gives ends the request.
    """

    endpoint: Endpoint
    path: str
    key: BucketKey
    parse: Callable[[bytes], object] | None = None
    progress: DeletionProgress | None = None
    body: bytes | None = None
    parent: DeletionProgress | None = None
    before_retry: Callable[[], Awaitable[ResponseOrFailure | None]] | None = None

    @property
    def can_be_cancelled(self) -> bool:
        """Whether somebody can say that nothing more may be sent for it."""
        return self.progress is not None or self.parent is not None

    @property
    def owner_progress(self) -> DeletionProgress | None:
        """The deletion that it is of; None where it is of none."""
        return self.progress or self.parent

    def is_cancelled(self) -> bool:
        """Tell whether nothing more may be sent for it."""
        owner = self.owner_progress
        return owner is not None and owner.cancelled


def build_request(
    endpoint: Endpoint,
    *ids: str,
    scope_id: str,
    page: int | None = None,
    parse: Callable[[bytes], object] | None = None,
    progress: DeletionProgress | None = None,
    body: bytes | None = None,
) -> Request:
    """Make a request; nothing but `OPERATIONS` can be made.

    Raises:
        UnsendableError: As `target.target`.
    """
    path = build_path(endpoint, *ids, page=page)
    return Request(
        endpoint, path, BucketKey(endpoint.endpoint_set, scope_id), parse, progress, body
    )


def check_request(request: Request) -> None:
    """Let only what `target.target` makes pass, whoever has made the request.

    Raises:
        UnsendableError: It is something else.
    """
    if not is_valid_path(request.endpoint, request.path):
        raise InvalidRequest(f"not a request of ours: {request.endpoint.method} {request.path}")

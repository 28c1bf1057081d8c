"""The API calls that the client can send, their rate limits, and the only way to build a path.

A request that is not built from `ENDPOINTS` with well-formed ids is never sent.
"""

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import structs

from invite_sweeper.models import INVITED_STATUSES, MembershipStatus, Source
from invite_sweeper.text import is_atlas_id


class BucketLimit(NamedTuple):
    """A bucket holds `capacity` tokens and gains `refill` tokens every `period_s`."""

    capacity: float
    refill: float
    period_s: float


class EndpointSet(msgspec.Struct, frozen=True):
    """Calls that share a rate limit.

    Atlas has one bucket for each project or organization, the first id of the calls; for calls
    without ids, one for each set of credentials.

    Attributes:
        limit: Where none is documented, the smallest documented one.

    Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit ("Last updated April 10, 2026").
        The figures are "not part of the API contract": the headers have precedence.
    """

    name: str
    limit: BucketLimit = BucketLimit(300, 100, 60)


# Capacity, tokens of a refill, seconds from one refill to the next:
PROJECTS_GROUP: Final = EndpointSet("projects_group", BucketLimit(1200, 500, 60))
PROJECTS_USER: Final = EndpointSet("projects_user", BucketLimit(1200, 500, 60))
ORGANIZATIONS_ORG: Final = EndpointSet("organizations_org", BucketLimit(500, 250, 60))
ORGANIZATIONS_USER: Final = EndpointSet("organizations_user", BucketLimit(300, 100, 60))
CLOUD_USERS_GROUP: Final = EndpointSet("cloud_users_group", BucketLimit(1200, 500, 60))
CLOUD_USERS_ORG: Final = EndpointSet("cloud_users_org", BucketLimit(500, 250, 60))
TEAMS_GROUP: Final = EndpointSet("teams_group", BucketLimit(1200, 500, 60))
# https://www.mongodb.com/docs/atlas/api/api-authentication: 10, later 50 a minute.
TOKENS: Final = EndpointSet("tokens", BucketLimit(10, 10, 60))

_JSON: Final = "application/json"
V2023_01_01: Final = "application/vnd.atlas.2023-01-01+json"
V2024_08_05: Final = "application/vnd.atlas.2024-08-05+json"
V2025_02_19: Final = "application/vnd.atlas.2025-02-19+json"
"""For every call about users: the previous version lists and deletes only active members."""


class Endpoint(msgspec.Struct, frozen=True, eq=False, dict=True):
    """An operation of the Atlas API, as the client uses it. Compared by identity.

    Attributes:
        method: `GET`, `DELETE` or `POST`.
        template: The path, with `{}` for each id.
        media_type: The pinned API version; other versions behave differently.
        endpoint_set: The rate limit that applies.
        query: Pinned parameters, URL-encoded.
        paged: Whether it takes a `pageNum`.
        by_username: Whether it takes the name of one user.
        is_look: Whether it reads a user just before the removal: its answer must not be from a
            cache.
    """

    method: str
    template: str
    media_type: str
    endpoint_set: EndpointSet
    query: str = ""
    paged: bool = False
    by_username: bool = False
    is_look: bool = False

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers of its requests, but for those of the credentials."""
        headers = {"Accept": self.media_type}
        if self.method == "GET":
            headers["Cache-Control"] = "no-cache"
        if self.method == "POST" and "{}" in self.template:  # else it is a form
            headers["Content-Type"] = self.media_type
        return headers


def _statuses(*statuses: MembershipStatus) -> str:
    """Return the query for users with one of these statuses."""
    return "&".join(f"orgMembershipStatuses={status}" for status in statuses)


def _paged_list(
    path: str, media_type: str, endpoint_set: EndpointSet, *parameters: str
) -> Endpoint:
    """Return the call for a list that Atlas pages: the largest pages, and no count of all entries.

    Source: the parameters `itemsPerPage` and `includeCount` of the OpenAPI document.
    """
    query = "&".join((*parameters, "itemsPerPage=500&includeCount=false"))
    return Endpoint("GET", path, media_type, endpoint_set, query, paged=True)


def _single_user(path: str, endpoint_set: EndpointSet) -> Endpoint:
    """Return the call for one user in any known status, whose answer is never from a cache."""
    return Endpoint("GET", f"{path}/{{}}", V2025_02_19, endpoint_set, _EVERYONE, is_look=True)


_API: Final = "/api/atlas/v2"
_GROUP_INVITES: Final = f"{_API}/groups/{{}}/invites"
_ORG_INVITES: Final = f"{_API}/orgs/{{}}/invites"
_GROUP_USERS: Final = f"{_API}/groups/{{}}/users"
_ORG_USERS: Final = f"{_API}/orgs/{{}}/users"
_INVITED: Final = _statuses(*INVITED_STATUSES)
"""Without these statuses Atlas hides users whose invitation expired or was rejected."""
_ACTIVE: Final = _statuses(MembershipStatus.ACTIVE)
_EVERYONE: Final = _statuses(*INVITED_STATUSES, MembershipStatus.ACTIVE)

LIST_GROUPS: Final = _paged_list(f"{_API}/groups", V2023_01_01, PROJECTS_USER)
LIST_ORGS: Final = _paged_list(f"{_API}/orgs", V2023_01_01, ORGANIZATIONS_USER)

LIST_GROUP_INVITES: Final = Endpoint("GET", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
DELETE_GROUP_INVITE: Final = Endpoint(
    "DELETE", f"{_GROUP_INVITES}/{{}}", V2023_01_01, PROJECTS_GROUP
)
CREATE_GROUP_INVITE: Final = Endpoint("POST", _GROUP_INVITES, V2023_01_01, PROJECTS_GROUP)
LIST_ORG_INVITES: Final = Endpoint("GET", _ORG_INVITES, V2023_01_01, ORGANIZATIONS_ORG)
DELETE_ORG_INVITE: Final = Endpoint(
    "DELETE", f"{_ORG_INVITES}/{{}}", V2023_01_01, ORGANIZATIONS_ORG
)

LIST_GROUP_USERS: Final = _paged_list(_GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, _INVITED)
LIST_ORG_USERS: Final = _paged_list(_ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, _INVITED)
GET_GROUP_USER: Final = _single_user(_GROUP_USERS, CLOUD_USERS_GROUP)
GET_ORG_USER: Final = _single_user(_ORG_USERS, CLOUD_USERS_ORG)
REMOVE_GROUP_USER: Final = Endpoint(
    "DELETE", f"{_GROUP_USERS}/{{}}", V2025_02_19, CLOUD_USERS_GROUP
)
REMOVE_ORG_USER: Final = Endpoint("DELETE", f"{_ORG_USERS}/{{}}", V2025_02_19, CLOUD_USERS_ORG)
ADD_GROUP_USER: Final = Endpoint("POST", _GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP)
ADD_ORG_USER: Final = Endpoint("POST", _ORG_USERS, V2025_02_19, CLOUD_USERS_ORG)

LIST_GROUP_PEOPLE: Final = _paged_list(_GROUP_USERS, V2025_02_19, CLOUD_USERS_GROUP, _EVERYONE)
"""Users in any known status: read before a re-invitation, never for a deletion."""
LIST_ORG_PEOPLE: Final = _paged_list(_ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, _EVERYONE)
LIST_ORG_ACTIVE_MEMBERS: Final = _paged_list(_ORG_USERS, V2025_02_19, CLOUD_USERS_ORG, _ACTIVE)
FIND_ORG_ACTIVE_MEMBER: Final = structs.replace(LIST_ORG_ACTIVE_MEMBERS, by_username=True)
"""Whether a person is an active member. It is not documented whether the name must be exact."""
LIST_GROUP_TEAMS: Final = _paged_list(f"{_API}/groups/{{}}/teams", V2023_01_01, TEAMS_GROUP)
"""The teams with access to a project. Requires Project Read Only."""
LIST_ORG_API_KEYS: Final = _paged_list(
    f"{_API}/orgs/{{}}/apiKeys", V2023_01_01, EndpointSet("api_keys_org")
)
"""The API keys of an organization with their descriptions. Requires Organization Member."""
GET_SERVICE_ACCOUNT: Final = Endpoint(
    "GET",
    f"{_API}/orgs/{{}}/serviceAccounts/mdb_sa_id_{{}}",
    V2024_08_05,
    EndpointSet("service_accounts_org"),
)
"""A service account with the dates of its secrets. Requires Organization Read Only."""
FETCH_TOKEN: Final = Endpoint("POST", "/api/oauth/token", _JSON, TOKENS)
REVOKE_TOKEN: Final = Endpoint("POST", "/api/oauth/revoke", _JSON, EndpointSet("revocations"))

ENDPOINTS: Final = frozenset(
    constant for constant in globals().copy().values() if isinstance(constant, Endpoint)
)
"""The calls above: nothing else can be sent.

Source: https://www.mongodb.com/docs/api/doc/atlas-admin-api-v2, read 2026-11.
"""


class SourceApi(msgspec.Struct, frozen=True):
    """The API calls of one source.

    Attributes:
        list: Takes one id, of the project or organization.
        delete: Takes that id and the invitation's.
        invite: Invites a user again; `org_invites` uses the call that replaces its own.
        read_user: Reads one user just before the deletion; takes the same ids as `delete`. None
            if `delete` cannot affect an accepted invitation.
    """

    list: Endpoint
    delete: Endpoint
    invite: Endpoint
    read_user: Endpoint | None = None


SOURCES: Final[Mapping[Source, SourceApi]] = MappingProxyType(
    {
        # Invitations API: the DELETE has no effect on an accepted invitation.
        Source.INVITES: SourceApi(LIST_GROUP_INVITES, DELETE_GROUP_INVITE, CREATE_GROUP_INVITE),
        Source.ORG_INVITES: SourceApi(LIST_ORG_INVITES, DELETE_ORG_INVITE, ADD_ORG_USER),
        # Users API, also with invitations created in the web interface: the DELETE removes the
        # user from the project, or from the organization and all its projects, in any status.
        Source.USERS: SourceApi(
            LIST_GROUP_USERS, REMOVE_GROUP_USER, ADD_GROUP_USER, GET_GROUP_USER
        ),
        Source.ORG_USERS: SourceApi(LIST_ORG_USERS, REMOVE_ORG_USER, ADD_ORG_USER, GET_ORG_USER),
    }
)
"""No other list can be read or deleted from."""


class InvalidRequest(ValueError):
    """The request is not in `ENDPOINTS`, or one of its ids is malformed. Nothing is sent."""


def build_path(
    endpoint: Endpoint,
    *ids: str,
    page: int | None = None,
    username: str | None = None,
) -> tuple[str, str]:
    """Return the path and the query of a request. No other function builds one.

    Each id is checked, because an empty one would turn the path into another endpoint.

    Args:
        endpoint: One of `ENDPOINTS`.
        ids: One for each `{}` of its template, in order.
        page: From 1; for a paged endpoint, and no other one.
        username: For an endpoint that takes one, and no other one.

    Raises:
        InvalidRequest: The endpoint is unknown, an id is malformed, the number of ids is wrong,
            or `page` or `username` is missing or not allowed.
    """
    has_ids = len(ids) == endpoint.template.count("{}") and all(map(is_atlas_id, ids))
    is_paged = page is not None and page > 0
    is_by_username = bool(username)
    has_its_parameters = is_paged is endpoint.paged and is_by_username is endpoint.by_username
    if endpoint not in ENDPOINTS or not has_ids or not has_its_parameters:
        raise InvalidRequest(f"invalid request: {endpoint.method} {endpoint.template}")
    path = endpoint.template.format(*ids)
    query = endpoint.query
    if username is not None:
        query = f"{query}&username={quote(username, safe='')}"
    if is_paged:
        query = f"{query}&pageNum={page}"
    return path, query

"""Lists of Atlas: all pages of one, and the four lists that contain invited users, as one table."""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import (
    ADD_GROUP_USER,
    ADD_ORG_USER,
    CREATE_GROUP_INVITE,
    DELETE_GROUP_INVITE,
    DELETE_ORG_INVITE,
    GET_GROUP_USER,
    GET_ORG_USER,
    LIST_GROUP_INVITES,
    LIST_GROUP_USERS,
    LIST_ORG_INVITES,
    LIST_ORG_USERS,
    REMOVE_GROUP_USER,
    REMOVE_ORG_USER,
    Endpoint,
    is_id,
)
from invite_sweeper.atlas.parsing import (
    Page,
    parse_project_roles,
    parse_timestamp,
    text_or_none,
    texts,
)
from invite_sweeper.atlas.responses import (
    InvalidResponse,
    ListIncomplete,
    Response,
    ResponseOrFailure,
)
from invite_sweeper.models import Invitation, Project, Source

MAX_PAGES: Final = 10_000
T = TypeVar("T")


class Listing(NamedTuple, Generic[T]):
    """The rows of a list, as far as it could be read.

    Attributes:
        rows: In Atlas's order; a row may be repeated.
        pages: Pages that were read.
        failure: Why the list may be incomplete; None if it was read to the end.
    """

    rows: list[T]
    pages: int
    failure: ResponseOrFailure | None = None


async def read_list(
    client: Client,
    endpoint: Endpoint,
    *ids: str,
    parse: Callable[[bytes], Page[T]],
    key: Callable[[T], Hashable],
    since: datetime | None = None,
) -> Listing[T]:
    """Read all pages of a list, by number: a link could point to another host.

    Only a missing `next` link ends the list. A page that names a next one and has no new row
    makes it incomplete. A list whose endpoint is not paged is read with one request.

    Args:
        ids: For the path of the endpoint.
        parse: Parses one page.
        key: Tells rows apart.
        since: For an endpoint that takes a date.

    Raises:
        RunError: No access token is available.
    """
    rows: list[T] = []
    seen: set[Hashable] = set()
    for number in range(1, MAX_PAGES + 1):
        page = number if endpoint.paged else None
        result = await client.call(endpoint, *ids, page=page, since=since, parse=parse)
        if not (isinstance(result, Response) and isinstance(result.value, Page)):
            return Listing(rows, number - 1, result)
        before = len(seen)
        rows += result.value.rows
        seen.update(map(key, result.value.rows))
        if not result.value.has_next:
            return Listing(rows, number)
        if len(seen) == before:
            reason = (
                f"page {number} has no new entry and names a next page, so the list may not be "
                "complete"
            )
            return Listing(rows, number, ListIncomplete(reason))
    reason = f"the list has more than {MAX_PAGES} pages"
    return Listing(rows, MAX_PAGES, ListIncomplete(reason))


_INVITATION_DATES: Final = ("createdAt", "expiresAt")
_USER_DATES: Final = ("invitationCreatedAt", "invitationExpiresAt")


def parse_group_invitation(item: dict[str, object], project: Project) -> Invitation:
    """Parse one element of `GET /groups/{groupId}/invites`.

    Args:
        project: The project that was requested. Its id and name are used instead of those in the
            response, so that a deletion always goes to the project that was listed.

    Raises:
        InvalidResponse: It belongs to another project.

    Source:
        `GroupInvitation` of the OpenAPI document: no field is required. The recordings
        (read 2026-08): `inviterUsername` is often an API key's public key.
    """
    if not _is_null_or(item.get("groupId"), project.id):
        message = "the list contains an invitation to another project"
        raise InvalidResponse(message)
    return _row(item, project, Source.INVITES, item.get("roles"), _INVITATION_DATES)


def parse_org_invitation(item: dict[str, object], organization: Project) -> Invitation:
    """Parse one element of `GET /orgs/{orgId}/invites`, including its roles in projects.

    Raises:
        InvalidResponse: It belongs to another organization, or its roles cannot be read.

    Source: `OrganizationInvitation` of the OpenAPI document, 2023-01-01.
    """
    if not _is_null_or(item.get("orgId"), organization.id):
        message = "the list contains an invitation to another organization"
        raise InvalidResponse(message)
    row = _row(item, organization, Source.ORG_INVITES, item.get("roles"), _INVITATION_DATES)
    return _with_links(row, item, item.get("groupRoleAssignments"))


def parse_group_user(item: dict[str, object], project: Project) -> Invitation:
    """Parse one user of a project.

    Source: `GroupUserResponse`, 2025-02-19: `roles` is a flat array of strings.
    """
    row = _row(item, project, Source.USERS, item.get("roles"), _USER_DATES)
    return row._replace(status=text_or_none(item.get("orgMembershipStatus")))


def parse_org_user(item: dict[str, object], organization: Project) -> Invitation:
    """Parse one user of an organization, including its roles in projects.

    Raises:
        InvalidResponse: Its roles cannot be read, so the projects it gives access to are unknown.

    Source: `OrgUserResponse`, 2025-02-19: `roles` is an object.
    """
    roles = item.get("roles")
    if not isinstance(roles, dict):
        message = "a user of the organization has no roles"
        raise InvalidResponse(message)
    row = _row(item, organization, Source.ORG_USERS, roles.get("orgRoles"), _USER_DATES)
    row = row._replace(status=text_or_none(item.get("orgMembershipStatus")))
    return _with_links(row, item, roles.get("groupRoleAssignments"))


def _row(
    item: dict[str, object],
    project: Project,
    source: Source,
    roles: object,
    dates: tuple[str, str],
) -> Invitation:
    get = item.get
    return Invitation(
        text_or_none(get("id")) or "",
        project.id,
        project.name,
        project.org_id,
        text_or_none(get("username")),
        texts(roles),
        text_or_none(get("inviterUsername")),
        parse_timestamp(get(dates[0])),
        parse_timestamp(get(dates[1])),
        source,
    )


def _with_links(row: Invitation, item: dict[str, object], assignments: object) -> Invitation:
    """Return a row of an organization with its teams and its roles in projects.

    These decide whether it may be deleted: unreadable ones are an error, and where the row does
    not name all of them, `links_out_of_scope` is set.

    Source: the recordings (read 2026-08): both arrays are in every row, also when empty.
    """
    project_roles, team_ids = tuple(parse_project_roles(assignments)), item.get("teamIds")
    teams = team_ids if isinstance(team_ids, list) else [None]
    linked = dict.fromkeys(group_id for group_id, _ in project_roles)
    return row._replace(
        team_ids=texts(team_ids),
        project_roles=project_roles,
        linked_projects=tuple((group_id, "") for group_id in linked),
        links_out_of_scope=assignments is None
        or not all(isinstance(each, str) and is_id(each) for each in teams),
    )


def _is_null_or(value: object, expected: str) -> bool:
    return value is None or value == expected


class SourceApi(NamedTuple):
    """The API calls of one source.

    Attributes:
        list: Takes one id, of the project or organization.
        delete: Takes that id and the invitation's.
        parse_row: Parses one row of `list`, and a response of `read_user`. For an organization's
            list, the `Project` has the organization's id.
        invite: Invites a user again; `org_invites` uses the call that replaces its own.
        read_user: Reads one user just before the deletion; takes the same ids as `delete`. None
            if `delete` cannot affect an accepted invitation.
    """

    list: Endpoint
    delete: Endpoint
    parse_row: Callable[[dict[str, object], Project], Invitation]
    invite: Endpoint
    read_user: Endpoint | None = None


SOURCES: Final[Mapping[Source, SourceApi]] = MappingProxyType(
    {
        # Invitations API: the DELETE has no effect on an accepted invitation.
        Source.INVITES: SourceApi(
            LIST_GROUP_INVITES,
            DELETE_GROUP_INVITE,
            parse_group_invitation,
            CREATE_GROUP_INVITE,
        ),
        Source.ORG_INVITES: SourceApi(
            LIST_ORG_INVITES,
            DELETE_ORG_INVITE,
            parse_org_invitation,
            ADD_ORG_USER,
        ),
        # Users API, also with invitations created in the web interface: the DELETE removes the
        # user from the project, or from the organization and all its projects, in any status.
        Source.USERS: SourceApi(
            LIST_GROUP_USERS,
            REMOVE_GROUP_USER,
            parse_group_user,
            ADD_GROUP_USER,
            GET_GROUP_USER,
        ),
        Source.ORG_USERS: SourceApi(
            LIST_ORG_USERS,
            REMOVE_ORG_USER,
            parse_org_user,
            ADD_ORG_USER,
            GET_ORG_USER,
        ),
    }
)
"""No other list can be read or deleted from."""

"""Read projects, pending invitations, members, rate limits, and the status of one user.

Nothing here can delete or invite.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    LIST_GROUP_MEMBERS,
    LIST_GROUP_TEAMS,
    LIST_GROUPS,
    LIST_ORG_MEMBERS,
    LIST_ORG_RATE_LIMITS,
    LIST_ORGS,
    LIST_PROJECT_RATE_LIMITS,
    LIST_RATE_LIMITS,
    Endpoint,
    InvalidRequest,
    Request,
    build_request,
)
from invite_sweeper.atlas.parsing import (
    InvalidResponse,
    UserRecord,
    parse_advertised_limit,
    parse_organization,
    parse_page,
    parse_project,
    parse_team_id,
    parse_user,
)
from invite_sweeper.atlas.rate_limits import AdvertisedLimit
from invite_sweeper.atlas.responses import (
    Response,
    ResponseOrFailure,
    credentials_error,
    describe,
    fatal_error_for,
    first_request_error,
    is_already_gone,
    is_project_gone,
    is_unauthenticated,
    list_error,
    listing_incomplete_error,
    parse_error,
    unreadable_list,
)
from invite_sweeper.atlas.sources import SOURCES, ListPage, SourceApi
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import (
    Invitation,
    InvitationList,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    Project,
    ProjectGone,
    Source,
    UserStatus,
)
from invite_sweeper.text import casefold_visible

# The status of a user after a deletion was sent, or may have been.

ReadUser: TypeAlias = Callable[[Endpoint, str], Awaitable[ResponseOrFailure]]
"""Reads the user of an invitation with this endpoint, in the project or organization."""

_NO_ACCESS_STATUSES: Final = frozenset({401, 403})


class StatusCheck(NamedTuple):
    """The status of a user, and the response of the organization."""

    user_status: UserStatus
    response: ResponseOrFailure


async def check_organization(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint
) -> StatusCheck:
    """Read a user's status and whether the membership still exists.

    The organization returns both: the status, and the projects in which the user has roles. If it
    may not be read, the project is read: it shows only whether the user is still a member.

    Args:
        read_user: Sends the request.
        invitation: The user's invitation.
        user_endpoint: Reads one user in the source of the invitation.
    """
    response = await read_user(GET_ORG_USER, invitation.org_id)
    user = user_in(response, invitation)
    if user is not None:
        return StatusCheck(_user_status_of(user, invitation, user_endpoint), response)
    if isinstance(response, Response) and is_already_gone(response):
        return StatusCheck(UserStatus(MembershipStatus.GONE, still_member=False), response)
    if user_endpoint is GET_ORG_USER:
        return StatusCheck(UserStatus(None, still_member=None), response)
    return StatusCheck(await check_project(read_user, invitation, user_endpoint), response)


async def check_project(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint
) -> UserStatus:
    """Read a user in the project. A missing user may have any status in the organization."""
    response = await read_user(user_endpoint, invitation.project_id)
    user = user_in(response, invitation)
    if user is not None:
        return UserStatus(user.status, still_member=True)
    gone = isinstance(response, Response) and is_already_gone(response)
    return UserStatus(None, still_member=False if gone else None)


async def resolve_status(
    read_user: ReadUser, invitation: Invitation
) -> UserStatus | ListUnreadable:
    """Return the current status of an invited user, whether or not a deletion was sent.

    The status is None if the organization may not be read and the user is not in the project.
    Returns ListUnreadable if a later attempt may find out more.

    Args:
        read_user: Sends the request.
        invitation: From one of `SOURCES_OF_USERS`.
    """
    user_endpoint = SOURCES[invitation.source].read_user
    assert user_endpoint is not None  # noqa: S101 - every source of users has one
    (status, still_member), response = await check_organization(
        read_user, invitation, user_endpoint
    )
    if status is not None and still_member is None:
        # The organization returned the user without projects.
        still_member = (await check_project(read_user, invitation, user_endpoint)).still_member
    is_refused = isinstance(response, Response) and response.status in _NO_ACCESS_STATUSES
    has_no_access = is_refused and not is_unauthenticated(response)
    if still_member is None or (status is None and not has_no_access):
        return _unreadable_user(invitation, response)
    return UserStatus(status, still_member)


def user_in(result: ResponseOrFailure, invitation: Invitation) -> UserRecord | None:
    """Return the invited user from a response; None if it contains no user or another one."""
    value = result.value if isinstance(result, Response) else None
    return value if isinstance(value, UserRecord) and value.id == invitation.id else None


def _unreadable_user(invitation: Invitation, response: ResponseOrFailure) -> ListUnreadable:
    status = response.status if isinstance(response, Response) else response.http_status
    return ListUnreadable(
        invitation.project_id,
        invitation.project_name,
        f"The status of the user could not be read: {describe(response)}.",
        status,
        parse_error(response).code if isinstance(response, Response) else None,
        invitation.source,
    )


def _user_status_of(
    user: UserRecord, invitation: Invitation, user_endpoint: Endpoint
) -> UserStatus:
    if user_endpoint is GET_ORG_USER:
        return UserStatus(user.status, still_member=True)
    projects = user.project_ids
    still_member = None if projects is None else invitation.project_id in projects
    return UserStatus(user.status, still_member)


_NO_NEW: Final = "no new entry and names a next page, so the list may not be complete"
PAGES_CAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class _ProjectPage:
    items: tuple[Project | ListUnreadable, ...]
    has_next: bool


class _TeamPage(NamedTuple):
    team_ids: tuple[str, ...]
    has_next: bool


@dataclass(frozen=True, slots=True)
class _AdvertisedLimits:
    items: tuple[AdvertisedLimit, ...]


class AtlasReader:
    """Reads projects, invitations, rate limits and user status."""

    def __init__(self, transport: Transport, actor: str) -> None:
        self._transport = transport
        self._actor = actor

    async def projects(self) -> AsyncIterator[Project | ListUnreadable]:
        """Yield each project that the credentials can see, once and in Atlas's order.

        Yields ListUnreadable for a malformed id. Pages are requested by number until one has no
        next link or no new project.

        Raises:
            CredentialsRefused: The first page returned 401 or 403.
            AtlasUnavailable: The list could not be read to the end, or is invalid. The projects
                yielded so far are incomplete.

        Source: `listGroups` of the OpenAPI document; see `parsing.parse_page` on its oddities.
        """
        seen: set[tuple[str, str]] = set()
        for number in range(1, PAGES_CAP + 1):
            page = await self._projects_page(number)
            new_count = 0
            for item in page.items:
                identity = (item.id, "") if isinstance(item, Project) else _identity(item)
                if identity not in seen:
                    seen.add(identity)
                    new_count += 1
                    yield item
            if not page.has_next:
                return
            if not new_count:
                raise AtlasUnavailable(
                    f"The list of projects cannot be read to the end: page {number} has no new "
                    "project and names a next page."
                )
        raise AtlasUnavailable(f"The list of projects has more than {PAGES_CAP} pages.")

    async def _projects_page(self, number: int) -> _ProjectPage:
        request = build_request(
            LIST_GROUPS, scope_id=self._actor, page=number, parse=_parse_projects
        )
        result = await self._transport.send(request)
        if isinstance(result, Response) and isinstance(result.value, _ProjectPage):
            return result.value
        raise first_request_error(result) if number == 1 else listing_incomplete_error(result)

    async def organizations(self) -> Mapping[str, str]:
        """Return the names of the organizations that the credentials can see, by id.

        Raises:
            CredentialsRefused: The first page returned 401 or 403.
            AtlasUnavailable: The list could not be read to the end.

        Source: `listOrgs` of the OpenAPI document.
        """
        found: dict[str, str] = {}
        for number in range(1, PAGES_CAP + 1):
            request = build_request(
                LIST_ORGS, scope_id=self._actor, page=number, parse=_parse_organizations
            )
            result = await self._transport.send(request)
            if not (isinstance(result, Response) and isinstance(result.value, _OrganizationPage)):
                error = first_request_error if number == 1 else listing_incomplete_error
                raise error(result)
            before = len(found)
            found |= result.value.names
            if not result.value.has_next:
                return found
            if len(found) == before:
                break
        raise AtlasUnavailable("The list of organizations cannot be read to the end.")

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> InvitationList | ListUnreadable | ProjectGone:
        """Return a complete list, in Atlas's order and each id once.

        Returns ProjectGone if the project no longer exists, SourceRetired if Atlas no longer
        serves the list, and ListUnreadable if it may be incomplete.

        Args:
            project: For a list of an organization, a `Project` with the organization's id.
            source: Which list.

        Raises:
            RunError: The response stops the run (access list, API version), or there is no
                access token.
        """
        api, list_ref = SOURCES[source], ListRef(project, source)
        found: dict[str | int, Invitation] = {}
        rows = 0
        for number in range(1, PAGES_CAP + 1):
            result = await self._transport.send(_list_request(api, project, number))
            if not (isinstance(result, Response) and isinstance(result.value, ListPage)):
                return _with_rows(list_error(list_ref, result, api.roles[0]), rows)
            before = len(found)
            rows += result.value.invitations.rows
            for row in result.value.invitations:
                # Rows without an id are never duplicates; selection keeps them.
                key = row.id or len(found)
                listed = found.setdefault(key, row)
                if listed != row:  # which of the rows holds is unknown: selection keeps it
                    found[key] = listed._replace(status=None)
            if not result.value.has_next:
                return InvitationList(found.values(), rows)
            if len(found) == before:
                return _with_rows(unreadable_list(list_ref, f"page {number} has {_NO_NEW}."), rows)
        return _with_rows(
            unreadable_list(list_ref, f"The list has more than {PAGES_CAP} pages."), rows
        )

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        """Return the ids of all teams with access to a project; none if the project is gone.

        Returns ListUnreadable if the list may be incomplete.

        Raises:
            RunError: No access token is available.
        """
        team_ids: set[str] = set()
        for number in range(1, PAGES_CAP + 1):
            request = build_request(
                LIST_GROUP_TEAMS, project.id, scope_id=project.id, page=number, parse=_parse_teams
            )
            result = await self._transport.send(request)
            if isinstance(result, Response) and is_project_gone(result):
                return frozenset()
            if not (isinstance(result, Response) and isinstance(result.value, _TeamPage)):
                return ListUnreadable(project.id, project.name, f"{describe(result)}.")
            before = len(team_ids)
            team_ids.update(result.value.team_ids)
            if not result.value.has_next:
                return frozenset(team_ids)
            if len(team_ids) == before:
                return ListUnreadable(project.id, project.name, f"page {number} has {_NO_NEW}.")
        return ListUnreadable(project.id, project.name, f"it has more than {PAGES_CAP} pages.")

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Return the current status of an invited user (`resolve_status`).

        Raises:
            CredentialsRefused: By the access list or the token endpoint.
        """

        async def read_user(endpoint: Endpoint, scope_id: str) -> ResponseOrFailure:
            ids = (scope_id, invitation.id)
            request = build_request(endpoint, *ids, scope_id=scope_id, parse=parse_user)
            result = await self._transport.send(request)
            _check_credentials(result)
            return result

        return await resolve_status(read_user, invitation)

    async def rate_limits(
        self, *, project_id: str | None = None, org_id: str | None = None
    ) -> tuple[AdvertisedLimit, ...]:
        """Return the rate limits that Atlas publishes; empty if they cannot be read.

        With an id, the limits in force in that project or organization, else the default ones.

        Raises:
            CredentialsRefused: By the access list or the token endpoint.

        Source: `listRateLimits` of the OpenAPI document, 2025-03-12.
        """
        if project_id is not None or org_id is not None:
            endpoint = LIST_PROJECT_RATE_LIMITS if project_id else LIST_ORG_RATE_LIMITS
            target_id = project_id or org_id or ""
            request = build_request(
                endpoint, target_id, scope_id=self._actor, parse=_parse_advertised_limits
            )
        else:
            request = build_request(
                LIST_RATE_LIMITS, scope_id=self._actor, page=1, parse=_parse_advertised_limits
            )
        result = await self._transport.send(request)
        if isinstance(result, Response) and isinstance(result.value, _AdvertisedLimits):
            return result.value.items
        _check_credentials(result)
        return ()


def _with_rows(unread: ListUnreadable | ProjectGone, rows: int) -> ListUnreadable | ProjectGone:
    """Return the result with the number of rows that Atlas sent before the failure."""
    return replace(unread, rows=rows) if isinstance(unread, ListUnreadable) else unread


def _check_credentials(result: ResponseOrFailure) -> None:
    fatal_error = fatal_error_for(result)
    if isinstance(fatal_error, CredentialsRefused):
        raise fatal_error


def _list_request(api: SourceApi, project: Project, number: int) -> Request:
    return build_request(
        api.list,
        project.id,
        scope_id=project.id,
        page=number if api.list.paged else None,
        parse=lambda body: api.parse_list(body, project),
    )


def _identity(item: ListUnreadable) -> tuple[str, str]:
    """Return what distinguishes projects with a malformed id: id and name."""
    return item.project_id, item.project_name


def _parse_projects(body: bytes) -> _ProjectPage:
    page = parse_page(body)
    return _ProjectPage(tuple(map(parse_project, page.results)), page.has_next)


class _OrganizationPage(NamedTuple):
    names: Mapping[str, str]
    has_next: bool


def _parse_organizations(body: bytes) -> _OrganizationPage:
    page = parse_page(body)
    return _OrganizationPage(dict(map(parse_organization, page.results)), page.has_next)


def _parse_teams(body: bytes) -> _TeamPage:
    page = parse_page(body)
    return _TeamPage(tuple(map(parse_team_id, page.results)), page.has_next)


def _parse_advertised_limits(body: bytes) -> _AdvertisedLimits:
    found = map(parse_advertised_limit, parse_page(body).results)
    return _AdvertisedLimits(tuple(item for item in found if item is not None))


class _MemberPage(NamedTuple):
    statuses: tuple[tuple[str, str], ...]
    has_next: bool


class MemberReader:
    """Reads who is a member or invited already, so that no user is invited twice."""

    def __init__(self, transport: Transport, reader: AtlasReader) -> None:
        self._transport = transport
        self._reader = reader

    async def statuses(self, invitation: Invitation) -> Mapping[str, str] | ListUnreadable:
        """Return the `orgMembershipStatus` of all pending and active users of a target.

        The target is the invitation's project or organization. The keys are folded usernames
        (`casefold_visible`); the status is "" where Atlas sends none.
        Returns ListUnreadable if the list may be incomplete.

        Raises:
            RunError: The response stops the run: access list, API version, or credentials that
                Atlas has not accepted yet.

        Source:
            `listGroupUsers` of the OpenAPI document: users invited by `createGroupInvite` are
            only in the list of invitations, so for `invites` both lists are read.
        """
        if invitation.source.is_organization_level:
            return await self._list_statuses(LIST_ORG_MEMBERS, invitation.org_id, invitation)
        found = await self._list_statuses(LIST_GROUP_MEMBERS, invitation.project_id, invitation)
        if isinstance(found, ListUnreadable) or invitation.source is not Source.INVITES:
            return found
        project = Project(invitation.project_id, invitation.project_name, invitation.org_id)
        invited = await self._reader.invitations(project)
        if isinstance(invited, ProjectGone):
            return ListUnreadable(project.id, project.name, "The project no longer exists.", 404)
        if not isinstance(invited, tuple):
            return invited
        pending = {casefold_visible(each.username) for each in invited if each.username}
        return dict.fromkeys(pending, MembershipStatus.PENDING.value) | dict(found)

    async def _list_statuses(
        self, endpoint: Endpoint, scope_id: str, invitation: Invitation
    ) -> Mapping[str, str] | ListUnreadable:
        statuses: dict[str, str] = {}
        for number in range(1, PAGES_CAP + 1):
            page = await self._member_page(endpoint, scope_id, number, invitation)
            if isinstance(page, ListUnreadable):
                return page
            before = len(statuses)
            statuses.update((casefold_visible(name), status) for name, status in page.statuses)
            if not page.has_next:
                return statuses
            if len(statuses) == before:
                reason = f"Page {number} of the list of users has {_NO_NEW}."
                return ListUnreadable(scope_id, invitation.project_name, reason)
        reason = f"The list of users has more than {PAGES_CAP} pages."
        return ListUnreadable(scope_id, invitation.project_name, reason)

    async def _member_page(
        self, endpoint: Endpoint, scope_id: str, number: int, invitation: Invitation
    ) -> _MemberPage | ListUnreadable:
        def unreadable(
            reason: str, status: int | None = None, code: str | None = None
        ) -> ListUnreadable:
            return ListUnreadable(scope_id, invitation.project_name, reason, status, code)

        try:
            request = build_request(
                endpoint, scope_id, scope_id=scope_id, page=number, parse=_parse_members
            )
        except InvalidRequest:
            return unreadable("The id of the project or organization is malformed.")
        result = await self._transport.send(request)
        if isinstance(result, Response) and isinstance(result.value, _MemberPage):
            return result.value
        is_authenticated = self._transport.server.authenticated
        if fatal_error := fatal_error_for(result) or (
            None if is_authenticated else credentials_error(result)
        ):
            raise fatal_error
        description = describe(result)
        reason = f"{description[:1].upper()}{description[1:]}."
        if isinstance(result, Response):
            return unreadable(reason, result.status, parse_error(result).code)
        return unreadable(reason, result.http_status)


def _parse_members(body: bytes) -> _MemberPage:
    page = parse_page(body)
    statuses: list[tuple[str, str]] = []
    for user in page.results:
        name, status = user.get("username"), user.get("orgMembershipStatus")
        if not isinstance(name, str):
            message = "a user has no username"
            raise InvalidResponse(message)
        statuses.append((name, status if isinstance(status, str) else ""))
    return _MemberPage(tuple(statuses), page.has_next)

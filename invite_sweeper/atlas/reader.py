"""Projects, invitations, members, user status."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    LIST_GROUP_MEMBERS,
    LIST_GROUPS,
    LIST_ORG_MEMBERS,
    LIST_ORG_RATE_LIMITS,
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
    parse_page,
    parse_project,
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
    ListRef,
    ListUnreadable,
    MembershipStatus,
    Project,
    ProjectGone,
    Source,
    UserStatus,
)
from invite_sweeper.text import casefold_visible

# What has become of an invited user, once a deletion was sent or may have been.


ReadUser: TypeAlias = Callable[[Endpoint, str], Awaitable[ResponseOrFailure]]
"""Sends the reading of one user, below the id that is given, and reads a `Standing`."""

_NO_ACCESS_STATUSES: Final = frozenset({401, 403})


class StatusCheck(NamedTuple):
    """What was seen.

    Attributes:
        answer: The organization's.
    """

    user_status: UserStatus
    response: ResponseOrFailure


async def check_organization(
    read_user: ReadUser, invitation: Invitation, user_endpoint: Endpoint
) -> StatusCheck:
    """Read the person in the organization, and whether the membership is still there.

    The organization tells both: what the person has become, and the projects left. Where
    it may not be asked, the project is: it tells the one thing.

    Args:
        reading: How the source of the invitation reads one user.
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
    """Read the person in the project alone; who is not there may be anything elsewhere."""
    response = await read_user(user_endpoint, invitation.project_id)
    user = user_in(response, invitation)
    if user is not None:
        return UserStatus(user.status, still_member=True)
    gone = isinstance(response, Response) and is_already_gone(response)
    return UserStatus(None, still_member=False if gone else None)


async def resolve_status(
    read_user: ReadUser, invitation: Invitation
) -> UserStatus | ListUnreadable:
    """Give what has become of an invited user, whether a deletion was sent or not.

    Without a status where the organization may not be asked and the project shows nobody;
    `Unreadable` where another time may tell more.

    Args:
        invitation: Of a list in `inventory.USER_LISTS`.
    """
    user_endpoint = SOURCES[invitation.source].read_user
    assert user_endpoint is not None  # noqa: S101 - what can be accepted can be read
    (status, still_member), response = await check_organization(
        read_user, invitation, user_endpoint
    )
    if status is not None and still_member is None:
        # The organization knows the person, and told no projects.
        still_member = (await check_project(read_user, invitation, user_endpoint)).still_member
    is_refused = isinstance(response, Response) and response.status in _NO_ACCESS_STATUSES
    has_no_access = is_refused and not is_unauthenticated(response)
    if still_member is None or (status is None and not has_no_access):
        return _unreadable_user(invitation, response)
    return UserStatus(status, still_member)


def user_in(result: ResponseOrFailure, invitation: Invitation) -> UserRecord | None:
    """Give what an answer says of the invited user; None where it is of nobody, or another."""
    value = result.value if isinstance(result, Response) else None
    return value if isinstance(value, UserRecord) and value.id == invitation.id else None


def _unreadable_user(invitation: Invitation, response: ResponseOrFailure) -> ListUnreadable:
    description = describe(response)
    status = response.status if isinstance(response, Response) else response.http_status
    return ListUnreadable(
        invitation.project_id,
        invitation.project_name,
        f"{description[:1].upper()}{description[1:]} to the question what has become of the user.",
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


# Reads projects, their pending invitations, and the rate limits.


_NO_NEW: Final = "no new entry and names a next page, so the list may not be complete"
PAGES_CAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class _ProjectPage:
    items: tuple[Project | ListUnreadable, ...]
    has_next: bool


@dataclass(frozen=True, slots=True)
class _AdvertisedLimits:
    items: tuple[AdvertisedLimit, ...]


class AtlasReader:
    """Reads, and has nothing to delete with."""

    def __init__(self, transport: Transport, actor: str) -> None:
        self._transport = transport
        self._actor = actor

    async def projects(self) -> AsyncIterator[Project | ListUnreadable]:
        """Give each project that the credentials can see, once, page by page.

        In Atlas's order; `Unreadable` where an id has a wrong form. Pages are counted on our
        own address, up to the one without a next link, or without a new project.

        Raises:
            CredentialsRefused: 401, or 403, to its first page.
            AtlasUnavailable: It cannot be read to the end, or makes no sense. What was given
                so far is not all there is.

        Source: `listGroups` of the OpenAPI document; see `wire.parse_page` on its oddities.
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
        raise AtlasUnavailable(f"The list of projects goes on after {PAGES_CAP} pages.")

    async def _projects_page(self, number: int) -> _ProjectPage:
        request = build_request(
            LIST_GROUPS, scope_id=self._actor, page=number, parse=_parse_projects
        )
        result = await self._transport.send(request)
        if isinstance(result, Response) and isinstance(result.value, _ProjectPage):
            return result.value
        raise first_request_error(result) if number == 1 else listing_incomplete_error(result)

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> tuple[Invitation, ...] | ListUnreadable | ProjectGone:
        """Give all that one list holds, or nothing of it.

        In Atlas's order, each id once; empty when it holds nothing. `Gone` where the project
        is no more, `Retired` where Atlas serves the list no longer, `Unreadable` where it
        cannot be trusted to be whole.

        Args:
            project: For a list of an organization it stands for that, with its id.
            source: Which list.

        Raises:
            RunError: The answer was about the run: access list, version; or no token can be had.
        """
        api, list_ref = SOURCES[source], ListRef(project, source)
        found: dict[str | int, Invitation] = {}
        for number in range(1, PAGES_CAP + 1):
            result = await self._transport.send(_list_request(api, project, number))
            if not (isinstance(result, Response) and isinstance(result.value, ListPage)):
                return list_error(list_ref, result)
            before = len(found)
            for row in result.value.invitations:
                # Without an id it is nobody's double; selection keeps it.
                key = row.id or len(found)
                listed = found.setdefault(key, row)
                if listed.status != row.status:  # what the user is now is not known: kept
                    found[key] = listed._replace(status=None)
            if not result.value.has_next:
                return tuple(found.values())
            if len(found) == before:
                return unreadable_list(list_ref, f"page {number} has {_NO_NEW}.")
        return unreadable_list(list_ref, f"The list goes on after {PAGES_CAP} pages.")

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Give what has become of an invited user, as `aftermath.find_out` does.

        Raises:
            CredentialsRefused: The access list refuses them, or the token endpoint.
        """

        async def ask(operation: Endpoint, scope_id: str) -> ResponseOrFailure:
            ids = (scope_id, invitation.id)
            request = build_request(operation, *ids, scope_id=scope_id, parse=parse_user)
            result = await self._transport.send(request)
            _check_credentials(result)
            return result

        return await resolve_status(ask, invitation)

    async def rate_limits(
        self, *, project_id: str | None = None, org_id: str | None = None
    ) -> tuple[AdvertisedLimit, ...]:
        """Give the figures of Atlas's buckets; empty where it does not tell them.

        With the id of a project or an organization, those in force there; else the usual ones.

        Raises:
            CredentialsRefused: The access list refuses them, or the token endpoint.

        Source: `listAdvertisedLimits` of the OpenAPI document, 2025-03-12.
        """
        if project_id is not None or org_id is not None:
            endpoint = LIST_PROJECT_RATE_LIMITS if project_id else LIST_ORG_RATE_LIMITS
            asked_id = project_id or org_id or ""
            request = build_request(
                endpoint, asked_id, scope_id=self._actor, parse=_parse_advertised_limits
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
    """What tells a project without a right id from another: its name helps out."""
    return item.project_id, item.project_name


def _parse_projects(body: bytes) -> _ProjectPage:
    page = parse_page(body)
    return _ProjectPage(tuple(map(parse_project, page.results)), page.has_next)


def _parse_advertised_limits(body: bytes) -> _AdvertisedLimits:
    found = map(parse_advertised_limit, parse_page(body).results)
    return _AdvertisedLimits(tuple(item for item in found if item is not None))


# Reads who is invited or a member already, so that nobody is invited twice.


class _MemberPage(NamedTuple):
    usernames: tuple[str, ...]
    has_next: bool


class MemberReader:
    """Reads, and can neither invite nor delete."""

    def __init__(self, transport: Transport, reader: AtlasReader) -> None:
        self._transport = transport
        self._reader = reader

    async def usernames(self, invitation: Invitation) -> frozenset[str] | ListUnreadable:
        """Give the addresses of all who are pending or active where it invites to.

        Folded, as `matching.fold` does. `Unreadable` where not everybody is known.

        Raises:
            RunError: The answer was about the run: credentials (where it is the first good one
                that is missing), access list, version.

        Source:
            `listGroupUsers` of the OpenAPI document: people invited by the older call are in
            the older list alone, so a project is asked for both.
        """
        if invitation.source.is_organization_level:
            return await self._list_usernames(LIST_ORG_MEMBERS, invitation.org_id, invitation)
        found = await self._list_usernames(LIST_GROUP_MEMBERS, invitation.project_id, invitation)
        if isinstance(found, ListUnreadable) or invitation.source is not Source.INVITES:
            return found
        project = Project(invitation.project_id, invitation.project_name, invitation.org_id)
        invited = await self._reader.invitations(project)
        if isinstance(invited, ProjectGone):
            return ListUnreadable(project.id, project.name, "The project is no more.", 404)
        if not isinstance(invited, tuple):
            return invited
        return found | {casefold_visible(each.username) for each in invited if each.username}

    async def _list_usernames(
        self, endpoint: Endpoint, scope_id: str, invitation: Invitation
    ) -> frozenset[str] | ListUnreadable:
        usernames: set[str] = set()
        for number in range(1, PAGES_CAP + 1):
            page = await self._member_page(endpoint, scope_id, number, invitation)
            if isinstance(page, ListUnreadable):
                return page
            before = len(usernames)
            usernames.update(map(casefold_visible, page.usernames))
            if not page.has_next:
                return frozenset(usernames)
            if len(usernames) == before:
                reason = f"Page {number} of the list of users has {_NO_NEW}."
                return ListUnreadable(scope_id, invitation.project_name, reason)
        reason = f"The list of people goes on after {PAGES_CAP} pages."
        return ListUnreadable(scope_id, invitation.project_name, reason)

    async def _member_page(
        self, endpoint: Endpoint, scope_id: str, number: int, invitation: Invitation
    ) -> _MemberPage | ListUnreadable:
        def unreadable(
            why: str, status: int | None = None, code: str | None = None
        ) -> ListUnreadable:
            return ListUnreadable(scope_id, invitation.project_name, why, status, code)

        try:
            request = build_request(
                endpoint, scope_id, scope_id=scope_id, page=number, parse=_parse_members
            )
        except InvalidRequest:
            return unreadable("Its id has a wrong form.")
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
    usernames = [person.get("username") for person in page.results]
    known = tuple(name for name in usernames if isinstance(name, str))
    if len(known) != len(usernames):
        message = "a person without an address"
        raise InvalidResponse(message)
    return _MemberPage(known, page.has_next)

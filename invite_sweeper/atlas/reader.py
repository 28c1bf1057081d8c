"""Projects, invitations, members, user status."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.atlas.endpoints import (
    GET_ORG_USER,
    LIST_GROUP_PEOPLE,
    LIST_GROUPS,
    LIST_ORG_PEOPLE,
    LIST_ORG_RATE_LIMITS,
    LIST_PROJECT_RATE_LIMITS,
    LIST_RATE_LIMITS,
    Operation,
    Request,
    UnsendableError,
    request_for,
)
from invite_sweeper.atlas.parsing import (
    Nonsense,
    Standing,
    parse_page,
    parse_project,
    parse_rate_limit,
    parse_standing,
)
from invite_sweeper.atlas.rate_limits import AdvertisedLimit
from invite_sweeper.atlas.responses import (
    Answer,
    Result,
    breaks_off,
    ends_run,
    error_of,
    in_words,
    is_gone,
    is_plain_refusal,
    no_list,
    refuses_credentials,
    refuses_first_call,
    unreadable,
)
from invite_sweeper.atlas.sources import SOURCES, ListPage, SourceApi
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import (
    Aftermath,
    Gone,
    Invitation,
    MembershipStatus,
    Place,
    Project,
    Source,
    Unreadable,
)
from invite_sweeper.text import fold

# What has become of an invited user, once a deletion was sent or may have been.


Ask: TypeAlias = Callable[[Operation, str], Awaitable[Result]]
"""Sends the reading of one user, below the id that is given, and reads a `Standing`."""

_REFUSALS: Final = frozenset({401, 403})


class Look(NamedTuple):
    """What was seen.

    Attributes:
        answer: The organization's.
    """

    aftermath: Aftermath
    answer: Result


async def look_back(ask: Ask, invitation: Invitation, reading: Operation) -> Look:
    """Read the person in the organization, and whether the membership is still there.

    The organization tells both: what the person has become, and the projects left. Where
    it may not be asked, the project is: it tells the one thing.

    Args:
        reading: How the source of the invitation reads one user.
    """
    answer = await ask(GET_ORG_USER, invitation.org_id)
    standing = standing_in(answer, invitation)
    if standing is not None:
        return Look(_told(standing, invitation, reading), answer)
    if isinstance(answer, Answer) and is_gone(answer):
        return Look(Aftermath(MembershipStatus.GONE, there=False), answer)
    if reading is GET_ORG_USER:
        return Look(Aftermath(None, there=None), answer)
    return Look(await look_into_project(ask, invitation, reading), answer)


async def look_into_project(ask: Ask, invitation: Invitation, reading: Operation) -> Aftermath:
    """Read the person in the project alone; who is not there may be anything elsewhere."""
    answer = await ask(reading, invitation.project_id)
    standing = standing_in(answer, invitation)
    if standing is not None:
        return Aftermath(standing.status, there=True)
    gone = isinstance(answer, Answer) and is_gone(answer)
    return Aftermath(None, there=False if gone else None)


async def find_out(ask: Ask, invitation: Invitation) -> Aftermath | Unreadable:
    """Give what has become of an invited user, whether a deletion was sent or not.

    Without a status where the organization may not be asked and the project shows nobody;
    `Unreadable` where another time may tell more.

    Args:
        invitation: Of a list in `inventory.USER_LISTS`.
    """
    reading = SOURCES[invitation.source].read_user
    assert reading is not None  # noqa: S101 - what can be accepted can be read
    (status, there), answer = await look_back(ask, invitation, reading)
    if status is not None and there is None:
        # The organization knows the person, and told no projects.
        there = (await look_into_project(ask, invitation, reading)).there
    refused = isinstance(answer, Answer) and answer.status in _REFUSALS
    may_not_ask = refused and not is_plain_refusal(answer)
    if there is None or (status is None and not may_not_ask):
        return _unreadable(invitation, answer)
    return Aftermath(status, there)


def standing_in(result: Result, invitation: Invitation) -> Standing | None:
    """Give what an answer says of the invited user; None where it is of nobody, or another."""
    value = result.value if isinstance(result, Answer) else None
    return value if isinstance(value, Standing) and value.id == invitation.id else None


def _unreadable(invitation: Invitation, answer: Result) -> Unreadable:
    words = in_words(answer)
    status = answer.status if isinstance(answer, Answer) else answer.http_status
    return Unreadable(
        invitation.project_id,
        invitation.project_name,
        f"{words[:1].upper()}{words[1:]} to the question what has become of the user.",
        status,
        error_of(answer).code if isinstance(answer, Answer) else None,
        invitation.source,
    )


def _told(standing: Standing, invitation: Invitation, reading: Operation) -> Aftermath:
    if reading is GET_ORG_USER:
        return Aftermath(standing.status, there=True)
    projects = standing.projects
    there = None if projects is None else invitation.project_id in projects
    return Aftermath(standing.status, there)


# Reads projects, their pending invitations, and the rate limits.


PAGES_CAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Projects:
    items: tuple[Project | Unreadable, ...]
    has_next: bool


@dataclass(frozen=True, slots=True)
class _RateLimits:
    items: tuple[AdvertisedLimit, ...]


class AtlasReader:
    """Reads, and has nothing to delete with."""

    def __init__(self, transport: Transport, actor: str) -> None:
        self._transport = transport
        self._actor = actor

    async def projects(self) -> AsyncIterator[Project | Unreadable]:
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
            fresh = 0
            for item in page.items:
                known = (item.id, "") if isinstance(item, Project) else _known(item)
                if known not in seen:
                    seen.add(known)
                    fresh += 1
                    yield item
            if page.has_next and not fresh:
                self._transport.server.warnings.append(
                    f"The list of projects repeats itself from page {number} on, so there may be "
                    "projects that were not seen."
                )
            if not page.has_next or not fresh:
                return
        raise AtlasUnavailable(f"The list of projects goes on after {PAGES_CAP} pages.")

    async def _projects_page(self, number: int) -> _Projects:
        request = request_for(LIST_GROUPS, scope_id=self._actor, page=number, read=_read_projects)
        result = await self._transport.call(request)
        if isinstance(result, Answer) and isinstance(result.value, _Projects):
            return result.value
        raise refuses_first_call(result) if number == 1 else breaks_off(result)

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> tuple[Invitation, ...] | Unreadable | Gone:
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
        api, place = SOURCES[source], Place(project, source)
        found: dict[str | int, Invitation] = {}
        for number in range(1, PAGES_CAP + 1):
            result = await self._transport.call(_listing(api, project, number))
            if not (isinstance(result, Answer) and isinstance(result.value, ListPage)):
                return no_list(place, result)
            before = len(found)
            for row in result.value.invitations:
                # Without an id it is nobody's double; selection keeps it.
                found.setdefault(row.id or len(found), row)
            if not result.value.has_next or len(found) == before:
                return tuple(found.values())
        return unreadable(place, f"The list goes on after {PAGES_CAP} pages.")

    async def aftermath(self, invitation: Invitation) -> Aftermath | Unreadable:
        """Give what has become of an invited user, as `aftermath.find_out` does.

        Raises:
            CredentialsRefused: The access list refuses them, or the token endpoint.
        """

        async def ask(operation: Operation, scope_id: str) -> Result:
            ids = (scope_id, invitation.id)
            request = request_for(operation, *ids, scope_id=scope_id, read=parse_standing)
            result = await self._transport.call(request)
            _raise_if_refused(result)
            return result

        return await find_out(ask, invitation)

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
            operation = LIST_PROJECT_RATE_LIMITS if project_id else LIST_ORG_RATE_LIMITS
            asked = project_id or org_id or ""
            request = request_for(operation, asked, scope_id=self._actor, read=_read_rate_limits)
        else:
            request = request_for(
                LIST_RATE_LIMITS, scope_id=self._actor, page=1, read=_read_rate_limits
            )
        result = await self._transport.call(request)
        if isinstance(result, Answer) and isinstance(result.value, _RateLimits):
            return result.value.items
        _raise_if_refused(result)
        return ()


def _raise_if_refused(result: Result) -> None:
    about_run = ends_run(result)
    if isinstance(about_run, CredentialsRefused):
        raise about_run


def _listing(api: SourceApi, project: Project, number: int) -> Request:
    return request_for(
        api.list,
        project.id,
        scope_id=project.id,
        page=number if api.list.paged else None,
        read=lambda body: api.parse_list(body, project),
    )


def _known(item: Unreadable) -> tuple[str, str]:
    """What tells a project without a right id from another: its name helps out."""
    return item.project_id, item.project_name


def _read_projects(body: bytes) -> _Projects:
    page = parse_page(body)
    return _Projects(tuple(map(parse_project, page.results)), page.has_next)


def _read_rate_limits(body: bytes) -> _RateLimits:
    found = map(parse_rate_limit, parse_page(body).results)
    return _RateLimits(tuple(item for item in found if item is not None))


# Reads who is invited or a member already, so that nobody is invited twice.


class _People(NamedTuple):
    names: tuple[str, ...]
    has_next: bool


class AtlasRoll:
    """Reads, and can neither invite nor delete."""

    def __init__(self, transport: Transport, reader: AtlasReader) -> None:
        self._transport = transport
        self._reader = reader

    async def present(self, invitation: Invitation) -> frozenset[str] | Unreadable:
        """Give the addresses of all who are pending or active where it invites to.

        Folded, as `matching.fold` does. `Unreadable` where not everybody is known.

        Raises:
            RunError: The answer was about the run: credentials (where it is the first good one
                that is missing), access list, version.

        Source:
            `listGroupUsers` of the OpenAPI document: people invited by the older call are in
            the older list alone, so a project is asked for both.
        """
        if invitation.source.of_organization:
            return await self._people(LIST_ORG_PEOPLE, invitation.org_id, invitation)
        found = await self._people(LIST_GROUP_PEOPLE, invitation.project_id, invitation)
        if isinstance(found, Unreadable) or invitation.source is not Source.INVITES:
            return found
        project = Project(invitation.project_id, invitation.project_name, invitation.org_id)
        invited = await self._reader.invitations(project)
        if isinstance(invited, Gone):
            return Unreadable(project.id, project.name, "The project is no more.", 404)
        if not isinstance(invited, tuple):
            return invited
        return found | {fold(each.username) for each in invited if each.username}

    async def _people(
        self, operation: Operation, scope_id: str, invitation: Invitation
    ) -> frozenset[str] | Unreadable:
        names: set[str] = set()
        for number in range(1, PAGES_CAP + 1):
            page = await self._page(operation, scope_id, number, invitation)
            if isinstance(page, Unreadable):
                return page
            before = len(names)
            names.update(map(fold, page.names))
            if not page.has_next or len(names) == before:
                return frozenset(names)
        why = f"The list of people goes on after {PAGES_CAP} pages."
        return Unreadable(scope_id, invitation.project_name, why)

    async def _page(
        self, operation: Operation, scope_id: str, number: int, invitation: Invitation
    ) -> _People | Unreadable:
        def unreadable(why: str, status: int | None = None, code: str | None = None) -> Unreadable:
            return Unreadable(scope_id, invitation.project_name, why, status, code)

        try:
            request = request_for(
                operation, scope_id, scope_id=scope_id, page=number, read=_read_people
            )
        except UnsendableError:
            return unreadable("Its id has a wrong form.")
        result = await self._transport.call(request)
        if isinstance(result, Answer) and isinstance(result.value, _People):
            return result.value
        taken = self._transport.server.authenticated
        if about_run := ends_run(result) or (None if taken else refuses_credentials(result)):
            raise about_run
        words = in_words(result)
        told = f"{words[:1].upper()}{words[1:]}."
        if isinstance(result, Answer):
            return unreadable(told, result.status, error_of(result).code)
        return unreadable(told, result.http_status)


def _read_people(body: bytes) -> _People:
    page = parse_page(body)
    names = [person.get("username") for person in page.results]
    known = tuple(name for name in names if isinstance(name, str))
    if len(known) != len(names):
        message = "a person without an address"
        raise Nonsense(message)
    return _People(known, page.has_next)

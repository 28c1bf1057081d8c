"""Reads projects, their pending invitations, and the rate limits."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from invite_sweeper.atlas.aftermath import find_out
from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.limits import RateLimit
from invite_sweeper.atlas.listing_verdicts import no_list, unreadable
from invite_sweeper.atlas.operations import (
    LIST_GROUPS,
    LIST_ORG_RATE_LIMITS,
    LIST_PROJECT_RATE_LIMITS,
    LIST_RATE_LIMITS,
    Operation,
)
from invite_sweeper.atlas.people import parse_standing
from invite_sweeper.atlas.request import Request, request_for
from invite_sweeper.atlas.sources import SOURCES, ListPage, SourceApi
from invite_sweeper.atlas.told_limits import parse_rate_limit
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.atlas.verdicts import breaks_off, ends_run, refuses_first_call
from invite_sweeper.atlas.wire import parse_page, parse_project
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.inventory import Gone, Invitation, Place, Project, Source, Unreadable
from invite_sweeper.outcome import Aftermath

PAGES_CAP: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Projects:
    items: tuple[Project | Unreadable, ...]
    has_next: bool


@dataclass(frozen=True, slots=True)
class _RateLimits:
    items: tuple[RateLimit, ...]


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
    ) -> tuple[RateLimit, ...]:
        """Give the figures of Atlas's buckets; empty where it does not tell them.

        With the id of a project or an organization, those in force there; else the usual ones.

        Raises:
            CredentialsRefused: The access list refuses them, or the token endpoint.

        Source: `listRateLimits` of the OpenAPI document, 2025-03-12.
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

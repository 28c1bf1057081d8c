"""Read projects, pending invitations, members, and the status of one user.

Nothing here can delete or invite.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar, cast

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import (
    GET_SERVICE_ACCOUNT,
    LIST_GROUP_TEAMS,
    LIST_GROUPS,
    LIST_ORG_ACTIVE_MEMBERS,
    LIST_ORG_EVENTS,
    LIST_ORGS,
    Endpoint,
    InvalidRequest,
)
from invite_sweeper.atlas.lists import SOURCES, Listing, read_list
from invite_sweeper.atlas.parsing import (
    OrgEvent,
    parse_array,
    parse_event,
    parse_member,
    parse_organization,
    parse_page,
    parse_project,
    parse_secret_expiries,
    parse_team_id,
    parse_user,
)
from invite_sweeper.atlas.responses import (
    Response,
    ResponseOrFailure,
    describe,
    fatal_error_for,
    is_project_gone,
    lacks_permission,
    list_error,
    run_list_error,
    status_and_code,
)
from invite_sweeper.atlas.user_status import resolve_status
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import (
    Invitation,
    InvitationList,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    UserStatus,
)

T = TypeVar("T")
_CLIENT_ID_PREFIX: Final = "mdb_sa_id_"
_OK: Final = 200
_MAX_READINGS: Final = 3


class AtlasReader:
    """Reads projects, invitations and user status."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def projects(self, *, stable: bool = False) -> tuple[Project | ListUnreadable, ...]:
        """Return each project that the credentials can see, once and in Atlas's order.

        A project with a malformed id, or listed twice with different facts, is a ListUnreadable.

        Args:
            stable: Read a list of several pages until two readings have the same projects: one
                that is added, renamed or deleted between two pages can hide another one. After
                three different readings, a ListUnreadable is added.

        Raises:
            CredentialsRefused: The first page returned 401 or 403.
            AtlasUnavailable: The list could not be read to the end, or is invalid.

        Source: `listGroups` of the OpenAPI document; see `parsing.parse_page` on its oddities.
        """
        listing = await self._list_projects()
        projects = _each_once(listing.rows)
        if not stable or listing.pages == 1:
            return projects
        for _ in range(_MAX_READINGS - 1):
            again = _each_once((await self._list_projects()).rows)
            if set(map(_project_key, again)) == set(map(_project_key, projects)):
                return projects
            projects = again
        reason = f"The list of projects changed during each of {_MAX_READINGS} readings."
        return (*projects, ListUnreadable("", "", reason))

    async def _list_projects(self) -> Listing[Project | ListUnreadable]:
        listing = await read_list(
            self._client,
            LIST_GROUPS,
            parse=lambda body: parse_page(body, parse_project),
            key=_project_key,
        )
        if listing.failure is not None:
            raise run_list_error("projects", listing.failure, is_first=listing.pages == 0)
        return listing

    async def organizations(self) -> Mapping[str, str]:
        """Return the names of the organizations that the credentials can see, by id.

        Raises:
            CredentialsRefused: The first page returned 401 or 403.
            AtlasUnavailable: The list could not be read to the end.

        Source: `listOrgs` of the OpenAPI document.
        """
        listing = await read_list(
            self._client,
            LIST_ORGS,
            parse=lambda body: parse_page(body, parse_organization),
            key=lambda row: row[0],
        )
        if listing.failure is not None:
            raise run_list_error("organizations", listing.failure, is_first=listing.pages == 0)
        return dict(listing.rows)

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
        api = SOURCES[source]
        parse = parse_page if api.list.paged else parse_array
        listing = await read_list(
            self._client,
            api.list,
            project.id,
            parse=lambda body: parse(body, lambda item: api.parse_row(item, project)),
            key=lambda row: row.id or object(),
        )
        if listing.failure is not None:
            unread = list_error(ListRef(project, source), listing.failure, source.roles[0])
            if isinstance(unread, ProjectGone):
                return unread
            return replace(unread, rows=len(listing.rows))
        found: dict[str | int, Invitation] = {}
        for row in listing.rows:
            # Rows without an id are never duplicates; selection keeps them.
            key = row.id or len(found)
            listed = found.setdefault(key, row)
            if listed != row:  # which of the rows holds is unknown: selection keeps it
                found[key] = listed._replace(status=None)
        return InvitationList(found.values(), len(listing.rows))

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        """Return the ids of all teams with access to a project; none if the project is gone.

        Returns ListUnreadable if the list may be incomplete.

        Raises:
            RunError: No access token is available.
        """
        listing = await read_list(
            self._client,
            LIST_GROUP_TEAMS,
            project.id,
            parse=lambda body: parse_page(body, parse_team_id),
            key=lambda team_id: team_id,
        )
        if isinstance(listing.failure, Response) and is_project_gone(listing.failure):
            return frozenset()
        if listing.failure is not None:
            return ListUnreadable(project.id, project.name, f"{describe(listing.failure)}.")
        return frozenset(listing.rows)

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Return the current status of an invited user (`resolve_status`).

        Raises:
            CredentialsRefused: By the access list or the token endpoint.
        """

        async def read_user(endpoint: Endpoint, scope_id: str) -> ResponseOrFailure:
            result = await self._client.call(endpoint, scope_id, invitation.id, parse=parse_user)
            _check_credentials(result)
            return result

        return await resolve_status(read_user, invitation)

    async def active_members(self, org_id: str) -> frozenset[str] | ListUnreadable:
        """Return the folded usernames (`casefold_visible`) of all active members.

        Returns ListUnreadable if the list may be incomplete, as where a member has no name.

        Raises:
            RunError: No access token is available.

        Source: `listOrgUsers` of the OpenAPI document, 2025-02-19; requires Organization Member.
        """
        listing = await read_list(
            self._client,
            LIST_ORG_ACTIVE_MEMBERS,
            org_id,
            parse=lambda body: parse_page(body, parse_member),
            key=lambda row: row[0],
        )
        if listing.failure is not None:
            return _unread(org_id, listing.failure, "Organization Member")
        return frozenset(name for name, _ in listing.rows)

    async def invitation_events(
        self, org_id: str, since: datetime
    ) -> tuple[OrgEvent, ...] | ListUnreadable:
        """Return who was invited to an organization and who joined it, by Atlas's own account.

        Deletions with an API key are not in that account (recordings, read 2026-11).

        Raises:
            RunError: No access token is available.
        """
        listing = await read_list(
            self._client,
            LIST_ORG_EVENTS,
            org_id,
            parse=lambda body: parse_page(body, parse_event),
            key=lambda row: row,
            since=since,
        )
        if listing.failure is not None:
            return _unread(org_id, listing.failure, "Organization Member")
        return tuple(dict.fromkeys(listing.rows))

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...] | ListUnreadable:
        """Return when the secrets of this run's service account expire, the first one first.

        There are at most two; an expired one stays. Empty for other credentials.

        Raises:
            RunError: No access token is available.
        """
        if not self._client.actor.startswith(_CLIENT_ID_PREFIX):
            return ()
        return await self._read_one(
            GET_SERVICE_ACCOUNT,
            org_id,
            self._client.actor.removeprefix(_CLIENT_ID_PREFIX),
            org_id=org_id,
            parse=parse_secret_expiries,
            role="Organization Read Only",
        )

    async def _read_one(
        self,
        endpoint: Endpoint,
        *ids: str,
        org_id: str,
        parse: Callable[[bytes], T],
        role: str,
    ) -> T | ListUnreadable:
        """Read one object of an organization; `role` is named if Atlas refuses it."""
        try:
            result = await self._client.call(endpoint, *ids, parse=parse)
        except InvalidRequest:
            return ListUnreadable(org_id, "", "An id is malformed.", org_id=org_id)
        if isinstance(result, Response) and result.status == _OK:
            return cast("T", result.value)
        return _unread(org_id, result, role)


def _unread(org_id: str, failure: ResponseOrFailure, role: str) -> ListUnreadable:
    """Return why something of an organization is not known; the run goes on without it."""
    required = f"; this requires the role {role}" if lacks_permission(failure) else ""
    reason = f"{describe(failure)}{required}."
    reason = f"{reason[:1].upper()}{reason[1:]}"
    return ListUnreadable(org_id, "", reason, *status_and_code(failure), org_id=org_id)


def _project_key(listed: Project | ListUnreadable) -> tuple[str, str]:
    """Return what identifies a listed project: a malformed id needs the name as well."""
    return (
        (listed.id, "") if isinstance(listed, Project) else (listed.project_id, listed.project_name)
    )


def _each_once(rows: Iterable[Project | ListUnreadable]) -> tuple[Project | ListUnreadable, ...]:
    found: dict[tuple[str, str], Project | ListUnreadable] = {}
    for row in rows:
        listed = found.setdefault(_project_key(row), row)
        if listed != row and isinstance(row, Project):
            reason = "Atlas listed the project twice, with different facts."
            found[_project_key(row)] = ListUnreadable(row.id, row.name, reason)
    return tuple(found.values())


def _check_credentials(result: ResponseOrFailure) -> None:
    fatal_error = fatal_error_for(result)
    if isinstance(fatal_error, CredentialsRefused):
        raise fatal_error

"""Read projects, pending invitations, members, and the status of one user.

Nothing here can delete or invite.
"""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.http import Request
from invite_sweeper.atlas.lists import Listing, read_list
from invite_sweeper.atlas.responses import (
    ListChanged,
    ListIncomplete,
    Response,
    ResponseOrFailure,
    UnexpectedContent,
    fatal_error_for,
    is_already_gone,
)
from invite_sweeper.atlas.rows import (
    ApiKeyRow,
    AtlasObject,
    AtlasRow,
    InvitedRow,
    MemberRow,
    OrganizationRow,
    ProjectRow,
    TeamRow,
    parse_object,
)
from invite_sweeper.atlas.unreadable import list_error, read_error, run_list_error
from invite_sweeper.models import (
    Invitation,
    Invitations,
    ListUnreadable,
    MembershipStatus,
    Project,
    ProjectGone,
    Source,
)
from invite_sweeper.names import casefold_visible, is_atlas_id

Named = TypeVar("Named", ProjectRow, OrganizationRow)
"""A row of a list that the credentials alone select; each has an id and a name."""
_CLIENT_ID_PREFIX: Final = "mdb_sa_id_"
_ORG_MEMBER: Final = "Organization Member"


class AtlasReader:
    """Reads projects, invitations and user status.

    What may be incomplete is returned as ListUnreadable, and does not end the run. Each method
    raises RunError if it cannot get an access token.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def projects(self) -> tuple[Project | ListUnreadable, ...]:
        """Return each project that the credentials can see, once and in Atlas's order.

        A project with a malformed id is a ListUnreadable. Another one is added where the list
        changed in each reading: a project that it did not show may exist.

        Raises:
            CredentialsRefused: The first page returned 401 or 403.
            AtlasUnavailable: The list could not be read to the end, or is invalid.
        """
        listing = await self._read_visible("projects", endpoints.LIST_GROUPS, ProjectRow)
        projects = tuple(row.project() for row in listing.rows)
        if listing.failure is not None:
            reason = "The list of projects changed while it was read."
            return (*projects, ListUnreadable("", "", reason))
        return projects

    async def organizations(self) -> Mapping[str, str]:
        """Return the names of the organizations that the credentials can see, by id.

        Raises as `projects`.
        """
        listing = await self._read_visible("organizations", endpoints.LIST_ORGS, OrganizationRow)
        return {row.id: row.name for row in listing.rows}

    async def _read_visible(
        self, what: str, endpoint: Endpoint, row: type[Named]
    ) -> Listing[Named]:
        """Return the list of all that the credentials can see; its failure is ListChanged or None.

        Raises as `projects`.

        Args:
            what: What it lists, in the plural.
        """
        listing = await read_list(
            self._client, endpoint, row=row, make=_itself, key=lambda entry: entry.id or entry.name
        )
        failure = listing.failure
        if failure is not None and not isinstance(failure, ListChanged):
            raise run_list_error(what, failure, is_first=listing.pages == 0)
        return listing

    async def invitations(
        self, project: Project, source: Source = Source.INVITES
    ) -> Invitations | ListUnreadable | ProjectGone:
        """Return a complete list, in Atlas's order and each id once.

        Returns ProjectGone if the project no longer exists, and SourceRetired if Atlas no longer
        serves the list.

        Args:
            project: For a list of an organization, a `Project` with the organization's id.
            source: Which list.

        Raises:
            RunError: The response stops the run (access list, API version).
        """
        listing = await read_list(
            self._client,
            endpoints.SOURCES[source].list,
            project.id,
            row=InvitedRow,
            make=lambda row: row.invitation(project, source),
            # Without an id, all that the entry shows; selection keeps it.
            key=lambda entry: entry.invitation_id or entry,
        )
        if listing.failure is not None:
            return list_error(project, source, listing.failure)
        return listing.rows

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        """Return the ids of all teams with access to a project.

        Also a project that seems to be gone is ListUnreadable: that a 404 is right is known later.
        """
        rows = await self._read_rows(
            endpoints.LIST_GROUP_TEAMS, project, TeamRow, lambda row: row.team_id
        )
        if isinstance(rows, ListUnreadable):
            return rows
        return frozenset(row.team_id for row in rows)

    async def active_members(self, org_id: str) -> frozenset[str] | ListUnreadable:
        """Return the folded usernames (`casefold_visible`) of all active members.

        A member without a name makes the list incomplete, and so does a user who is not active: a
        cache that ignores the query sends the answer to another one. Two readings in a row must
        show the same, also of a list of one page.
        """
        place = Project.of_organization(org_id)
        listing = await self._read_members(endpoints.LIST_ORG_ACTIVE_MEMBERS, org_id, twice=True)
        if listing.failure is not None:
            return read_error(place, listing.failure, _ORG_MEMBER)
        if not all(row.is_active for row in listing.rows):
            return read_error(place, ListIncomplete("the list shows people who are not active"))
        return frozenset(row.username for row in listing.rows)

    async def is_active_member(self, org_id: str, username: str) -> bool | ListUnreadable:
        """Return whether an active member has this name, by a request for the name.

        An answer that shows another user, or one who is not active, proves nothing. Nor does one
        that shows no user and counts some.
        """
        place = Project.of_organization(org_id)
        listing = await self._read_members(
            endpoints.FIND_ORG_ACTIVE_MEMBER, org_id, username=username
        )
        if listing.failure is not None:
            return read_error(place, listing.failure, _ORG_MEMBER)
        requested_name = casefold_visible(username)
        for row in listing.rows:
            if row.username != requested_name or not row.is_active:
                others = ListIncomplete("the answer is about other people than asked for")
                return read_error(place, others)
        if listing.counted and not listing.rows:
            hidden = ListIncomplete("the answer counts people whom it does not show")
            return read_error(place, hidden)
        return bool(listing.rows)

    async def people(self, place: Project, source: Source) -> Invitations | ListUnreadable:
        """Return who is in a list, of a list of users active members, too, with their roles.

        Read before a re-invitation, so that no user is invited twice. A user without a name makes
        the list unreadable.

        Args:
            place: As in `invitations`.

        Raises:
            RunError: The response stops the run: access list, API version, or credentials that
                Atlas has not accepted yet.
        """
        if source.stands_for_itself:
            invited = await self.invitations(place, source)
            if isinstance(invited, ProjectGone):
                return ListUnreadable(place.id, place.name, "The project no longer exists.", 404)
            return invited

        def named(row: InvitedRow) -> Invitation:
            person = row.invitation(place, source)
            if person.username is None:
                raise UnexpectedContent("the user has no username")
            return person

        listing = await read_list(
            self._client,
            endpoints.LIST_ORG_PEOPLE
            if source is Source.ORG_USERS
            else endpoints.LIST_GROUP_PEOPLE,
            place.id,
            row=InvitedRow,
            make=named,
            key=lambda user: user.invitation_id or user,
        )
        if listing.failure is not None:
            if fatal_error := fatal_error_for(listing.failure):
                raise fatal_error
            return read_error(place, listing.failure)
        return listing.rows

    async def _read_members(
        self,
        endpoint: Endpoint,
        place_id: str,
        *,
        username: str | None = None,
        twice: bool = False,
    ) -> Listing[MemberRow]:
        """Return the users of a project or organization that a list of members shows."""
        return await read_list(
            self._client,
            endpoint,
            place_id,
            row=MemberRow,
            make=_itself,
            key=lambda row: row.username,
            username=username,
            twice=twice,
        )

    async def api_key_names(self, org_id: str) -> Mapping[str, str] | ListUnreadable:
        """Return the descriptions of an organization's API keys, by public key."""
        rows = await self._read_rows(
            endpoints.LIST_ORG_API_KEYS,
            Project.of_organization(org_id),
            ApiKeyRow,
            lambda row: row.public_key,
        )
        if isinstance(rows, ListUnreadable):
            return rows
        return {row.public_key: row.desc for row in rows if row.desc}

    async def _read_rows(
        self,
        endpoint: Endpoint,
        place: Project,
        row: type[AtlasRow],
        key: Callable[[AtlasRow], Hashable],
    ) -> tuple[AtlasRow, ...] | ListUnreadable:
        """Return the rows of a list of an organization or project, each once."""
        listing = await read_list(self._client, endpoint, place.id, row=row, make=_itself, key=key)
        if listing.failure is not None:
            role = _ORG_MEMBER if place.id == place.org_id else ""
            return read_error(place, listing.failure, role)
        return listing.rows

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...] | ListUnreadable:
        """Return when the secrets of this run's service account expire, the first one first.

        There are at most two; an expired one stays. Empty for other credentials.
        """
        account_id = self._client.actor.removeprefix(_CLIENT_ID_PREFIX)
        if not is_atlas_id(account_id):
            return ()
        result = await self._client.call(
            self._client.request(
                endpoints.GET_SERVICE_ACCOUNT, org_id, account_id, parse=_parse_expiries
            )
        )
        if isinstance(result, Response) and isinstance(result.value, tuple):
            return result.value
        return read_error(Project.of_organization(org_id), result, "Organization Read Only")


def user_request(client: Client, source: Source, place: Project, user_id: str) -> Request:
    """Return a request for one user, parsed as a row of the list."""
    endpoint = endpoints.GET_ORG_USER if source is Source.ORG_USERS else endpoints.GET_GROUP_USER

    def parse(body: bytes) -> Invitation:
        return parse_object(body, InvitedRow).invitation(place, source)

    return client.request(endpoint, place.id, user_id, parse=parse)


def user_in(result: ResponseOrFailure, listed: Invitation) -> Invitation | None:
    """Return the user from a response to `user_request`; None if it has none or another one."""
    user = result.value if isinstance(result, Response) else None
    if isinstance(user, Invitation) and user.invitation_id == listed.invitation_id:
        return user
    return None


def status_in(result: ResponseOrFailure, listed: Invitation) -> str | None:
    """Return the status of a user who was read; None if it is unknown."""
    user = user_in(result, listed)
    if user is not None:
        return user.status
    return MembershipStatus.GONE.value if is_already_gone(result) else None


def _itself(row: AtlasRow) -> AtlasRow:
    """Return the row of a list whose entries are its rows."""
    return row


class _SecretDates(AtlasObject):
    expires_at: Annotated[datetime, Meta(tz=True)]


class _ServiceAccount(AtlasObject):
    """`OrgServiceAccount` of the OpenAPI document, 2024-08-05."""

    secrets: tuple[_SecretDates, ...]


def _parse_expiries(body: bytes) -> tuple[datetime, ...]:
    """Return when the secrets of a service account expire, the first one first."""
    account = parse_object(body, _ServiceAccount)
    return tuple(sorted(secret.expires_at for secret in account.secrets))

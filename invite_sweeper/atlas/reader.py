"""Read projects, pending invitations, members, and the status of one user.

What concerns one list is a value, and the run goes on without it: nothing is deleted there. What
concerns the run is an error. Nothing here can delete or invite.
"""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from http.client import FORBIDDEN, GONE, NOT_FOUND, UNAUTHORIZED
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.http import Request
from invite_sweeper.atlas.lists import (
    AtlasObject,
    AtlasRow,
    InvitedRow,
    Listing,
    MemberRow,
    NonEmptyText,
    ProjectRow,
    RowId,
    parse_object,
    read_list,
)
from invite_sweeper.atlas.responses import (
    ACCESS_LIST_HINT,
    GROUP_GONE_CODE,
    NETWORK_HINT,
    ContentInvalid,
    ListChanged,
    ListIncomplete,
    Response,
    ResponseOrFailure,
    UnexpectedContent,
    connection_hint,
    describe,
    fatal_error_for,
    is_not_found,
    is_project_gone,
    is_unauthenticated,
    lacks_permission,
)
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused, RunError
from invite_sweeper.models import (
    Invitation,
    Invitations,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.text import casefold_visible, is_atlas_id, upper_first


class OrganizationRow(AtlasObject):
    """A result of `GET /orgs`."""

    id: RowId
    name: NonEmptyText


class TeamRow(AtlasObject):
    """A result of `GET /groups/{groupId}/teams`: a team with access (`TeamRole`, 2023-01-01)."""

    team_id: RowId


class ApiKeyRow(AtlasObject):
    """An API key: `ApiKeyUserDetails` of the OpenAPI document; `desc` has up to 250 characters."""

    public_key: NonEmptyText
    desc: str | None = None


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
    return MembershipStatus.GONE.value if is_not_found(result) else None


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


_ROLE_HINT: Final = (
    "Grant the credentials a role in the organization and in its projects; "
    "`invite-sweeper help credentials` lists the role that each source requires."
)
_KEY_HINT: Final = "Check the credentials and their expiry date."
_TRY_AGAIN_HINT: Final = (
    "Run the command again. If the list still cannot be read to its end, report it to MongoDB "
    "support."
)
_REFUSED: Final = frozenset({UNAUTHORIZED, FORBIDDEN})


def run_list_error(what: str, result: ResponseOrFailure, *, is_first: bool) -> RunError:
    """Return why a list that the run needs could not be read.

    Args:
        what: What it lists, in the plural.
        is_first: It is the first page, which the first request of a run reads.
    """
    if fatal_error := fatal_error_for(result):
        return fatal_error
    # Atlas has accepted the credentials by the second page: a refusal is then one of this page.
    if is_first and isinstance(result, Response) and result.status in _REFUSED:
        return _refused_credentials(what, result)
    return AtlasUnavailable(
        f"The list of {what} could not be read to the end: {describe(result)}.",
        hint=connection_hint(result) or _TRY_AGAIN_HINT,
    )


def _refused_credentials(what: str, response: Response) -> CredentialsRefused:
    """Return the error for a 401 or 403 to the first request of a run."""
    if is_unauthenticated(response):
        return CredentialsRefused("Atlas refused the credentials (401).", hint=_KEY_HINT)
    hint = _ROLE_HINT if lacks_permission(response) else NETWORK_HINT
    # Without a code it may also be about the access list.
    if response.status == FORBIDDEN and response.code is None:
        hint = f"{hint} {ACCESS_LIST_HINT}"
    message = f"The list of {what} could not be read: {describe(response)}."
    return CredentialsRefused(message, hint=hint)


def list_error(
    project: Project, source: Source, result: ResponseOrFailure
) -> ListUnreadable | ProjectGone:
    """Return why a list was not read; a retired list is a SourceRetired.

    Raises:
        RunError: The result stops the run (`fatal_error_for`).
    """
    # First, because of a list a 410 does not stop the run.
    if isinstance(result, Response) and result.status == GONE:
        return SourceRetired(
            reason=f"Atlas no longer serves the list {source} ({GONE}).",
            http_status=GONE,
            error_code=result.code,
            source=source,
            org_id=project.org_id,
        )
    if fatal_error := fatal_error_for(result):
        raise fatal_error
    if is_project_gone(result) and not source.is_organization_level:
        return ProjectGone(project.id)
    what = f"The list {source}: "
    unreadable = read_error(project, result, source.roles.listing, what=what)
    reason = unreadable.reason
    if isinstance(result, ContentInvalid) and result.of_entry:
        remedy = "exclude the project"
        if source.is_organization_level:
            remedy = f"remove {source} from sources"
        reason = f"{reason} To go on, end that invitation in Atlas by hand, or {remedy}."
    return msgspec.structs.replace(unreadable, reason=reason, source=source)


def contradicted_404(ref: ListRef) -> ListUnreadable:
    """Return why a list is unreadable that answered 404 although another one shows its project.

    Such a 404 does not prove that the list is empty.
    """
    project, source = ref
    reason = (
        f"Atlas answered {NOT_FOUND:d} to the list {source}, as if there were no such project, but "
        "still shows the project in another list."
    )
    return ListUnreadable(
        project.id,
        project.name,
        reason,
        http_status=NOT_FOUND,
        error_code=GROUP_GONE_CODE,
        source=source,
        org_id=project.org_id,
    )


def read_error(
    project: Project, result: ResponseOrFailure, role: str = "", *, what: str = ""
) -> ListUnreadable:
    """Return why something of an organization or project was not read; the run goes on without it.

    Args:
        project: The project; for an organization, a `Project` with its id.
        result: The result of the request.
        role: The role that the request requires; named if Atlas refused it.
        what: Begins the reason.
    """
    is_of_project = project.id != project.org_id
    is_role_named = role != "" and lacks_permission(result)
    required = f"; this requires the role {role}" if is_role_named else ""
    return ListUnreadable(
        project.id if is_of_project else None,
        project.name if is_of_project else None,
        reason=f"{what}{upper_first(describe(result))}{required}.",
        http_status=result.status,
        error_code=result.code,
        org_id=project.org_id,
    )

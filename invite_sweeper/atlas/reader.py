"""Read projects, pending invitations, members, and the status of one user.

Nothing here can delete or invite.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from invite_sweeper.atlas import endpoints
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import Endpoint, is_id
from invite_sweeper.atlas.lists import (
    InvitedRow,
    Listing,
    MemberRow,
    OrganizationRow,
    OrgEvent,
    ProjectRow,
    Record,
    TeamRow,
    parse_object,
    read_list,
)
from invite_sweeper.atlas.responses import (
    FORBIDDEN,
    UNAUTHORIZED,
    InvalidResponse,
    Response,
    ResponseOrFailure,
    describe,
    fatal_error_for,
    is_already_gone,
    is_project_gone,
    is_unauthenticated,
    list_error,
    run_list_error,
    unread,
)
from invite_sweeper.errors import CredentialsRefused
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
    parse_timestamp,
)
from invite_sweeper.text import casefold_visible

T = TypeVar("T")
_CLIENT_ID_PREFIX: Final = "mdb_sa_id_"
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

        Source: `listGroups` of the OpenAPI document; see `rows.parse_page` on its oddities.
        """
        listing = await self._list_projects()
        projects = listing.rows
        if not stable or listing.pages == 1:
            return projects
        for _ in range(_MAX_READINGS - 1):
            again = (await self._list_projects()).rows
            if set(map(_project_key, again)) == set(map(_project_key, projects)):
                return projects
            projects = again
        reason = f"The list of projects changed during each of {_MAX_READINGS} readings."
        return (*projects, ListUnreadable("", "", reason))

    async def _list_projects(self) -> Listing[Project | ListUnreadable]:
        listing = await read_list(
            self._client,
            endpoints.LIST_GROUPS,
            row=ProjectRow,
            convert=ProjectRow.project,
            key=_project_key,
            differing=_listed_twice,
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
        listing = await self._list(endpoints.LIST_ORGS, row=OrganizationRow, key=lambda row: row.id)
        if listing.failure is not None:
            raise run_list_error("organizations", listing.failure, is_first=listing.pages == 0)
        return {row.id: row.name for row in listing.rows}

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
        listing = await read_list(
            self._client,
            endpoints.SOURCES[source].list,
            project.id,
            row=InvitedRow,
            convert=lambda row: row.invitation(project, source),
            # Rows without an id are never duplicates; selection keeps them.
            key=lambda row: row.invitation_id or object(),
            # Which of the rows holds is unknown: selection keeps it.
            differing=lambda listed: replace(listed, status=None),
        )
        if listing.failure is None:
            return InvitationList(listing.rows, listing.sent)
        error = list_error(ListRef(project, source), listing.failure, source.roles[0])
        return error if isinstance(error, ProjectGone) else replace(error, rows=listing.sent)

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        """Return the ids of all teams with access to a project; none if the project is gone.

        Returns ListUnreadable if the list may be incomplete.

        Raises:
            RunError: No access token is available.
        """
        listing = await self._list(
            endpoints.LIST_GROUP_TEAMS, project.id, row=TeamRow, key=lambda row: row.team_id
        )
        if isinstance(listing.failure, Response) and is_project_gone(listing.failure):
            return frozenset()
        if listing.failure is not None:
            return unread(project, listing.failure)
        return frozenset(row.team_id for row in listing.rows)

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Return the current status of an invited user, whether or not a deletion was sent.

        The status is None if the organization may not be read and the user is not in the project.
        Returns ListUnreadable if a later attempt may find out more.

        Args:
            invitation: From one of `SOURCES_OF_USERS`.

        Raises:
            CredentialsRefused: By the access list or the token endpoint.
        """
        found, responses = await look_after(self._client, invitation)
        for response in responses:
            fatal_error = fatal_error_for(response)
            if isinstance(fatal_error, CredentialsRefused):
                raise fatal_error
        response = responses[0]
        is_refused = isinstance(response, Response) and response.status in {UNAUTHORIZED, FORBIDDEN}
        has_no_access = is_refused and not is_unauthenticated(response)
        if found.still_member is None or (found.status is None and not has_no_access):
            return ListUnreadable(
                invitation.scope_id,
                invitation.project_name or "",
                f"The status of the user could not be read: {describe(response)}.",
                response.status,
                response.code,
                invitation.source,
            )
        return found

    async def active_members(self, org_id: str) -> frozenset[str] | ListUnreadable:
        """Return the folded usernames (`casefold_visible`) of all active members.

        Returns ListUnreadable if the list may be incomplete, as where a member has no name.

        Raises:
            RunError: No access token is available.

        Source: `listOrgUsers` of the OpenAPI document, 2025-02-19; requires Organization Member.
        """
        listing = await self._list(
            endpoints.LIST_ORG_ACTIVE_MEMBERS, org_id, row=MemberRow, key=lambda row: row.username
        )
        if listing.failure is not None:
            return unread(Project(org_id, "", org_id), listing.failure, "Organization Member")
        return frozenset(row.username for row in listing.rows)

    async def statuses(self, invitation: Invitation) -> Mapping[str, str] | ListUnreadable:
        """Return the `orgMembershipStatus` of all pending and active users of a target.

        The target is the invitation's project or organization. The keys are folded usernames
        (`casefold_visible`); the status is "" where Atlas sends none. Read before a
        re-invitation, so that no user is invited twice.
        Returns ListUnreadable if the list may be incomplete.

        Raises:
            RunError: The response stops the run: access list, API version, or credentials that
                Atlas has not accepted yet.

        Source:
            `listGroupUsers` of the OpenAPI document: users invited by `createGroupInvite` are
            only in the list of invitations, so for `invites` both lists are read.
        """
        of_org = invitation.source.is_organization_level
        place = Project(invitation.scope_id, invitation.project_name or "", invitation.org_id)
        endpoint = endpoints.LIST_ORG_MEMBERS if of_org else endpoints.LIST_GROUP_MEMBERS
        listing = await self._list(endpoint, place.id, row=MemberRow, key=lambda row: row.username)
        if (failure := listing.failure) is not None:
            if fatal_error := fatal_error_for(failure):
                raise fatal_error
            return unread(place, failure)
        found = {row.username: row.org_membership_status or "" for row in listing.rows}
        if invitation.source is not Source.INVITES:
            return found
        invited = await self.invitations(place)
        if isinstance(invited, ProjectGone):
            return ListUnreadable(place.id, place.name, "The project no longer exists.", 404)
        if isinstance(invited, ListUnreadable):
            return invited
        pending = {casefold_visible(each.username) for each in invited if each.username}
        return dict.fromkeys(pending, MembershipStatus.PENDING.value) | found

    async def invitation_events(
        self, org_id: str, since: datetime
    ) -> tuple[OrgEvent, ...] | ListUnreadable:
        """Return who was invited to an organization and who joined it, by Atlas's own account.

        Deletions with an API key are not in that account (recordings, read 2026-11).

        Raises:
            RunError: No access token is available.
        """
        listing = await self._list(
            endpoints.LIST_ORG_EVENTS,
            org_id,
            row=OrgEvent,
            key=lambda row: (row.kind, row.subject, row.created),
            since=since,
        )
        if listing.failure is not None:
            return unread(Project(org_id, "", org_id), listing.failure, "Organization Member")
        return listing.rows

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...] | ListUnreadable:
        """Return when the secrets of this run's service account expire, the first one first.

        There are at most two; an expired one stays. Empty for other credentials.

        Raises:
            RunError: No access token is available.
        """
        client_id = self._client.actor
        if not client_id.startswith(_CLIENT_ID_PREFIX):
            return ()
        account_id = client_id.removeprefix(_CLIENT_ID_PREFIX)
        if not is_id(account_id):
            return ListUnreadable(org_id, "", "The client id is malformed.", org_id=org_id)
        result = await self._client.call(
            self._client.request(
                endpoints.GET_SERVICE_ACCOUNT, org_id, account_id, parse=_parse_expiries
            )
        )
        if isinstance(result, Response) and isinstance(result.value, tuple):
            return result.value
        return unread(Project(org_id, "", org_id), result, "Organization Read Only")

    async def _list(
        self,
        endpoint: Endpoint,
        *ids: str,
        row: type[T],
        key: Callable[[T], object],
        since: datetime | None = None,
    ) -> Listing[T]:
        return await read_list(
            self._client, endpoint, *ids, row=row, convert=lambda each: each, key=key, since=since
        )


async def look_after(
    client: Client,
    invitation: Invitation,
    *,
    is_confirmed: bool | None = None,
) -> tuple[UserStatus, list[ResponseOrFailure]]:
    """Read a user's status and whether the membership of an invitation still exists.

    The organization returns both: the status, and the projects in which the user has roles. The
    project is read as well where that leaves the membership open, or where the organization does
    not have the user: it proves nothing about a project that has just shown the user.

    Args:
        client: Sends the requests.
        invitation: From one of `SOURCES_OF_USERS`.
        is_confirmed: After a removal, for which the caller has acquired the token of this look:
            whether Atlas has confirmed it, so that the organization's word is enough.

    Returns:
        The status, and the responses: that of the organization first.
    """
    org_id, user_id = invitation.org_id, invitation.invitation_id
    response = await client.call(
        client.request(endpoints.GET_ORG_USER, org_id, user_id, parse=_parse_user),
        token_taken=is_confirmed is not None,
    )
    found = _status_in_organization(response, invitation)
    is_proof = is_confirmed or found.status != MembershipStatus.GONE
    if invitation.source is Source.ORG_USERS or (found.still_member is not None and is_proof):
        return found, [response]
    in_project = await client.call(
        client.request(endpoints.GET_GROUP_USER, invitation.scope_id, user_id, parse=_parse_user)
    )
    responses = [response, in_project]
    if (user := _user_in(in_project, invitation)) is not None:
        return UserStatus(user.org_membership_status, still_member=True), responses
    # A user who is missing there may have any status in the organization.
    return UserStatus(found.status, False if _is_gone(in_project) else None), responses


def _parse_user(body: bytes) -> InvitedRow:
    return parse_object(body, InvitedRow)


class _Secret(Record):
    expires_at: str


class _ServiceAccount(Record):
    """`OrgServiceAccount` of the OpenAPI document, 2024-08-05."""

    secrets: tuple[_Secret, ...]


def _parse_expiries(body: bytes) -> tuple[datetime, ...]:
    """Raise InvalidResponse if a date is unreadable: which one is next would be unknown."""
    secrets = parse_object(body, _ServiceAccount).secrets
    dates = [parse_timestamp(each.expires_at) for each in secrets]
    readable = [each for each in dates if each is not None]
    if len(readable) < len(dates):
        raise InvalidResponse("a secret has no readable date")
    return tuple(sorted(readable))


def _status_in_organization(response: ResponseOrFailure, invitation: Invitation) -> UserStatus:
    if (user := _user_in(response, invitation)) is None:
        is_gone = _is_gone(response)
        return UserStatus(MembershipStatus.GONE if is_gone else None, False if is_gone else None)
    is_member: bool | None = invitation.source is Source.ORG_USERS
    if not is_member:
        is_member = None if user.project_ids is None else invitation.project_id in user.project_ids
    return UserStatus(user.org_membership_status, is_member)


def _user_in(result: ResponseOrFailure, invitation: Invitation) -> InvitedRow | None:
    """Return the invited user from a response; None if it contains no user or another one."""
    value = result.value if isinstance(result, Response) else None
    return value if isinstance(value, InvitedRow) and value.id == invitation.invitation_id else None


def _is_gone(result: ResponseOrFailure) -> bool:
    return isinstance(result, Response) and is_already_gone(result)


def _project_key(listed: Project | ListUnreadable) -> tuple[str, str]:
    """Return what identifies a listed project: a malformed id needs the name as well."""
    return (
        (listed.id, "") if isinstance(listed, Project) else (listed.project_id, listed.project_name)
    )


def _listed_twice(listed: Project | ListUnreadable) -> ListUnreadable:
    if isinstance(listed, ListUnreadable):
        return listed
    reason = "Atlas listed the project twice, with different facts."
    return ListUnreadable(listed.id, listed.name, reason)

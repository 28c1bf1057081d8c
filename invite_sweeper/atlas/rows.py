"""Rows of Atlas's lists, and other objects, parsed into structs. No input or output.

Lenient where Atlas may vary (unknown keys, missing fields, unusual dates), strict where a mistake
could lose an invitation: a value of another type makes the response invalid.
"""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from invite_sweeper.atlas.endpoints import is_id
from invite_sweeper.atlas.responses import InvalidResponse
from invite_sweeper.json_text import parse_json
from invite_sweeper.models import (
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Project,
    Source,
    Timestamp,
    UnreadableDate,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import casefold_visible

_MAX_RAW_LENGTH: Final = 200
T = TypeVar("T")
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[a-f0-9]{24}\Z")]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


def parse_object(body: bytes, row_type: type[T]) -> T:
    """Parse the body of a response.

    Raises:
        InvalidResponse: It is not JSON, a key occurs twice, a field that is needed is missing, or
            a value has another type.
    """
    try:
        text = body.decode()
        if "\\u" in text:
            parse_json(body)  # refuses half of a surrogate pair
        loaded: object = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
        return msgspec.convert(loaded, row_type)
    except msgspec.ValidationError as error:
        raise InvalidResponse(f"not as documented: {error}") from None
    except InvalidResponse:
        raise
    except ValueError:
        message = "the body is not JSON" if body else "the body is empty"
        raise InvalidResponse(message) from None
    except RecursionError:
        raise InvalidResponse("the body is nested too deeply") from None


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raise InvalidResponse if a key occurs twice in one object: which value holds is unknown."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidResponse("a key occurs twice in one object")
    return found


def _refuse_constant(name: str) -> object:
    raise InvalidResponse(f"the body is not JSON: {name} is not a number")


class _Record(msgspec.Struct, rename="camel", gc=False):
    """An object of Atlas: its keys are in camel case, and unknown ones are ignored."""


class _Link(_Record):
    rel: str | None = None


class _PageRecord(_Record):
    results: list[object]
    links: list[_Link] | None = None


class Page(NamedTuple, Generic[T]):
    """One page of a list, or a whole list that is not paged.

    Attributes:
        rows: In Atlas's order. There may be fewer than the page size, or none, even if there is
            a next page.
        has_next: Atlas links to a next page. The link itself is never used: it could point to
            another host.
    """

    rows: list[T]
    has_next: bool = False


def parse_page(body: bytes, row_type: type[T]) -> Page[T]:
    """Parse one page of a paged list.

    Raises:
        InvalidResponse: As for `parse_object`.

    Source:
        The recordings (read 2026-08): only a missing `next` link marks the last page;
        `totalCount` can be too high, and short pages can have a `next` link.
    """
    page = parse_object(body, _PageRecord)
    rels = [link.rel for link in page.links or ()]
    return Page(parse_rows(page.results, row_type), has_next="next" in rels)


def parse_rows(results: list[object], row_type: type[T]) -> list[T]:
    """Parse the rows of a page.

    Raises:
        InvalidResponse: One of them is not as documented.
    """
    try:
        return [msgspec.convert(each, row_type) for each in results]
    except msgspec.ValidationError as error:
        raise InvalidResponse(f"a row is not as documented: {error}") from None


def parse_timestamp(value: str | None) -> Timestamp:
    """Parse a timestamp and convert it to UTC; UnreadableDate with the raw text if that fails.

    A date without an offset is unreadable: it could mean any of 26 hours.
    """
    if value is None:
        return None
    try:
        timestamp = datetime.fromisoformat(value)
        if timestamp.tzinfo is UTC:
            return timestamp
        if timestamp.tzinfo:
            return timestamp.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return UnreadableDate(_shortened(value))


@lru_cache(maxsize=1024)
def _shared(value: T) -> T:
    """Return an equal value: most invitations of a run have the roles and inviters of others."""
    return value


def _shortened(value: str) -> str:
    """Return the start of a text; of a secret that is cut, the rest would not be found."""
    return SECRETS.redact(value)[:_MAX_RAW_LENGTH]


class Assignment(_Record):
    """Roles in a project. Invitations have one string `groupRole`, users an array `groupRoles`."""

    group_id: str | None = None
    group_role: str | None = None
    group_roles: tuple[str, ...] | None = None

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return project id and role of each; without a role, the role is ""."""
        roles = (self.group_role,) if self.group_role else self.group_roles or ("",)
        return tuple((self.group_id or "", role) for role in roles)


Assignments: TypeAlias = tuple[Assignment, ...]


class OrganizationRoles(_Record):
    """The roles of a user of an organization."""

    org_roles: tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None


class _InvitedRow(_Record):
    """What the rows of the four lists share. No field is required: selection keeps such a row.

    Source:
        The recordings (read 2026-08): `inviterUsername` is often an API key's public key.
    """

    id: str | None = None
    username: str | None = None
    inviter_username: str | None = None
    created_at: str | None = None
    expires_at: str | None = None

    def _invitation(
        self,
        place: Project,
        source: Source,
        roles: tuple[str, ...] | None,
        status: str | None = MembershipStatus.PENDING,
    ) -> Invitation:
        return Invitation(
            self.id or "",
            place.id,
            place.name,
            place.org_id,
            self.username,
            _shared(roles or ()),
            _shared(self.inviter_username),
            parse_timestamp(self.created_at),
            parse_timestamp(self.expires_at),
            source,
            status,
        )


class GroupInvitationRow(_InvitedRow):
    """An element of `GET /groups/{groupId}/invites`: `GroupInvitation` of the OpenAPI document."""

    group_id: str | None = None
    roles: tuple[str, ...] | None = None

    def invitation(self, project: Project) -> Invitation:
        """Return the invitation.

        Args:
            project: That was requested. Its id and name are used instead of those in the response,
                so that a deletion always goes to the project that was listed.

        Raises:
            InvalidResponse: It belongs to another project.
        """
        if self.group_id not in {None, project.id}:
            raise InvalidResponse("the list contains an invitation to another project")
        return self._invitation(project, Source.INVITES, self.roles)


class OrgInvitationRow(_InvitedRow):
    """An element of `GET /orgs/{orgId}/invites`: `OrganizationInvitation`, 2023-01-01."""

    org_id: str | None = None
    roles: tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None
    team_ids: tuple[str, ...] | None = None

    def invitation(self, organization: Project) -> Invitation:
        """Return the invitation, including its roles in projects.

        Raises:
            InvalidResponse: It belongs to another organization.
        """
        if self.org_id not in {None, organization.id}:
            raise InvalidResponse("the list contains an invitation to another organization")
        found = self._invitation(organization, Source.ORG_INVITES, self.roles)
        return _with_links(found, self.group_role_assignments, self.team_ids)


class _UserRow(_InvitedRow):
    created_at: str | None = msgspec.field(default=None, name="invitationCreatedAt")
    expires_at: str | None = msgspec.field(default=None, name="invitationExpiresAt")
    org_membership_status: str | None = None


class GroupUserRow(_UserRow):
    """A user of a project: `GroupUserResponse`, 2025-02-19."""

    roles: tuple[str, ...] | None = None

    def invitation(self, project: Project) -> Invitation:
        """Return the invitation of the user, in whatever status."""
        return self._invitation(project, Source.USERS, self.roles, self.org_membership_status)


class OrgUserRow(_UserRow, kw_only=True):
    """A user of an organization: `OrgUserResponse`, 2025-02-19.

    Without roles, the projects that it gives access to would be unknown.
    """

    roles: OrganizationRoles
    team_ids: tuple[str, ...] | None = None

    def invitation(self, organization: Project) -> Invitation:
        """Return the invitation of the user, in whatever status, with its roles in projects."""
        roles, status = self.roles, self.org_membership_status
        found = self._invitation(organization, Source.ORG_USERS, roles.org_roles, status)
        return _with_links(found, roles.group_role_assignments, self.team_ids)


def _with_links(
    found: Invitation, assignments: Assignments | None, team_ids: tuple[str, ...] | None
) -> Invitation:
    """Return an invitation to an organization with its teams and its roles in projects.

    These decide whether it may be deleted: where the row does not name all of them,
    `links_out_of_scope` is set.

    Source: the recordings (read 2026-08): both arrays are in every row, also when empty.
    """
    project_roles = tuple(pair for each in assignments or () for pair in each.pairs())
    linked = dict.fromkeys(group_id for group_id, _ in project_roles)
    is_known = assignments is not None and team_ids is not None and all(map(is_id, team_ids))
    return found._replace(
        team_ids=team_ids or (),
        project_roles=project_roles,
        linked_projects=tuple((group_id, "") for group_id in linked),
        links_out_of_scope=not is_known,
    )


class UserRecord(_Record):
    """Whether one user is still a member, as a project or an organization shows it.

    Attributes:
        status: `ACTIVE`, `PENDING`, …; None if missing.
        roles: Of a project, an array.
    """

    id: str | None = None
    status: str | None = msgspec.field(default=None, name="orgMembershipStatus")
    roles: OrganizationRoles | tuple[str, ...] | None = None

    @property
    def project_ids(self) -> frozenset[str] | None:
        """Projects in which the user has roles; None if not returned."""
        roles = self.roles
        assignments = roles.group_role_assignments if isinstance(roles, OrganizationRoles) else None
        return None if assignments is None else frozenset(a.group_id or "" for a in assignments)


class _Tag(_Record):
    key: str
    value: str


class ProjectRow(_Record):
    """A result of `GET /groups`: of `Group`, `name` and `orgId` are required, `id` is not."""

    name: _Text
    org_id: _Text
    id: str | None = None
    tags: tuple[_Tag, ...] | None = None

    def project(self) -> Project | ListUnreadable:
        """Return the project; ListUnreadable if its id is malformed."""
        group_id = self.id or ""
        if not is_id(group_id):
            return ListUnreadable(_shortened(group_id), self.name, "The project id is malformed.")
        tags = tuple((tag.key, tag.value) for tag in self.tags or ())
        return Project(group_id, self.name, _shared(self.org_id), tags)


class OrganizationRow(_Record):
    """A result of `GET /orgs`."""

    id: _Id
    name: _Text


class TeamRow(_Record):
    """A result of `GET /groups/{groupId}/teams`: a team with access (`TeamRole`, 2023-01-01)."""

    team_id: _Id


class MemberRow(_Record):
    """A user of a project or organization.

    Attributes:
        username: Folded (`casefold_visible`).
    """

    username: str
    org_membership_status: str | None = None

    def __post_init__(self) -> None:
        self.username = casefold_visible(self.username)
        if not self.username:
            raise ValueError("a user has no username")


class OrgEvent(_Record):
    """A user was invited to an organization, or joined it.

    Source: `UserEventViewForOrg` of the OpenAPI document: `targetUsername` is the user whom the
        event is about, `username` the user who caused it.

    Attributes:
        kind: `INVITED_TO_ORG` or `JOINED_ORG`.
    """

    kind: str = msgspec.field(name="eventTypeName")
    target_username: str | None = None
    username: str | None = None
    created: str | None = None

    @property
    def subject(self) -> str | None:
        """The folded name (`casefold_visible`) of the user whom it is about; None if missing."""
        name = self.target_username
        if name is None and self.kind == "JOINED_ORG":
            name = self.username
        return None if name is None else casefold_visible(name)


class _ServiceAccountSecret(_Record):
    expires_at: str


class ServiceAccountRecord(_Record):
    """A service account: `OrgServiceAccount` of the OpenAPI document, 2024-08-05."""

    secrets: tuple[_ServiceAccountSecret, ...]

    def expiries(self) -> tuple[datetime, ...]:
        """Return when its secrets expire, the first one first.

        Raises:
            InvalidResponse: A date is unreadable, so which one is next is unknown.
        """
        dates = [parse_timestamp(each.expires_at) for each in self.secrets]
        readable = [each for each in dates if isinstance(each, datetime)]
        if len(readable) < len(dates):
            raise InvalidResponse("a secret has no readable date")
        return tuple(sorted(readable))

"""The rows of Atlas's lists as structs, and what the program makes of each.

Lenient where Atlas may vary (unknown keys, missing fields, unusual dates), strict where a mistake
could lose an invitation: a value of another type makes the response invalid.
"""

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import msgspec
from msgspec import structs

from invite_sweeper.atlas.responses import (
    InvalidResponse,
    UnexpectedContent,
)
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Project,
    Source,
    parse_timestamp,
    rfc3339,
)
from invite_sweeper.names import ATLAS_ID, casefold_visible, is_atlas_id, visible_name
from invite_sweeper.redaction import SECRETS

_MAX_RAW_LENGTH: Final = 200
AtlasRow = TypeVar("AtlasRow")
_RFC3339: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_Id = Annotated[str, msgspec.Meta(pattern=rf"\A{ATLAS_ID}\Z")]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


def parse_object(body: bytes, row_type: type[AtlasRow]) -> AtlasRow:
    """Return the body of a response as a struct, or another type that msgspec decodes.

    Raises:
        UnexpectedContent: A field that is needed is missing, or a value has another type.
        InvalidResponse: It is not JSON.
    """
    try:
        row: AtlasRow = _decoder(cast("Hashable", row_type)).decode(body)
    except msgspec.ValidationError as error:
        raise UnexpectedContent(f"not as documented: {error}") from None
    except (ValueError, RecursionError):
        raise InvalidResponse("the body is not JSON") from None
    return row


@lru_cache(maxsize=64)
def _decoder(row_type: Hashable) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type; making one takes longer than decoding a short list."""
    return msgspec.json.Decoder(row_type)


def _normalized_date(value: str | None) -> str | None:
    """Return a date as RFC 3339 in UTC; as Atlas sent it if it cannot be read.

    Source: all 4,342 dates of the recordings (read 2026-08) are in that form already.
    """
    if value is None:
        return None
    moment = parse_timestamp(value)
    if moment is None:
        return shortened(value)
    if _RFC3339.fullmatch(value) is not None:
        return value
    return rfc3339(moment)


@lru_cache(maxsize=1024)
def _shared(value: AtlasRow) -> AtlasRow:
    """Return an equal value: most invitations of a run have the roles and inviters of others."""
    return value


def shortened(value: str) -> str:
    """Return the start of a text; of a secret that is cut, the rest would not be found."""
    return SECRETS.redact(value)[:_MAX_RAW_LENGTH]


class AtlasObject(msgspec.Struct, rename="camel", gc=False):
    """An object of Atlas: its keys are in camel case, and unknown ones are ignored."""


class Assignment(AtlasObject):
    """Roles in a project. Invitations have one string `groupRole`, users an array `groupRoles`."""

    group_id: str | None = None
    group_role: str | None = None
    group_roles: tuple[str, ...] | None = None


Assignments: TypeAlias = tuple[Assignment, ...]


class OrganizationRoles(AtlasObject):
    """The roles of a user of an organization."""

    org_roles: tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None


class InvitedRow(AtlasObject):
    """A row of one of the four lists, or one user. No field is required: selection keeps such rows.

    `GroupInvitation`, `OrganizationInvitation`, `GroupUserResponse` and `OrgUserResponse` of the
    OpenAPI document. Only a user of an organization has an object as roles.

    Source:
        The recordings (read 2026-08): `inviterUsername` is often an API key's public key.
    """

    id: str | None = None
    username: str | None = None
    inviter_username: str | None = None
    created_at: str | None = None
    expires_at: str | None = None
    invitation_created_at: str | None = None
    invitation_expires_at: str | None = None
    group_id: str | None = None
    org_id: str | None = None
    org_membership_status: str | None = None
    roles: OrganizationRoles | tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None
    team_ids: tuple[str, ...] | None = None

    def invitation(self, place: Project, source: Source) -> Invitation:
        """Return the invitation, or the user in any status.

        Args:
            place: The project or organization that was requested. Its id and name are used
                instead of those in the response, so that a deletion always goes to the place that
                was listed.
            source: The list that has the row.

        Raises:
            UnexpectedContent: It belongs to another place, or its roles have the form of another
                list. Without roles, the projects of an organization's user would be unknown.
        """
        of_org = source.is_organization_level
        shown_place = self.org_id if of_org else self.group_id
        if shown_place is not None and shown_place != place.id:
            what = "organization" if of_org else "project"
            raise UnexpectedContent(f"it is an invitation to another {what}")
        if isinstance(self.roles, OrganizationRoles):
            is_organization_user = True
            roles = self.roles.org_roles
            assignments = self.roles.group_role_assignments
        else:
            is_organization_user = False
            roles = self.roles
            assignments = self.group_role_assignments
        if is_organization_user != (source is Source.ORG_USERS):
            raise UnexpectedContent("its roles are not as documented")
        created_at = self.created_at
        expires_at = self.expires_at
        status: str | None = MembershipStatus.PENDING
        if source in SOURCES_OF_USERS:
            created_at = self.invitation_created_at
            expires_at = self.invitation_expires_at
            # PENDING stays the object that is the default: msgspec writes an equal text in each
            # line of the log, and leaves the default out.
            if self.org_membership_status != MembershipStatus.PENDING:
                status = self.org_membership_status
        invitation = Invitation(
            invitation_id=self.id or "",
            project_id=None if of_org else place.id,
            project_name=None if of_org else place.name,
            org_id=place.org_id,
            username=visible_name(self.username),
            roles=_shared(roles or ()),
            inviter=_shared(visible_name(self.inviter_username)),
            created_at=_normalized_date(created_at),
            expires_at=_normalized_date(expires_at),
            age_days=None,
            source=source,
            status=status,
        )
        if not of_org:
            return invitation
        return _with_teams_and_projects(invitation, assignments, self.team_ids)


def _with_teams_and_projects(
    invitation: Invitation, assignments: Assignments | None, team_ids: tuple[str, ...] | None
) -> Invitation:
    """Return an invitation to an organization with its teams and its roles in projects.

    These decide whether it may be deleted: where the row does not name all of them,
    `links_out_of_scope` is set.

    Source: the recordings (read 2026-08): both arrays are in every row, also when empty.
    """
    project_roles: list[tuple[str, str]] = []
    for assignment in assignments or ():
        group_id = assignment.group_id or ""
        if assignment.group_role:
            roles: tuple[str, ...] = (assignment.group_role,)
        else:  # of an assignment without roles, the project counts all the same
            roles = assignment.group_roles or ("",)
        project_roles.extend((group_id, role) for role in roles)
    # Each project once, in Atlas's order.
    linked_ids = dict.fromkeys(group_id for group_id, _role in project_roles)
    are_projects_named = assignments is not None
    are_teams_named = team_ids is not None and all(map(is_atlas_id, team_ids))
    return structs.replace(
        invitation,
        team_ids=team_ids or (),
        project_roles=tuple(project_roles),
        linked_projects=tuple((group_id, "") for group_id in linked_ids),
        links_out_of_scope=not (are_projects_named and are_teams_named),
    )


class _Tag(AtlasObject):
    key: str
    value: str


class ProjectRow(AtlasObject):
    """A result of `GET /groups`: of `Group`, `name` and `orgId` are required, `id` is not."""

    name: _Text
    org_id: _Text
    id: str | None = None
    tags: tuple[_Tag, ...] | None = None

    def project(self) -> Project | ListUnreadable:
        """Return the project; ListUnreadable if its id is malformed."""
        group_id = self.id or ""
        if not is_atlas_id(group_id):
            return ListUnreadable(shortened(group_id), self.name, "The project id is malformed.")
        tags = tuple((tag.key, tag.value) for tag in self.tags or ())
        return Project(group_id, self.name, _shared(self.org_id), tags)


class OrganizationRow(AtlasObject):
    """A result of `GET /orgs`."""

    id: _Id
    name: _Text


class TeamRow(AtlasObject):
    """A result of `GET /groups/{groupId}/teams`: a team with access (`TeamRole`, 2023-01-01)."""

    team_id: _Id


class MemberRow(AtlasObject):
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

    @property
    def is_active(self) -> bool:
        """Whether the user is a member, and not only invited."""
        return self.org_membership_status == MembershipStatus.ACTIVE


class ApiKeyRow(AtlasObject):
    """An API key: `ApiKeyUserDetails` of the OpenAPI document; `desc` has up to 250 characters."""

    public_key: _Text
    desc: str | None = None

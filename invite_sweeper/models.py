"""The values that all parts share: sources, projects, invitations, and lists that were not read.

A value claims only what Atlas returned; what it did not return is None or empty.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from invite_sweeper.endings import FactEnum
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.text import casefold_lookalike, casefold_visible

_EventT = TypeVar("_EventT", bound="Invitation")
_T = TypeVar("_T")
_TENTH_OF_A_DAY_S: Final = 8640
MAX_CLOCK_SKEW_S: Final = 300.0
"""Local time and Atlas's may differ by this much, and the answers of Atlas may be this old."""


class RequiredRoles(NamedTuple):
    """The roles that reading a list and deleting from it require.

    Source: the OpenAPI document, read 2026-08.
    """

    listing: str
    deleting: str


class _SourceRow(NamedTuple):
    value: str
    contents: str
    roles: RequiredRoles
    is_organization_level: bool = False
    replacements: tuple[str, ...] = ()
    stands_for_itself: bool = False


class Source(FactEnum):
    """A kind of list that contains pending invitations; the values of the policy's `sources`."""

    contents: str
    """What it lists."""
    roles: RequiredRoles
    is_organization_level: bool
    """The list belongs to an organization, not to a project."""
    replacements: tuple[str, ...]
    """The sources that replace this one once Atlas has retired it.

    Source: the descriptions of the deprecated operations in Atlas's OpenAPI document.
    """
    stands_for_itself: bool
    """No other list shows its entries, and no DELETE of another list ends them.

    Source: `deleteGroupInvite` and `listGroupUsers` in Atlas's OpenAPI document, read 2026-08.
    """

    INVITES = _SourceRow(
        "invites",
        "project invitations by API, Terraform or older tools",
        RequiredRoles("Project Owner", "Project Owner"),
        replacements=("users", "org_users"),
        stands_for_itself=True,
    )
    USERS = _SourceRow(
        "users",
        "people invited to a project who have not accepted",
        RequiredRoles("Project Read Only", "Project Access Manager or Project Owner"),
    )
    ORG_USERS = _SourceRow(
        "org_users",
        "people invited to the organization, as the web interface does",
        RequiredRoles("Organization Member", "Organization Owner"),
        is_organization_level=True,
    )
    ORG_INVITES = _SourceRow(
        "org_invites",
        "organization invitations by older tools",
        RequiredRoles("Organization Owner", "Organization Owner"),
        is_organization_level=True,
        replacements=("org_users",),
    )

    def is_replaced_by(self, sources: Collection["Source"]) -> bool:
        """Return whether the sources of a policy have all that replace this one."""
        return bool(self.replacements) and set(sources).issuperset(self.replacements)

    def replacement_hint(self, sources: Collection["Source"] = ()) -> str:
        """Return the hint for a list that Atlas retires, for the sources of a policy."""
        if not self.replacements:
            return "Upgrade this program: it uses a version of the list that Atlas retires."
        others = " and ".join(self.replacements)
        if self.is_replaced_by(sources):
            return f"The policy reads {others} already: nothing has to be changed."
        return f"Under sources, write {others} instead of {self}."


def hint_without(retired: Collection[Source], sources: Collection[Source]) -> str:
    """Return the hint to a policy of which lists count as not read, as Atlas serves them no more.

    Args:
        retired: Those lists.
        sources: Of the policy.
    """
    left = [source.value for source in sources if source not in retired]
    for source in retired:
        left += (name for name in source.replacements if name not in left)
    if not left:
        return "Upgrade this program: it uses a version of the list that Atlas retires."
    return f"In the policy, write `sources: [{', '.join(left)}]`."


SOURCES_OF_USERS: Final = frozenset({Source.USERS, Source.ORG_USERS})
"""Lists of users with a status; deleting from them also removes an accepted membership."""


class MembershipStatus(StrEnum):
    """The known statuses of a user in a list of users; Atlas may add others.

    Source: `orgMembershipStatus` of `GroupUserResponse`, Atlas Administration API, version
    2025-02-19.
    """

    ACTIVE = "ACTIVE"
    """The user is a member."""
    PENDING = "PENDING"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REJECTED = "INVITATION_REJECTED"
    GONE = "gone"
    """Not a value of Atlas: recorded when Atlas responds that the user does not exist."""


INVITATION_LIFETIME: Final = timedelta(days=30)
"""From an invitation to its end. Source: all 2,225 invitations in the recordings."""
INVITED_STATUSES: Final = (
    MembershipStatus.PENDING,
    MembershipStatus.INVITATION_EXPIRED,
    MembershipStatus.INVITATION_REJECTED,
)
"""The statuses of an invitation: a user with one of them is not a member yet."""


class Project(msgspec.Struct, frozen=True, gc=False):
    """A project (a "group" in the API's paths) that the credentials can see.

    Attributes:
        id: 24 lower-case hex digits; the reader checked it.
        name: As Atlas sent it; may contain spaces.
        tags: Keys and values, in Atlas's order.
    """

    id: str
    name: str
    org_id: str
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_organization(cls, org_id: str) -> "Project":
        """Return what stands for an organization where a project does for its own lists."""
        return cls(org_id, "", org_id)


class ListRef(NamedTuple):
    """One list to read: its project or organization, and its source.

    Attributes:
        project: For a list of an organization, `Project.of_organization`.
    """

    project: Project
    source: Source

    @property
    def key(self) -> "ListKey":
        """Identifies the list, also where its project has another name or other tags."""
        return self.source, self.project.org_id, self.project.id


InvitationKey: TypeAlias = tuple[str, str, str, str]
"""Source, organization, project (the organization for its own lists) and id."""
ListKey: TypeAlias = tuple[str, str, str]
"""A list: its source, the organization, and the project (the organization for its own lists)."""
PersonKey: TypeAlias = tuple[str, ...]
"""A person in an organization, in all of its lists: by the name, without one by the entry."""


def person_named(org_id: str, username: str) -> PersonKey:
    """Return what identifies a person with a name in an organization.

    Names that look the same are the same, as for `keep`: so more is kept.
    """
    return org_id, casefold_lookalike(username)


def always_written(value: _T) -> _T:
    """Return the default of a field for lines that lack it; a line is written with it.

    A struct with `omit_defaults` leaves out what equals a `default`, and not what a factory
    returned.
    """
    return msgspec.field(default_factory=lambda: value)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Another entry of an invitation: what its DELETE ends in another list.

    It has what a saved plan is compared by. Runs before 0.3 recorded its roles alone.

    Attributes:
        project_id: None in a list of an organization.
        project_roles: As in `Invitation`; only in a list of an organization, as `team_ids`.
    """

    source: Source
    project_id: str | None
    invitation_id: str
    roles: tuple[str, ...] = always_written(())
    inviter: str | None = always_written(None)
    created_at: str | None = always_written(None)
    expires_at: str | None = always_written(None)
    status: str | None = always_written(MembershipStatus.PENDING)
    project_roles: tuple[tuple[str, str], ...] = ()
    team_ids: tuple[str, ...] = ()

    def key(self, org_id: str) -> InvitationKey:
        """Return the key of the entry, as `Invitation.key`.

        Args:
            org_id: Of the organization, which an entry does not repeat.
        """
        return self.source, org_id, self.project_id or org_id, self.invitation_id

    @property
    def evidence(self) -> tuple[object, ...]:
        """Everything that Atlas showed of it but the status, to be compared in any order."""
        return tuple(map(_without_order, _evidence_of_entry(self)))


def is_status_within(approved: str | None, now: str | None) -> bool:
    """Return whether a status is one that the approval of another one covers.

    The end of an invitation that was PENDING passes by itself. A rejection is the person's answer.
    """
    if approved == now:
        return True
    return approved == MembershipStatus.PENDING and now == MembershipStatus.INVITATION_EXPIRED


def _without_order(value: object) -> object:
    """Return a value to compare: Atlas lists roles, teams and projects in any order."""
    return frozenset(value) if isinstance(value, tuple) else value


class Invitation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A pending invitation: as a list of Atlas shows it, and as each line of the log records it.

    An event of the log has these fields and its own. Of an invitation with several entries, they
    are those of the entry that names it.

    Attributes:
        invitation_id: As Atlas sent it; "" if missing. Selection keeps invitations with a
            malformed id. In lists of users it is the user's id.
        project_id: The project in the request path, not the one in the response; None in a list
            of an organization, as `project_name`.
        username: The invited user's e-mail address; None if missing, or if nothing of it is
            visible, as with `inviter`.
        roles: An open set; empty if missing.
        inviter: An e-mail address, or the public key of an API key; None if missing.
        created_at: When Atlas sent the invitation: RFC 3339 in UTC; as Atlas sent it if that is
            not a date.
        expires_at: When it expires (30 days later in every recording), in the same form.
        age_days: Floored to one decimal; None without a readable date, and before a run has
            decided about it.
        status: A `MembershipStatus`, or another text; an open set. Only lists of users have
            another one than PENDING.
        team_ids: Teams that the user joins; only in lists of organizations.
        project_roles: Pairs of project id and role; needed to invite again.
        linked_projects: Id and name of the projects that an organization's invitation grants
            access to, by a role or a team. The name is "" until `RunScope.with_links`
            sets it. Empty in lists of projects.
        entries: The other entries of the invitation, which end with it.
        links_out_of_scope: A linked project is not in the policy's scope or not visible, or it
            is unknown which projects are linked.
        inviter_name: The description of the API key that is the inviter; None of a person, and
            where it is not known.
    """

    invitation_id: str
    project_id: str | None
    project_name: str | None
    org_id: str
    username: str | None
    roles: tuple[str, ...]
    inviter: str | None
    created_at: str | None
    expires_at: str | None
    age_days: float | None
    source: Source
    status: str | None = MembershipStatus.PENDING
    team_ids: tuple[str, ...] = ()
    project_roles: tuple[tuple[str, str], ...] = ()
    linked_projects: tuple[tuple[str, str], ...] = ()
    entries: tuple[Entry, ...] = ()
    links_out_of_scope: bool = False
    inviter_name: str | None = None

    @property
    def inviter_label(self) -> str | None:
        """The inviter as people know it: an address, or the name of an API key with its id."""
        if self.inviter is None or self.inviter_name is None:
            return self.inviter
        return f"API key '{self.inviter_name}' ({self.inviter})"

    @property
    def place_id(self) -> str:
        """The id of the project; for an organization's invitation, of the organization."""
        return self.org_id if self.source.is_organization_level else self.project_id or ""

    @property
    def place(self) -> Project:
        """The project; for an organization's invitation the organization, as in `ListRef`."""
        return Project(self.place_id, self.project_name or "", self.org_id)

    @property
    def key(self) -> InvitationKey:
        """Identifies the invitation: a user has the same id in two organizations."""
        # A source equals its value, and `value` takes as long as all else here.
        return self.source, self.org_id, self.place_id, self.invitation_id

    @property
    def list_key(self) -> ListKey:
        """Identifies the list that shows the invitation."""
        return self.source, self.org_id, self.place_id

    @property
    def keys(self) -> tuple[InvitationKey, ...]:
        """The keys of all entries; the one that names the invitation is first."""
        return (self.key, *(entry.key(self.org_id) for entry in self.entries))

    @property
    def person(self) -> PersonKey:
        """Identifies the person in the organization."""
        return person_named(self.org_id, self.username) if self.username else self.key

    @property
    def sent_at(self) -> datetime | None:
        """The date of `created_at`; None where it has none that can be read."""
        return parse_timestamp(self.created_at)

    def age_at(self, now: datetime) -> float | None:
        """Return its `age_days` at an instant."""
        sent_at = self.sent_at
        if sent_at is None:
            return None
        age = now - sent_at  # for a date in the future, only `days` is negative
        return (age.days * 10 + age.seconds // _TENTH_OF_A_DAY_S) / 10

    def matches_date(self, sent_at: datetime | None) -> bool:
        """Return whether it may be the invitation with the same id that was sent at a date.

        A user keeps the id when invited again, and the date is another one. Where one of the two
        dates is not known, it counts as the same.
        """
        own_date = self.sent_at
        if own_date is None or sent_at is None:
            return True
        return abs(own_date - sent_at) < timedelta(seconds=1)

    @property
    def evidence(self) -> tuple[object, ...]:
        """Everything that Atlas shows of it, to be compared in any order and spelling of the name.

        It is equal in two answers about an unchanged invitation. What the scope adds is left out.
        """
        return (
            casefold_visible(self.username or ""),
            *map(_without_order, _evidence_of_invitation(self)),
        )

    @property
    def all_roles(self) -> tuple[str, ...]:
        """The roles in the place itself, and an organization user's roles in projects."""
        return (*self.roles, *(role for _, role in self.project_roles))

    @property
    def as_entry(self) -> Entry:
        """The invitation as plans and the audit log have it among the `entries` of another one."""
        return Entry(
            self.source,
            self.project_id,
            self.invitation_id,
            self.roles,
            self.inviter,
            self.created_at,
            self.expires_at,
            self.status,
            self.project_roles,
            self.team_ids,
        )

    def recorded(self, now: datetime, others: Iterable["Invitation"] = ()) -> "Invitation":
        """Return it as a run records it: with its age, and the other entries that end with it.

        Args:
            now: The instant of the run.
            others: The other entries of the invitation, as lists showed them.
        """
        entries = tuple(other.as_entry for other in others)
        return msgspec.structs.replace(self, age_days=self.age_at(now), entries=entries)

    def as_event(self, kind: type[_EventT], **more: Any) -> _EventT:  # noqa: ANN401  its own fields
        """Return an event of the audit log about it, with the fields of that event alone."""
        return kind(*_field_values(self), **more)  # by position: each deletion has three events


_field_values: Final = attrgetter(*Invitation.__struct_fields__)
# The status is compared by `is_status_within`.
_evidence_of_entry: Final = attrgetter(
    *(name for name in Entry.__struct_fields__ if name != "status")
)
# What the program adds, and names, which may change while the invitation stays the same one; the
# username is compared as people see it.
_NOT_EVIDENCE: Final = frozenset(
    {
        "username",
        "project_name",
        "age_days",
        "linked_projects",
        "entries",
        "links_out_of_scope",
        "inviter_name",
    }
)
_evidence_of_invitation: Final = attrgetter(
    *(name for name in Invitation.__struct_fields__ if name not in _NOT_EVIDENCE)
)

Invitations: TypeAlias = tuple[Invitation, ...]
"""The invitations of a list, each once and in Atlas's order."""


class ListUnreadable(msgspec.Struct, frozen=True):
    """A list that could not be read completely, or a project; nothing in it is deleted.

    Attributes:
        project_id: None for a list of an organization, as `project_name`.
        reason: One sentence for the operator.
        http_status: Of the last response.
        error_code: Atlas's `errorCode` in it.
        org_id: None if Atlas listed the project with a malformed id, so none of its lists was
            requested.
    """

    event: ClassVar[str] = "project_unreadable"

    project_id: str | None = None
    project_name: str | None = None
    reason: str = ""
    http_status: int | None = None
    error_code: str | None = None
    source: Source = Source.INVITES
    org_id: str | None = None

    @property
    def place_id(self) -> str:
        """As `Invitation.place_id`; "" where neither project nor organization is known."""
        return self.project_id or self.org_id or ""

    @property
    def list_key(self) -> ListKey:
        """As `Invitation.list_key`."""
        return self.source.value, self.org_id or "", self.place_id

    @property
    def list_name(self) -> str:
        """The list, with its project if it is one of a project."""
        project = self.project_name or self.project_id
        return f"{self.source} of project {project}" if project else self.source.value


class SourceRetired(ListUnreadable, frozen=True):
    """A list that Atlas no longer serves for any project (410)."""

    event: ClassVar[str] = "source_retired"


class ProjectGone(msgspec.Struct, frozen=True):
    """A project that no longer exists (404 with `GROUP_NOT_FOUND`); not an error."""

    project_id: str

"""What the simulated Atlas holds, and how it gets there without HTTP."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from invite_sweeper.simulator.ids import IdMaker, atlas_time
from invite_sweeper.simulator.json_types import Json, Missing, document
from invite_sweeper.simulator.records import Group, Invite, Organization

LIFETIME: Final = timedelta(days=30)
"""From invitation to expiry. Source: all 2,225 invitations in the recordings."""
INVITER: Final = "wkzjqvtb"
"""An API key's public part. Source: as `inviterUsername` is in every recording of a project."""


class Holdings:
    """Organizations, their projects, and the invitations of those.

    Attributes:
        clock: What is made is made now.
        organizations: By id, in the order of their making.
        groups: Projects, likewise.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.organizations: dict[str, Organization] = {}
        self.groups: dict[str, Group] = {}
        self.ids = IdMaker()

    def add_organization(self, org_id: str, name: str) -> Organization:
        """An organization without projects or people."""
        self.organizations[org_id] = Organization(org_id, name)
        return self.organizations[org_id]

    def add_project(
        self,
        name: str,
        org_id: str | None = None,
        *,
        project_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        created: datetime | None = None,
        hidden: bool = False,
    ) -> str:
        """A project of the organization given (or the first one); gives its id.

        A hidden one is counted by `/groups` and not shown, as new ones are for some seconds.
        """
        owner = org_id or next(iter(self.organizations))
        born = created or self.clock()
        # Source: the id's instant is 1 to 8 s before `created` in the recordings.
        own_id = project_id or self.ids.at(born - timedelta(seconds=2))
        pairs = tuple((tags or {}).items())
        self.groups[own_id] = Group(own_id, name, owner, born, pairs, hidden=hidden)
        return own_id

    def remove_project(self, project_id: str) -> None:
        """The project and its invitations are gone."""
        del self.groups[project_id]

    def invite(
        self,
        project_id: str,
        username: str | Missing,
        *,
        age: timedelta = timedelta(0),
        roles: Sequence[str] = ("GROUP_READ_ONLY",),
        inviter: str = INVITER,
        **overrides: Json | Missing,
    ) -> str:
        """A project invitation of the old kind, sent `age` ago; gives its id.

        `overrides` are fields of the document, by Atlas's names, that differ from the
        ordinary: `createdAt="soon"`, `expiresAt=None`, `id="../x"`, `groupId=MISSING`. They
        change what is sent and, for `id`, what finds it.
        """
        group = self.groups[project_id]
        created = self.clock() - age
        fields: dict[str, Json | Missing] = {
            "createdAt": atlas_time(created),
            "expiresAt": atlas_time(created + LIFETIME),
            "groupId": project_id,
            "groupName": group.name,
            "id": self.ids.at(created),
            "inviterUsername": inviter,
            "roles": tuple(roles),
            "username": username,
        }
        fields |= overrides
        told_id = fields["id"]
        key = told_id if isinstance(told_id, str) else f"#{len(group.invites)}"
        name = username if isinstance(username, str) else ""
        group.invites[key] = Invite(key, name, document(fields))
        return key

    def invitations(self, project_id: str) -> tuple[str, ...]:
        """Ids of what the project holds now, in the order of their making."""
        return tuple(self.groups[project_id].invites)

    def invitation_count(self) -> int:
        """How many project invitations there are in all."""
        return sum(len(group.invites) for group in self.groups.values())

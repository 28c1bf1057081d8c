"""What a sweep uses of the Atlas client, which it does not import."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Protocol

from invite_sweeper.models import (
    DeletionProgress,
    DeletionResult,
    Invitation,
    InvitationList,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    UserStatus,
)


class AtlasReader(Protocol):
    """The part that reads; it cannot delete."""

    async def projects(self, *, stable: bool = False) -> tuple[Project | ListUnreadable, ...]:
        """Return every project that the credentials can see, once each.

        With `stable`, a list of several pages is read until it does not change meanwhile.
        """
        ...

    async def invitations(
        self, project: Project, source: Source
    ) -> InvitationList | ListUnreadable | ProjectGone:
        """Return all invitations of one list, or why they are not known."""
        ...

    async def project_teams(self, project: Project) -> frozenset[str] | ListUnreadable:
        """Return the ids of all teams with access to a project, or why they are not known."""
        ...

    async def membership_status(self, invitation: Invitation) -> UserStatus | ListUnreadable:
        """Return the status of a user who is missing from a list of pending users."""
        ...

    async def active_members(self, org_id: str) -> frozenset[str] | ListUnreadable:
        """Return the folded usernames of all active members, or why they are not known."""
        ...


class Deleter(Protocol):
    """The part of the Atlas client that deletes; only a sweep has one."""

    def try_acquire(self, invitation: Invitation) -> float:
        """Acquire the tokens for one deletion and return 0.0, or return the seconds to wait."""
        ...

    async def delete(self, invitation: Invitation, progress: DeletionProgress) -> DeletionResult:
        """Delete one invitation after `try_acquire`; a failure is part of the result."""
        ...


class AtlasConnection(Protocol):
    """The Atlas client as a run uses it."""

    @property
    def reader(self) -> AtlasReader:
        """The part that reads; it cannot delete."""
        ...

    def deleter(self, sources: Iterable[Source]) -> Deleter:
        """Return the part that deletes from these lists; only a sweep calls it."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """Local time minus Atlas's; None while no response had a `Date` header."""
        ...

    @property
    def has_responded(self) -> bool:
        """Whether Atlas has returned any response."""
        ...

    def sunset(self, sources: Collection[Source]) -> date | None:
        """Return the first day on which Atlas stops serving something that these sources need."""
        ...

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The announced sunset of each source."""
        ...

    async def organization_names(self) -> Mapping[str, str]:
        """Return the names of the organizations, by id; failing to read them is not an error."""
        ...

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...]:
        """Return when the credentials' secrets expire; failing to read it is not an error."""
        ...

"""Who of the deleted people is invited again: read in each place who is there now.

A person who is invited or a member there already gets no invitation. Where that cannot be read, or
a project has moved to another organization, nothing is sent either.
"""

from collections.abc import Mapping, Sequence

import msgspec

from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import CredentialsRefused, GuardRefused
from invite_sweeper.models import Invitation, ListKey, ListUnreadable, MembershipStatus, Project
from invite_sweeper.names import casefold_lookalike
from invite_sweeper.restore.deletions import Deletions
from invite_sweeper.sweep.organization import AtlasOrganization


class Barred(Planned, frozen=True, kw_only=True):
    """A deletion that gets no invitation, and the reason."""

    reason: str


class Present(Planned, frozen=True, kw_only=True):
    """A deletion whose person is invited or a member already.

    Attributes:
        status_now: The person's `orgMembershipStatus` in the place; "" where Atlas sends none.
    """

    status_now: str


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore does; the result of `restore --dry-run`.

    Attributes:
        restores: The ids of the runs that are undone.
        to_invite: Who would be invited again.
        already_there: Who is invited or a member already.
        barred: Who gets no invitation: the list of members could not be read, or a project is
            in another organization now.
    """

    restores: tuple[str, ...]
    to_invite: tuple[Planned, ...]
    already_there: tuple[Present, ...]
    barred: tuple[Barred, ...]
    exit_code: int


async def plan_restore(
    organizations: Sequence[AtlasOrganization], deletions: Deletions
) -> RestorePlan:
    """Return who of the deleted people is not there, with one list read for each place.

    Raises:
        GuardRefused: The policy does not name an organization of the run.
        RunError: An error concerned the run, not one list.
    """
    by_id = {organization.id: organization for organization in organizations}
    deleted_in = {deletion.org_id for deletion in deletions.lines}
    unknown = sorted(deleted_in - by_id.keys())
    if unknown:
        raise GuardRefused(
            f"The policy does not name the organizations {', '.join(unknown)} of the run.",
            hint="Use the policy of that run.",
        )
    places = _PlacesNow()
    to_invite: list[Planned] = []
    already_there: list[Present] = []
    barred: list[Barred] = []
    for deletion in deletions.lines:
        organization = by_id[deletion.org_id]
        try:
            reason = await places.why_barred(deletion, organization.client.reader)
        except CredentialsRefused as error:
            raise error.of_variables(organization.variables) from error
        if reason:
            barred.append(deletion.as_event(Barred, rule=deletion.rule, reason=reason))
            continue
        status = places.status_of(deletion)
        if status is None:
            to_invite.append(deletion)
        else:
            present = deletion.as_event(Present, rule=deletion.rule, status_now=status)
            already_there.append(present)
    return RestorePlan(
        restores=deletions.run_ids,
        to_invite=tuple(to_invite),
        already_there=tuple(already_there),
        barred=tuple(barred),
        exit_code=int(ExitCode.PARTIAL if barred else ExitCode.DONE),
    )


class _PlacesNow:
    """The places of deletions as Atlas shows them now; each list is read once."""

    def __init__(self) -> None:
        self._owners: dict[str, Mapping[str, str]] = {}  # of projects, by organization
        self._people: dict[ListKey, Mapping[str, str]] = {}  # the status by folded name
        self._unreadable: dict[ListKey, ListUnreadable] = {}

    async def why_barred(self, deletion: Planned, reader: AtlasReader) -> str:
        """Read a place; return why no invitation can be sent there, "" if one can.

        Raises:
            RunError: A response concerned the run, not one list.
        """
        org_id = deletion.org_id
        if org_id not in self._owners:
            projects = await reader.projects()
            listed = [project for project in projects if isinstance(project, Project)]
            self._owners[org_id] = {project.id: project.org_id for project in listed}
        moved = _why_moved(deletion, self._owners[org_id])
        if moved:
            return moved
        place = deletion.list_key
        if place not in self._people and place not in self._unreadable:
            statuses = await reader.statuses(deletion)
            if isinstance(statuses, ListUnreadable):
                self._unreadable[place] = statuses
            else:
                self._people[place] = _by_lookalike(statuses)
        unreadable = self._unreadable.get(place)
        return unreadable.reason if unreadable is not None else ""

    def status_of(self, deletion: Planned) -> str | None:
        """Return the status of the person in a place that was read; None where it has no such."""
        return self._people[deletion.list_key].get(casefold_lookalike(deletion.username or ""))


def _by_lookalike(statuses: Mapping[str, str]) -> dict[str, str]:
    """Return the status by a name that others are the same as that look the same.

    Of two such names one may be an active member: that is the one to be loud about.
    """
    people: dict[str, str] = {}
    for username, status in statuses.items():
        name = casefold_lookalike(username)
        if people.get(name) != MembershipStatus.ACTIVE:
            people[name] = status
    return people


def _why_moved(invitation: Invitation, owners: Mapping[str, str]) -> str:
    """Return why an invitation would lead to another organization than it did; "" if not.

    A project that the credentials do not see is left to Atlas, which refuses it.

    Args:
        owners: The organization of each project that the credentials see.
    """
    linked = {project_id for project_id, _ in invitation.linked_projects}
    for project_id in sorted({*linked, invitation.scope_id}):
        owner = owners.get(project_id, invitation.org_id)
        if owner != invitation.org_id:
            return f"Project {project_id} belongs to organization {owner} now."
    return ""

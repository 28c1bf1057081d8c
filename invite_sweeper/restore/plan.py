"""Who of the deleted people is invited again: read in each place who is there now.

Of what a person lost, the organization comes first: its invitation brings the roles in projects,
too. A person who is there with all roles gets no invitation. One who is there with fewer, or whom
an invitation would cost other roles, is named, and so is a place that cannot be read.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import structs

from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import CredentialsRefused, GuardRefused
from invite_sweeper.models import (
    Invitation,
    Invitations,
    ListKey,
    ListUnreadable,
    MembershipStatus,
    PersonKey,
    Project,
    Source,
)
from invite_sweeper.restore.deletions import Deletions
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.text import shorten_list, visible_name

_THERE: Final = frozenset({MembershipStatus.PENDING.value, MembershipStatus.ACTIVE.value})
"""Who has one of these statuses cannot be invited. A new invitation replaces one that has ended.

Source: `createOrgUser` and `addGroupUsers` of the OpenAPI document.
"""
_MAX_NAMED: Final = 3
"""Roles and teams that one reason names."""
_DEFAULT_ROLE: Final = "ORG_MEMBER"
"""What a person who is invited to a project gets in its organization."""


class Barred(Planned, frozen=True, kw_only=True):
    """A deletion that gets no invitation, and the reason."""

    reason: str


class Present(Planned, frozen=True, kw_only=True):
    """A deletion whose person is invited or a member already, with all roles.

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
        barred: Who gets no invitation: roles are missing that Atlas adds to no person who is
            there, the list of members could not be read, or a project is gone.
    """

    restores: tuple[str, ...]
    to_invite: tuple[Planned, ...]
    already_there: tuple[Present, ...]
    barred: tuple[Barred, ...]
    exit_code: int


async def plan_restore(
    organizations: Sequence[AtlasOrganization], deletions: Deletions
) -> RestorePlan:
    """Return who of the deleted people is not there; each list is read at most once.

    Raises:
        GuardRefused: The policy does not name an organization of the run.
        RunError: An error concerned the run, not one list.
    """
    unknown = {lost.org_id for lost in deletions.lost} - {each.id for each in organizations}
    if unknown:
        raise GuardRefused(
            f"The policy does not name the organizations {', '.join(sorted(unknown))} of the run.",
            hint="Use the policy of that run.",
        )
    decisions: list[Planned] = []
    for organization in organizations:
        lost = [each for each in deletions.lost if each.org_id == organization.id]
        try:
            decisions += await _OrganizationPlanner(organization.client.reader).decide(lost)
        except CredentialsRefused as error:
            raise error.of_variables(organization.variables) from error
    barred = tuple(each for each in decisions if isinstance(each, Barred))
    return RestorePlan(
        restores=tuple(run.run_id for run in deletions.runs),
        to_invite=tuple(each for each in decisions if not isinstance(each, Present | Barred)),
        already_there=tuple(each for each in decisions if isinstance(each, Present)),
        barred=barred,
        exit_code=int(ExitCode.PARTIAL if barred else ExitCode.DONE),
    )


class _OrganizationPlanner:
    """Decides who is invited again to one organization and its projects, person by person.

    A decision is what a person lost: as it was lost, it is invited.
    """

    def __init__(self, reader: AtlasReader) -> None:
        self._reader = reader
        self._projects: dict[str, Project] = {}
        self._people: dict[ListKey, Invitations | ListUnreadable] = {}

    async def decide(self, lost: Sequence[Planned]) -> list[Planned]:
        """Return the decisions about what people lost, in the order of the people.

        Raises:
            RunError: A response concerned the run, not one list.
        """
        if not lost:
            return []
        projects = await self._reader.projects()
        self._projects = {each.id: each for each in projects if isinstance(each, Project)}
        by_person: defaultdict[PersonKey, list[Planned]] = defaultdict(list)
        for each in lost:
            by_person[each.person].append(each)
        decisions: list[Planned] = []
        for lost_by_person in by_person.values():
            decisions += await self._decide_person(lost_by_person)
        return decisions

    async def _decide_person(self, lost: Iterable[Planned]) -> list[Planned]:
        """Decide about what a person lost in each place."""
        decisions: list[Planned] = []
        membership: list[Planned] = []
        for each in lost:
            reason = self._why_impossible(each)
            if reason:
                decisions.append(_barred(each, reason))
            elif each.source.stands_for_itself:
                decisions.append(await self._decide_by(each, Source.USERS, each.source))
            else:
                membership.append(each)
        if membership:
            decisions += await self._decide_membership(membership)
        return decisions

    def _why_impossible(self, lost: Planned) -> str:
        """Return why no invitation can be sent, whoever is there; "" if one can."""
        if not visible_name(lost.username):  # earlier versions recorded a masked one
            return "The invitation had no username."
        if not lost.roles:
            return "The roles of the invitation are not known."
        if lost.source.is_organization_level:
            return ""
        project = self._projects.get(lost.place_id)
        if project is None:
            return f"Project {lost.place_id} is gone, or the credentials do not see it."
        if project.org_id != lost.org_id:
            return f"Project {project.id} belongs to organization {project.org_id} now."
        return ""

    async def _decide_membership(self, lost: Sequence[Planned]) -> list[Planned]:
        """Decide about what a person lost in the organization and as a user of its projects."""
        organization = Project.of_organization(lost[0].org_id)
        member = await self._find(organization, Source.ORG_USERS, lost[0].person)
        if isinstance(member, ListUnreadable):
            return [_barred(each, member.reason) for each in lost]
        if member is None or member.status not in _THERE:
            others = self._roles_beyond(lost, member) if member is not None else []
            if not others:
                return _with_projects(lost)
            reason = (
                "A new invitation would replace one that has ended and has "
                f"{shorten_list(others, _MAX_NAMED)}. Invite the person in Atlas."
            )
            return [_barred(each, reason) for each in lost]
        decisions: list[Planned] = []
        for each in lost:
            if each.source.is_organization_level:
                decisions.append(_judge(each, [member]))
            else:
                decisions.append(await self._decide_by(each, Source.USERS))
        return _with_projects(decisions)

    async def _decide_by(self, lost: Planned, *sources: Source) -> Planned:
        """Decide about what a person lost in a project, by these lists of it."""
        rows: list[Invitation] = []
        for source in sources:
            row = await self._find(lost.place, source, lost.person)
            if isinstance(row, ListUnreadable):
                return _barred(lost, row.reason)
            if row is not None and row.status in _THERE:
                rows.append(row)
        return _judge(lost, rows)

    def _roles_beyond(self, lost: Iterable[Planned], ended: Invitation) -> list[str]:
        """Return the roles and teams of an invitation that has ended which were not lost."""
        invited = {(ended.org_id, _DEFAULT_ROLE)}
        for each in lost:
            invited.update((each.place_id, name) for name in (*each.roles, *each.team_ids))
        in_organization = [(ended.org_id, name) for name in (*ended.roles, *ended.team_ids)]
        others: list[str] = []
        for place, name in (*in_organization, *ended.project_roles):
            if (place, name) not in invited:
                project = self._projects.get(place)
                others.append(f"{name} in {project.name}" if project is not None else name)
        return others

    async def _find(
        self, place: Project, source: Source, person: PersonKey
    ) -> Invitation | ListUnreadable | None:
        """Return the row of a person in a list, which is read once; None where it has none.

        Of two names that look the same one may be an active member: that is the one to find.
        """
        key = (source, place.org_id, place.id)
        if key not in self._people:
            self._people[key] = await self._reader.people(place, source)
        people = self._people[key]
        if isinstance(people, ListUnreadable):
            return people
        rows = (row for row in people if row.person == person)
        return max(rows, key=lambda row: row.status == MembershipStatus.ACTIVE, default=None)


def _judge(lost: Planned, rows: Sequence[Invitation]) -> Planned:
    """Decide about what a person lost in a place, by the rows of who is there now."""
    held = {name for row in rows for name in (*row.roles, *row.team_ids)}
    missing = [each for each in (*lost.roles, *lost.team_ids) if each not in held]
    is_active = any(row.status == MembershipStatus.ACTIVE for row in rows)
    status = MembershipStatus.ACTIVE if is_active else MembershipStatus.PENDING
    if rows and not missing:
        return lost.as_event(Present, rule=lost.rule, status_now=status)
    # An invitation of `invites` can be sent beside a pending one of another list.
    is_of_other_list = all(row.source != lost.source for row in rows)
    if not rows or (lost.source.stands_for_itself and is_of_other_list and not is_active):
        return lost
    return _barred(
        lost,
        f"There already ({status}), but without {shorten_list(missing, _MAX_NAMED)}: "
        "Atlas sends no second invitation. Add what is missing in Atlas.",
    )


def _barred(lost: Planned, reason: str) -> Barred:
    return lost.as_event(Barred, rule=lost.rule, reason=reason)


def _with_projects(decisions: Sequence[Planned]) -> list[Planned]:
    """Return the decisions about a person; one invitation brings the roles in projects, too.

    It is that to the organization, of what is decided alike.
    """
    for decision in decisions:
        if decision.source.is_organization_level and not isinstance(decision, Barred):
            alike = [each for each in decisions if type(each) is type(decision)]
            in_projects = [each for each in alike if each is not decision]
            whole = structs.replace(
                decision,
                project_roles=tuple(
                    (each.place_id, role) for each in in_projects for role in each.roles
                ),
                linked_projects=tuple(
                    (each.place_id, each.project_name or "") for each in in_projects
                ),
            )
            return [whole, *(each for each in decisions if each not in alike)]
    return list(decisions)

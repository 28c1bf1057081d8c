"""What there is to walk: projects in scope, organizations, and the lists of both. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from invite_sweeper.inventory import (
    Invitation,
    Place,
    Project,
    Source,
    Unreadable,
    organization_place,
)


@dataclass(frozen=True, slots=True)
class Territory:
    """What there is to walk.

    Attributes:
        projects: Those in scope, in Atlas's order.
        unreadable: Projects that were listed in a form that nobody can ask about.
        organizations: Those of the policy that own a project in sight, in that order.
        names: Of every project in sight, by id.
        in_scope: Ids of all projects that the policy speaks of, those of other shards too.
    """

    projects: tuple[Project, ...]
    unreadable: tuple[Unreadable, ...] = ()
    organizations: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    in_scope: frozenset[str] = frozenset()

    def places(self, sources: Iterable[Source]) -> tuple[Place, ...]:
        """Give the lists to read: an organization's first, then project by project."""
        wanted = tuple(sources)
        of_organizations = (
            organization_place(org_id, source)
            for source in wanted
            if source.of_organization
            for org_id in self.organizations
        )
        of_projects = (
            Place(project, source)
            for project in self.projects
            for source in wanted
            if not source.of_organization
        )
        return (*of_organizations, *of_projects)

    def part(self, holds: Callable[[str], bool]) -> "Territory":
        """Give the part of it whose projects' and organizations' ids are held.

        Names, and what is in scope, stay whole: an invitation may reach another part.
        """
        return replace(
            self,
            projects=tuple(p for p in self.projects if holds(p.id)),
            unreadable=tuple(u for u in self.unreadable if holds(u.project_id)),
            organizations=tuple(o for o in self.organizations if holds(o)),
        )

    def located(self, invitation: Invitation) -> Invitation:
        """Give an organization's invitation with the names of the projects that it reaches.

        It reaches outside where one of them is not in scope, or not in sight at all.
        """
        if not invitation.reaches:
            return invitation
        return invitation._replace(
            reaches=tuple((i, self.names.get(i, "")) for i, _ in invitation.reaches),
            reaches_outside=any(i not in self.in_scope for i, _ in invitation.reaches),
        )

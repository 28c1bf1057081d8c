"""Projects and lists that a run covers; shards."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.models import (
    Invitation,
    ListRef,
    ListUnreadable,
    Project,
    Source,
    organization_list_ref,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.text import ProjectPatterns, casefold_visible

# Which projects a policy speaks of. Pure.


class ProjectFilter:
    """The projects that a policy may touch: organizations, include, exclude, tags.

    It remembers which entries never matched a project, since a misspelt exemption that
    matches nothing looks just like one that works; and which organizations own none in sight.
    """

    def __init__(self, policy: Policy) -> None:
        self._organizations = policy.organization_ids
        self._organizations_without_projects = dict.fromkeys(
            each.id for each in policy.organizations
        )
        self._include = ProjectPatterns(policy.projects.include)
        self._exclude = ProjectPatterns(policy.projects.exclude, protects=True)
        self._tags = frozenset(
            (casefold_visible(key), casefold_visible(value))
            for key, value in dict(policy.projects.tags or {}).items()
        )
        self._unused_entries = {
            **{("projects.include", p): None for p in self._include.patterns if p != "*"},
            **{("projects.exclude", p): None for p in self._exclude.patterns},
        }

    def in_allowed_organization(self, project: Project) -> bool:
        """Tell whether the project belongs to an organization of the policy."""
        self._organizations_without_projects.pop(project.org_id, None)
        return project.org_id in self._organizations

    def includes(self, project: Project) -> bool:
        """Tell whether the policy may touch the project's invitations."""
        if not self.in_allowed_organization(project):
            return False
        included = self._matches("projects.include", self._include, project)
        excluded = self._matches("projects.exclude", self._exclude, project)
        tags = frozenset(
            (casefold_visible(key), casefold_visible(value)) for key, value in project.tags
        )
        return included and not excluded and self._tags <= tags

    def unused_entries(self) -> tuple[str, ...]:
        """Give a sentence for each organization and entry that fits none of the projects so far."""
        absent = (
            f"No project of organization {org_id} is in sight: check the id, and whose "
            "credentials these are."
            for org_id in self._organizations_without_projects
        )
        return (*absent, *self.unused_patterns())

    def unused_patterns(self) -> tuple[str, ...]:
        """Give a sentence for each entry that has matched none of the projects so far."""
        return tuple(
            f"{where} {pattern!r} matched no project." for where, pattern in self._unused_entries
        )

    def _matches(self, where: str, patterns: ProjectPatterns, project: Project) -> bool:
        hits = patterns.matching_patterns(project.id, project.name)
        for pattern in hits:
            self._unused_entries.pop((where, pattern), None)
        return bool(hits)


# What there is to walk: projects in scope, organizations, and the lists of both. Pure.


@dataclass(frozen=True, slots=True)
class RunScope:
    """What there is to walk.

    Attributes:
        projects: Those in scope, in Atlas's order.
        unreadable: Projects that were listed in a form that nobody can ask about.
        organizations: Those of the policy that own a project in sight, in that order.
        names: Of every project in sight, by id.
        in_scope: Ids of all projects that the policy speaks of, those of other shards too.
    """

    projects: tuple[Project, ...]
    unreadable: tuple[ListUnreadable, ...] = ()
    organizations: tuple[str, ...] = ()
    project_names: Mapping[str, str] = field(default_factory=dict)
    in_scope_ids: frozenset[str] = frozenset()

    def lists(self, sources: Iterable[Source]) -> tuple[ListRef, ...]:
        """Give the lists to read: an organization's first, then project by project."""
        wanted = tuple(sources)
        of_organizations = (
            organization_list_ref(org_id, source)
            for source in wanted
            if source.is_organization_level
            for org_id in self.organizations
        )
        of_projects = (
            ListRef(project, source)
            for project in self.projects
            for source in wanted
            if not source.is_organization_level
        )
        return (*of_organizations, *of_projects)

    def restricted_to(self, includes: Callable[[str], bool]) -> "RunScope":
        """Give the part of it whose projects' and organizations' ids are held.

        Names, and what is in scope, stay whole: an invitation may reach another part.
        """
        return replace(
            self,
            projects=tuple(p for p in self.projects if includes(p.id)),
            unreadable=tuple(u for u in self.unreadable if includes(u.project_id)),
            organizations=tuple(o for o in self.organizations if includes(o)),
        )

    def with_project_names(self, invitation: Invitation) -> Invitation:
        """Give an organization's invitation with the names of the projects that it reaches.

        It reaches outside where one of them is not in scope, or not in sight at all.
        """
        if not invitation.linked_projects:
            return invitation
        return invitation._replace(
            linked_projects=tuple(
                (i, self.project_names.get(i, "")) for i, _ in invitation.linked_projects
            ),
            links_out_of_scope=any(
                i not in self.in_scope_ids for i, _ in invitation.linked_projects
            ),
        )


# One of several runs that divide the projects between them. Pure.


MAX_SHARDS = 100
"""So many shards can share Atlas's smallest buckets (300, and 100 a minute), and each goes on."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, counted from 1.

    A project belongs to just one shard, whatever else there is: its id alone decides.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, *, completion_index: str | None = None) -> "Shard":
        """Read `I/N`, or `auto/N` where I is one above the index of an Indexed Job's pod.

        Raises:
            UsageFault: Not of that form, I is not from 1 to N, or there are too many.
        """
        first, slash, second = text.partition("/")
        if first == "auto" and completion_index is not None and completion_index.isdecimal():
            first = str(int(completion_index) + 1)
        whole = slash and all(part.isascii() and part.isdecimal() for part in (first, second))
        if not whole or not 1 <= int(first) <= int(second) <= MAX_SHARDS:
            raise UsageError(
                f"--shard {text!r} is no shard.",
                hint=f"Write I/N with I from 1 to N and N up to {MAX_SHARDS}, as 2/3; or auto/N inside "
                "an Indexed Job, which reads JOB_COMPLETION_INDEX.",
            )
        return cls(int(first), int(second))

    def includes(self, project_id: str) -> bool:
        """Tell whether the project belongs to this shard."""
        digest = hashlib.sha256(project_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def limits_for(self, limits: Limits) -> Limits:
        """Give this shard's part of the run's limits; the parts add up to the whole.

        What counts within one project, or relative to what is seen, stays as it is.
        """
        return limits.model_copy(
            update={
                "max_deletions": self._share(limits.max_deletions),
                "max_unreadable_projects": self._share(limits.max_unreadable_projects),
            }
        )

    def _share(self, total: int) -> int:
        return (total + self.count - self.index) // self.count

    @override
    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


# A scope that remembers what it left alone, for commands that tell of it.


class ReportingProjectFilter(ProjectFilter):
    """What a policy speaks of, and what it came by besides.

    Attributes:
        left_alone: Projects of the policy's organizations that it does not hold.
        foreign: Projects of other organizations that the credentials can see.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.excluded: list[Project] = []
        self.other_organizations: list[Project] = []

    @override
    def includes(self, project: Project) -> bool:
        included = super().includes(project)
        if not included:
            (
                self.excluded if self.in_allowed_organization(project) else self.other_organizations
            ).append(project)
        return included

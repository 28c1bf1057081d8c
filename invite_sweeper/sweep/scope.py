"""Which projects and lists a run covers: the policy's filters and the shard.

Nothing is deleted in a project that the policy leaves out, nor an invitation of the organization
that grants access to one, or may grant it. The lists of such a project are read only to keep
people.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec
from msgspec import structs
from typing_extensions import override

from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.models import Invitation, ListRef, ListUnreadable, Project, Source
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.text import IdsAndGlobs, casefold_visible, exact_glob, is_atlas_id


class ProjectFilter:
    """The policy's filter of projects: include, exclude, tags.

    It records which patterns matched no project, because a misspelt pattern looks like one
    that works.

    Attributes:
        names_projects_in_entries: A rule or keep entry has the key `projects`.
        only: What selects each project to which the operator narrows the scope; none without.
        unplaced_source: The source under which a project counts as unreadable whose organization
            is not known. `users`, where the policy reads it: the project may show any person, so
            the invitations of an organization are kept.
    """

    def __init__(self, policy: Policy, only: Iterable[str] = ()) -> None:
        projects = policy.projects
        self.only = {name: _named(name) for name in only}
        self._only_left = set(self.only)
        self._include = IdsAndGlobs(projects.include)
        self._exclude = IdsAndGlobs(projects.exclude, protects=True)
        self.names_projects_in_entries = any(
            clause.projects is not None for clause in (*policy.rules, *policy.keep)
        )
        reads_people = Source.USERS in policy.sources
        self.unplaced_source = Source.USERS if reads_people else Source.INVITES
        self._tags = _fold_tags(dict(projects.tags or {}).items())
        self._unused: dict[tuple[str, str], IdsAndGlobs] = {}
        for pattern in projects.include:
            if pattern != "*":  # the default, which cannot be misspelt
                self._unused["projects.include", pattern] = IdsAndGlobs([pattern])
        for pattern in projects.exclude:
            self._unused["projects.exclude", pattern] = IdsAndGlobs([pattern], protects=True)

    def includes(self, project: Project) -> bool:
        """Return whether a project of the policy's organizations is in its scope."""
        for key, pattern in tuple(self._unused.items()):
            if pattern.matches(project.id, project.name):
                del self._unused[key]
        included = self._include.matches(project.id, project.name)
        excluded = self._exclude.matches(project.id, project.name)
        has_tags = not self._tags or self._tags <= _fold_tags(project.tags)
        in_policy = included and not excluded and has_tags
        return in_policy and (not self.only or self._is_wanted(project))

    def _is_wanted(self, project: Project) -> bool:
        """Return whether the operator narrowed the scope to a project, which is found then."""
        found = {name for name, one in self.only.items() if one.matches(project.id, project.name)}
        self._only_left -= found
        return bool(found)

    def check_found(self) -> None:
        """Raise GuardRefused if the operator named a project that no organization has in scope."""
        if self._only_left:
            names = ", ".join(map(repr, sorted(self._only_left)))
            raise GuardRefused(
                f"No project in the policy's scope is named {names}.",
                hint="Give --project the name or the id of a project that the policy includes.",
                reasons=(Reason.NO_VISIBLE_PROJECT,),
            )

    def unused_patterns(self) -> tuple[str, ...]:
        """Return a warning for each pattern that has matched no project so far."""
        return tuple(f"{where} {pattern!r} matched no project." for where, pattern in self._unused)


def _named(name: str) -> IdsAndGlobs:
    """Return what selects a project by its id, or by exactly its name."""
    return IdsAndGlobs([name if is_atlas_id(name.strip().lower()) else exact_glob(name)])


def _fold_tags(tags: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((casefold_visible(key), casefold_visible(value)) for key, value in tags)


class RunScope(msgspec.Struct, frozen=True, dict=True):
    """The projects of one organization that a run sees, and its lists.

    Attributes:
        projects: Those in scope, in Atlas's order.
        excluded: Those that the policy's filter leaves out.
        moving: Those that would be in scope, but another organization shows them, too.
        team_projects: Those whose teams must be known to decide about an invitation with a team:
            `excluded`, and all of them if rules or keep entries name projects.
        unreadable: Projects that Atlas listed with an invalid id, and the list of projects if it
            changed while it was read: they may be of any organization.
        is_narrowed: The operator narrowed the run to some projects.
        project_names: Of every project that the credentials see, by id.
    """

    org_id: str
    projects: Sequence[Project] = ()
    excluded: Sequence[Project] = ()
    moving: Sequence[Project] = ()
    team_projects: Sequence[Project] = ()
    unreadable: Sequence[ListUnreadable] = ()
    project_names: Mapping[str, str] = {}
    is_narrowed: bool = False

    @property
    def projects_seen(self) -> int:
        """How many projects are in scope, those that cannot be read included."""
        return len(self.projects) + len(self.moving) + len(self.unreadable)

    def lists(self, sources: Iterable[Source]) -> list[ListRef]:
        """Return the lists to read: first those of the organization, then project by project.

        Where a list of the organization is read, the `users` of `excluded` projects follow. They
        are read only to keep: a DELETE in the organization would end the roles there.
        """
        of_organization: list[Source] = []
        of_projects: list[Source] = []
        for source in sources:
            if source.is_organization_level:
                of_organization.append(source)
            else:
                of_projects.append(source)
        organization = Project.of_organization(self.org_id)
        lists = [ListRef(organization, source) for source in of_organization]
        for project in self.projects:
            lists += [ListRef(project, source) for source in of_projects]
        if of_organization and Source.USERS in of_projects:
            lists += [ListRef(project, Source.USERS) for project in self.excluded]
        return lists

    def unread(self, sources: Iterable[Source]) -> Iterator[ListUnreadable]:
        """Yield the projects and lists that count as unreadable without being read."""
        yield from self.unreadable
        of_projects = [source for source in sources if not source.is_organization_level]
        for project in self.moving:
            for source in of_projects:
                yield ListUnreadable(
                    project.id, project.name, _MOVING, source=source, org_id=self.org_id
                )

    def is_outside(self, ref: ListRef) -> bool:
        """Return whether a list is read only to keep."""
        return ref.project.id in self._outside

    @cached_property
    def _outside(self) -> frozenset[str]:
        return frozenset(project.id for project in self.excluded)

    @cached_property
    def _in_scope(self) -> frozenset[str]:
        return frozenset(project.id for project in self.projects)

    def outside_names(self, entries: Iterable[Invitation]) -> tuple[str, ...]:
        """Return the names of the projects out of scope to which some entries give access.

        Where no such project is known, a team may have access to one: then the ids of their teams.
        """
        names: dict[str, str] = {}
        teams: dict[str, str] = {}
        for entry in entries:
            teams |= {id_: f"team {id_}" for id_ in entry.team_ids}
            projects = list(entry.linked_projects)
            if entry.project_id is not None:
                projects.append((entry.project_id, entry.project_name or ""))
            for id_, name in projects:
                if id_ not in self._in_scope:
                    names[id_] = name or self.project_names.get(id_) or id_
        return tuple((names or teams).values())

    def depends_on_teams(self, invitation: Invitation) -> bool:
        """Return whether the projects of its teams can make a difference to an invitation."""
        if not invitation.team_ids:
            return False
        return not self.with_links(invitation, {}).links_out_of_scope

    def with_links(
        self, invitation: Invitation, teams: Mapping[str, frozenset[str] | ListUnreadable]
    ) -> Invitation:
        """Return an organization's invitation with the names of all projects that it links.

        `links_out_of_scope` is set if one of them is not in scope or not visible, or if it is
        unknown which projects a team has access to.

        Args:
            teams: The ids of the teams of each of `team_projects`, by project id.
        """
        linked = dict(invitation.linked_projects)
        own_teams = frozenset(invitation.team_ids)
        if not linked and not own_teams:
            # A run that is narrowed to some projects is not about people without a project.
            is_outside = invitation.links_out_of_scope or self.is_narrowed
            return structs.replace(invitation, links_out_of_scope=is_outside)
        may_reach_outside = invitation.links_out_of_scope
        if own_teams:
            # A team may have access to a project that cannot be read, or whose teams cannot.
            if self.unreadable or self.moving:
                may_reach_outside = True
            for project_id, team_ids in teams.items():
                if isinstance(team_ids, ListUnreadable):
                    may_reach_outside = True
                elif not own_teams.isdisjoint(team_ids):
                    linked[project_id] = ""
        reaches_outside = not linked.keys() <= self._in_scope
        return structs.replace(
            invitation,
            linked_projects=tuple((id_, self.project_names.get(id_, "")) for id_ in linked),
            links_out_of_scope=may_reach_outside or reaches_outside,
        )


_MOVING: Final = "Two organizations show the project: it is being moved."


def leave_out_moving(scopes: Sequence[RunScope]) -> list[RunScope]:
    """Return the scopes of a run without the projects that two organizations show: they move.

    Atlas moves a project while a run reads, so that both may list it. Its invitations would be
    counted in both, and get two DELETEs.
    """
    times_shown = Counter[str]()
    for scope in scopes:
        times_shown.update(project.id for project in (*scope.projects, *scope.excluded))
    left: list[RunScope] = []
    for scope in scopes:
        moving = [project for project in scope.projects if times_shown[project.id] > 1]
        staying = [project for project in scope.projects if project not in moving]
        left.append(structs.replace(scope, projects=staying, moving=moving))
    return left


def unmatched_organizations(policy: Policy, names: Collection[str]) -> Iterator[str]:
    """Yield a warning for each glob in `organizations` that is the name of no organization.

    Args:
        names: Those of all organizations of the policy.
    """
    all_names = ", ".join(repr(name) for name in sorted(names))
    for clause in (*policy.rules, *policy.keep):
        is_keep = isinstance(clause, Keep)
        for pattern in clause.organizations or ():
            globs = IdsAndGlobs([pattern], protects=is_keep)
            is_matched = any(globs.matches("", name) for name in names)
            if is_matched or not globs.has_globs:  # an id is checked with the policy
                continue
            kind = "keep entry" if is_keep else "rule"
            yield (
                f"The {kind} {clause.name!r} is for the organization {pattern!r}, and none of "
                f"the policy has that name: {all_names}."
            )


def scope_sha256(policy: Policy, only: Iterable[str] = ()) -> str:
    """Return a hash of what a run reads in each of its organizations: projects and sources.

    Two runs with the same scope see the same invitations, also with other rules.
    """
    projects = policy.projects
    # Sorted and folded, so that another order or spelling of the same is the same scope.
    include = sorted(set(map(casefold_visible, projects.include)))
    exclude = sorted(set(map(casefold_visible, projects.exclude)))
    tags = sorted(_fold_tags(dict(projects.tags or {}).items()))
    parts = [include, exclude, tags, sorted(policy.sources)]
    narrowed = sorted(set(map(casefold_visible, only)))
    if narrowed:
        parts.append(narrowed)
    text = json.dumps(parts)
    return hashlib.sha256(text.encode()).hexdigest()


_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Shard(msgspec.Struct, frozen=True):
    """Shard `index` of `count`, counted from 1, of the policy's organizations.

    They are dealt out in the order of the policy: one that is added at the end leaves the
    others in their shards, whose audit directories have their history.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, *, completion_index: str | None = None) -> "Shard | None":
        """Parse `I/N`, or `auto/N`, where I is the completion index of an Indexed Job plus 1.

        Returns:
            None for `1/1`: all organizations.

        Raises:
            UsageError: The format is wrong, or I is not from 1 to N.
        """
        written_index, _, written_count = text.partition("/")
        is_auto = written_index == "auto"
        if is_auto:
            written_index = completion_index or ""
        if _NUMBER.fullmatch(written_index) and _NUMBER.fullmatch(written_count):
            index = int(written_index) + int(is_auto)  # Kubernetes counts from 0
            count = int(written_count)
            if 1 <= index <= count:
                return cls(index, count) if count > 1 else None
        raise UsageError(
            f"--shard {text!r} is not valid.",
            hint="Write I/N with I from 1 to N, such as 2/3, or auto/N inside an Indexed Job, "
            "which reads JOB_COMPLETION_INDEX.",
        )

    def part_of_policy(self, policy: Policy) -> Policy:
        """Return the policy for this shard's organizations; maybe none."""
        organizations = policy.organizations[self.index - 1 :: self.count]
        return policy.model_copy(update={"organizations": organizations})

    def part_of(self, total: int) -> int:
        """Return this shard's part of a number; the parts of all shards add up to it.

        A shard does not know what the others find, so the parts are equal. What remains is for the
        first shards: 10 in 3 shards are 4, 3 and 3.
        """
        return (total + self.count - self.index) // self.count

    @override
    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

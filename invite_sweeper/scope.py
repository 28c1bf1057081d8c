"""Which projects a policy speaks of. Pure."""

from invite_sweeper.inventory import Project
from invite_sweeper.matching import Globs, fold
from invite_sweeper.policy import Policy


class Scope:
    """The projects that a policy may touch: organizations, include, exclude, tags.

    It remembers which entries never matched a project, since a misspelt exemption that
    matches nothing looks just like one that works; and which organizations own none in sight.
    """

    def __init__(self, policy: Policy) -> None:
        self._organizations = policy.organization_ids
        self._out_of_sight = dict.fromkeys(each.id for each in policy.organizations)
        self._include = Globs(policy.projects.include)
        self._exclude = Globs(policy.projects.exclude)
        self._tags = frozenset(
            (fold(key), fold(value)) for key, value in dict(policy.projects.tags or {}).items()
        )
        self._unmatched = {
            **{("projects.include", p): None for p in self._include.patterns if p != "*"},
            **{("projects.exclude", p): None for p in self._exclude.patterns},
        }

    def owns(self, project: Project) -> bool:
        """Tell whether the project belongs to an organization of the policy."""
        self._out_of_sight.pop(project.org_id, None)
        return project.org_id in self._organizations

    def holds(self, project: Project) -> bool:
        """Tell whether the policy may touch the project's invitations."""
        if not self.owns(project):
            return False
        included = self._matches("projects.include", self._include, project)
        excluded = self._matches("projects.exclude", self._exclude, project)
        tags = frozenset((fold(key), fold(value)) for key, value in project.tags)
        return included and not excluded and self._tags <= tags

    def unmatched(self) -> tuple[str, ...]:
        """Give a sentence for each organization and entry that fits none of the projects so far."""
        absent = (
            f"No project of organization {org_id} is in sight: check the id, and whose "
            "credentials these are."
            for org_id in self._out_of_sight
        )
        return (*absent, *self.unmatched_globs())

    def unmatched_globs(self) -> tuple[str, ...]:
        """Give a sentence for each entry that has matched none of the projects so far."""
        return tuple(
            f"{where} {pattern!r} matched no project." for where, pattern in self._unmatched
        )

    def _matches(self, where: str, globs: Globs, project: Project) -> bool:
        hits = globs.matching(project.name) + globs.matching(project.id)
        for pattern in hits:
            self._unmatched.pop((where, pattern), None)
        return bool(hits)

"""What `doctor` asks of Atlas: GETs alone, and what they tell."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

from invite_sweeper.atlas import AtlasClient
from invite_sweeper.cli.noting import NotingScope
from invite_sweeper.doctor import (
    Check,
    atlas_trouble,
    clock_check,
    count_lists,
    coverage_checks,
    list_checks,
    ok,
    organization_checks,
    rate_limit_checks,
    sunset_checks,
    warning,
)
from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Project, Source
from invite_sweeper.plural import counted
from invite_sweeper.policy import Execution, Policy
from invite_sweeper.territory import Territory
from invite_sweeper.walk import survey

_DEFAULT_SOURCES = (Source.INVITES,)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit to Atlas.

    Attributes:
        policy: None where it has faults; then only what needs none is looked at.
    """

    connection: AtlasClient
    policy: Policy | None
    now: datetime

    async def checks(self) -> AsyncIterator[Check]:
        """Give one line after another; trouble ends it with a line of its own."""
        try:
            if self.policy is None:
                yield await self._in_sight()
            else:
                async for found in self._by_policy(self.policy):
                    yield found
            yield clock_check(self.connection.clock_skew_s)
            async for found in self._of_rate_limits():
                yield found
        except RunError as error:
            yield atlas_trouble(error)

    async def _in_sight(self) -> Check:
        seen = [each async for each in self.connection.reader.projects()]
        owners = sorted({each.org_id for each in seen if isinstance(each, Project)})
        return ok(
            "organizations",
            f"Atlas takes the credentials; {counted(len(seen), 'project')} "
            f"of {', '.join(owners) or 'none'}.",
        )

    async def _by_policy(self, policy: Policy) -> AsyncIterator[Check]:
        scope = NotingScope(policy)
        territory = await survey(self.connection.reader, scope)
        yield ok("access list", "Atlas takes the credentials from this address.")
        for found in organization_checks(policy, territory, scope.foreign):
            yield found
        for sentence in scope.unmatched_globs():
            yield warning("policy", sentence)
        async for found in self._of_lists(policy, territory, scope):
            yield found

    async def _of_lists(
        self, policy: Policy, territory: Territory, scope: NotingScope
    ) -> AsyncIterator[Check]:
        reader, workers = self.connection.reader, policy.execution.concurrency
        sources = tuple(policy.sources)
        others = [source for source in Source if source not in sources]
        covered = await count_lists(reader, territory.places(sources), workers=workers)
        covered.unreadable.extend(territory.unreadable)
        for found in list_checks(sources, covered, policy.limits):
            yield found
        unnamed = await count_lists(reader, territory.places(others), workers=workers)
        apart = replace(territory, projects=tuple(scope.left_alone), organizations=())
        outside = await count_lists(reader, apart.places(sources), workers=workers)
        in_scope = len(territory.projects)
        for found in coverage_checks(in_scope, scope.left_alone, outside, covered, unnamed):
            yield found
        for found in sunset_checks(self.connection.sunsets, sources, self.now.date()):
            yield found

    async def _of_rate_limits(self) -> AsyncIterator[Check]:
        policy = self.policy
        sources = tuple(policy.sources) if policy is not None else _DEFAULT_SOURCES
        reserve = (policy.execution if policy is not None else Execution()).reserve
        told = await self.connection.reader.rate_limits()
        for found in rate_limit_checks(told, sources, reserve):
            yield found

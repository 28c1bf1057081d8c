"""All checks of one set of credentials that call Atlas, with GET requests only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from invite_sweeper.atlas import RateLimitedAtlasClient
from invite_sweeper.audit import History
from invite_sweeper.doctor import atlas, organization, setup
from invite_sweeper.doctor.diagnosis import Check, Completeness, ok, warning
from invite_sweeper.doctor.outputs import population_check
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListUnreadable, Population, Project, Source, UserKey
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.discovery import ListCounts, count_lists, discover_projects
from invite_sweeper.sweep.members import read_members
from invite_sweeper.sweep.scope import ReportingProjectFilter, RunScope, scope_sha256
from invite_sweeper.sweep.sunset import announced_ends, ended_lists
from invite_sweeper.text import organization_label, pluralize

_DEFAULT_SOURCES = (Source.INVITES,)


@dataclass(slots=True)
class AtlasChecks:
    """The checks of one set of credentials.

    Attributes:
        policy: None if it is invalid; then only checks that do not need it run.
        history: Of the audit log; an empty one if it cannot be read.
        base_url: Of the Atlas API, as the log records it.
        names: Of the organizations that the credentials can see, by id; set by `run`.
        completeness: Of each organization whose events could be read; set by `run`.
        found: The checks so far.
    """

    connection: RateLimitedAtlasClient
    policy: Policy | None
    now: datetime
    history: History
    base_url: str
    names: Mapping[str, str] = field(default_factory=dict)
    completeness: list[Completeness] = field(default_factory=list)
    found: list[Check] = field(default_factory=list)

    async def run(self) -> Sequence[Check]:
        """Return each check; an error is the last one."""
        try:
            if self.policy is None:
                self.found.append(await self._visible_organizations())
            else:
                await self._check_policy(self.policy)
            self.found.append(atlas.clock_check(self.connection.clock_skew_s))
        except RunError as error:
            self.found.append(setup.atlas_error_check(error))
        return self.found

    async def _visible_organizations(self) -> Check:
        projects = await self.connection.reader.projects()
        self.names = names = await self.connection.organization_names()
        ids = sorted({each.org_id for each in projects if isinstance(each, Project)})
        organizations = [organization_label(each, names.get(each)) for each in ids]
        return ok(
            "organizations",
            f"Atlas accepts the credentials; {pluralize(len(projects), 'project')} visible, "
            f"organizations: {', '.join(organizations) or 'none'}.",
        )

    async def _check_policy(self, policy: Policy) -> None:
        project_filter = ReportingProjectFilter(policy)
        scope = await discover_projects(self.connection.reader, project_filter)
        self.found.append(ok("access list", "Atlas accepts the credentials from this IP address."))
        self.names = names = await self.connection.organization_names()
        others = project_filter.other_organizations
        self.found += setup.organization_checks(policy, scope, others, names)
        earlier = self.history.members(self.base_url)
        members = await read_members(self.connection.reader, policy, earlier)
        labels = {each: organization_label(each, names.get(each)) for each in scope.organizations}
        self.found += organization.member_checks(members, earlier, policy.limits, labels)
        self.found += (warning("policy", each) for each in project_filter.unused_patterns())
        await self._check_lists(policy, scope, project_filter)

    async def _check_lists(
        self, policy: Policy, scope: RunScope, project_filter: ReportingProjectFilter
    ) -> None:
        reader, workers = self.connection.reader, policy.execution.concurrency
        sources = tuple(policy.sources)
        others = [source for source in Source if source not in sources]
        covered_counts = await count_lists(reader, scope.lists(sources), workers=workers)
        covered_counts.unreadable.extend(scope.unreadable)
        ends = announced_ends(self.history.sunsets(self.base_url), self.connection.sunsets)
        ended = ended_lists(ends, self.now.date())
        other_counts = await count_lists(reader, scope.lists(others), workers=workers)
        self.found += atlas.list_checks(sources, covered_counts, policy.limits, ended, other_counts)
        self.found.append(self._population_check(policy, scope, covered_counts))
        excluded_scope = replace(scope, projects=tuple(project_filter.excluded), organizations=())
        excluded_counts = await count_lists(reader, excluded_scope.lists(sources), workers=workers)
        in_scope = len(scope.projects)
        self.found += atlas.coverage_checks(
            in_scope, project_filter.excluded, excluded_counts, covered_counts, other_counts
        )
        self.found += atlas.sunset_checks(self.connection.sunsets, sources, self.now.date())
        every = (covered_counts, other_counts, excluded_counts)
        for org_id in scope.organizations:
            await self._check_organization(org_id, every)
        expiries = await reader.secret_expiries(scope.organizations[0])
        if isinstance(expiries, ListUnreadable):
            self.found.append(organization.unreadable_check("secret", expiries))
        elif check := organization.secret_check(expiries, self.now):
            self.found.append(check)

    def _population_check(self, policy: Policy, scope: RunScope, counts: ListCounts) -> Check:
        previous = self.history.population(
            scope_sha256=scope_sha256(policy),
            organizations=policy.organization_ids,
            base_url=self.base_url,
        )
        found = {source.value: count for source, count in counts.pending.items()}
        current = Population(len(scope.projects), scope.visible_projects(), found)
        unread = {each.source for each in counts.unreadable} | counts.retired.keys()
        # Which lists were left out is not known.
        unknown = policy.sources if counts.skipped else unread
        return population_check(previous, current, policy.limits, frozenset(unknown))

    async def _check_organization(self, org_id: str, every: Sequence[ListCounts]) -> None:
        """Check what Atlas knows of an organization beyond its lists."""
        reader = self.connection.reader
        listed = frozenset[UserKey]().union(*(u for c in every for u in c.users.values()))
        events = await reader.invitation_events(
            org_id, self.now - timedelta(days=organization.EVENT_DAYS)
        )
        if isinstance(events, ListUnreadable):
            self.found.append(organization.unreadable_check("events", events))
        else:
            complete = not any(each.unreadable or each.skipped for each in every)
            found = organization.explain_invited(
                org_id, events, listed, self.history.is_gone, lists_complete=complete
            )
            self.completeness.append(found)
            self.found.append(organization.completeness_check(found))
        domains = await reader.allowed_domains(org_id)
        if isinstance(domains, ListUnreadable):
            self.found.append(organization.unreadable_check("domains", domains))
        else:
            self.found.append(organization.domain_check(domains, org_id, listed))

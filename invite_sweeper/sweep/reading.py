"""Read organizations: projects, lists, members; decide their invitations, and settle what is open.

Sets of credentials are read at the same time, a few at once. An organization that fails is a
value, and loses nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from invite_sweeper.audit import AuditLog
from invite_sweeper.endings import Reason, RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, CredentialsRefused, Interrupted, RunError
from invite_sweeper.models import InvitationList, ListUnreadable, Outcome, Source
from invite_sweeper.shutdown import NOTHING_DELETED
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import (
    ListedInvitations,
    ListOutcome,
    discover_projects,
    list_invitations,
)
from invite_sweeper.sweep.guards import check_clock, check_gone, check_population
from invite_sweeper.sweep.members import judges_by_members, read_members
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.plan import Observer, Planner
from invite_sweeper.sweep.recovery import Recovery
from invite_sweeper.sweep.result import Result, View
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.sweep.steps import Step
from invite_sweeper.sweep.sunset import (
    announced_ends,
    ended_lists,
    retired_warning,
    secret_warnings,
    sunset_warnings,
)

_AT_A_TIME: Final = 4
"""Sets of credentials that are read at the same time; together they have
`execution.concurrency` requests in flight."""


class Reader:
    """Reads the organizations of a command into their counts and `stale`.

    Args:
        organizations: Those with the same client share their credentials.
        log: None for a dry run that writes nothing.
        more_steps: Further steps of the plan, after those of the command.
        observe: Sees each invitation.
    """

    def __init__(
        self,
        command: Command,
        organizations: Sequence[Organization],
        log: AuditLog | None,
        result: Result,
        view: View,
        more_steps: Iterable[Step | None] = (),
        observe: Observer | None = None,
    ) -> None:
        self._command = command
        self._log = log
        self._result = result
        self._view = view
        self._observe = observe
        self._steps = (*command.steps(), *(each for each in more_steps if each is not None))
        self._opened = {} if command.dry_run else command.history.open_intents(command.base_url)
        self._before = command.before
        self._earlier_members = (
            {} if command.accept_population else command.history.members(command.base_url)
        )
        self._claimed: dict[str, str] = {}  # the organization of each project
        self._unused: list[frozenset[str]] = []
        self._organizations = organizations
        clients: defaultdict[int, list[Organization]] = defaultdict(list)
        for each in organizations:
            clients[id(each.client)].append(each)
        self._by_client = tuple(clients.values())
        execution = command.policy.execution
        # A ceiling of one's own holds for all requests together: each client counts alone.
        at_a_time = 1 if execution.max_requests_per_second else _AT_A_TIME
        at_a_time = min(at_a_time, len(self._by_client), execution.concurrency)
        self._at_a_time = asyncio.Semaphore(max(1, at_a_time))
        self.workers = max(1, execution.concurrency // max(1, at_a_time))

    async def read_all(self) -> None:
        """Read every organization.

        Raises:
            RunError: The audit log failed, or a stop was requested. Nothing was deleted.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read_client(each)) for each in self._by_client]
        finally:
            self._report_ends()
        for task in tasks:
            if (error := task.result()) is not None:
                raise error
        self._warn_about_patterns()

    async def _read_client(self, organizations: Sequence[Organization]) -> RunError | None:
        """Read the organizations of one set of credentials; return an error of the whole run."""
        try:
            async with self._at_a_time:
                try:
                    await self._list_projects(organizations)
                except RunError as error:
                    self._fail(organizations, error)
                for each in organizations:
                    if each.is_planned:
                        await self._read_or_fail(each)
        except RunError as error:
            return error
        return None

    async def _read_or_fail(self, organization: Organization) -> None:
        try:
            await self._read(organization)
        except RunError as error:
            self._fail([organization], error)

    def _fail(self, organizations: Sequence[Organization], error: RunError) -> None:
        """Record an error of organizations; raise one that concerns the whole run."""
        if isinstance(error, (AuditLogError, Interrupted)):
            raise error
        if isinstance(error, CredentialsRefused):
            error.name_variables(organizations[0].variables)
        if len(self._organizations) > 1:
            names = ", ".join(each.label for each in organizations)
            noun = "Organization" if len(organizations) == 1 else "Organizations"
            error.message = f"{noun} {names}: {error.message}"
            if error.consequence == NOTHING_DELETED:
                error.consequence = "Nothing was deleted there."
        for each in organizations:
            each.error = error
            each.stale.clear()

    async def _list_projects(self, organizations: Sequence[Organization]) -> None:
        """List the projects of one set of credentials, and give each organization its own."""
        policy, first = self._command.policy, organizations[0]
        client, ids = first.client, frozenset(each.id for each in organizations)
        project_filter = ProjectFilter(policy, ids)
        scope = await discover_projects(client.reader, project_filter)
        check_clock(client.clock_skew_s)
        self._unused.append(frozenset(project_filter.unused_patterns()))
        names, expiries = await asyncio.gather(
            client.organization_names(), client.secret_expiries(scope.organizations[0])
        )
        self._result.warn(*secret_warnings(expiries, self._command.now))
        unread = Source.USERS if Source.USERS in policy.sources else Source.INVITES
        # Of an organization that is not known: none of these knows all its people.
        unreadable = tuple(replace(each, source=unread) for each in scope.unreadable)
        scope = replace(scope, unreadable=unreadable)
        for each in organizations:
            each.name = names.get(each.id, each.name)
            each.visible = each.id in scope.organizations
            each.scope = self._part(scope, each)
            each.count(projects_seen=len(each.scope.projects))
        for project in unreadable:  # counted once
            first.count(projects_seen=1)
            await self._planner(first).add(project)
        self._report_absent([each for each in organizations if not each.visible])

    def _part(self, scope: RunScope, organization: Organization) -> RunScope:
        """Return the projects of one organization; one that moved meanwhile is read once."""
        org_id, projects = organization.id, []
        for project in scope.projects:
            if project.org_id != org_id:
                continue
            if self._claimed.setdefault(project.id, org_id) == org_id:
                projects.append(project)
            else:
                text = (
                    f"Moved between two organizations, and read in the first alone: {project.id}."
                )
                self._result.warn_of(WarningCode.MOVED_PROJECT, text)
        return replace(
            scope,
            projects=tuple(projects),
            excluded=tuple(each for each in scope.excluded if each.org_id == org_id),
            team_projects=tuple(each for each in scope.team_projects if each.org_id == org_id),
            organizations=(org_id,) if org_id in scope.organizations else (),
        )

    def _report_absent(self, organizations: Iterable[Organization]) -> None:
        for each in organizations:
            variables = " and ".join(each.variables)
            which = f" with the credentials of {variables}" if variables else ""
            self._result.warn_of(
                WarningCode.ABSENT_ORGANIZATION,
                f"No project of organization {each.label} is visible{which}: check the id, and "
                "that the credentials belong to it.",
            )

    async def _read(self, organization: Organization) -> None:
        """Read the lists of one organization, settle what is open there, and plan."""
        scope = organization.scope
        assert scope is not None  # noqa: S101 - its projects were listed
        policy, reader = self._command.policy, organization.client.reader
        await self._read_members(organization)
        planner = self._planner(organization)
        recovery = None
        if self._log is not None:
            recovery = Recovery(reader, self._log, self._opened.get(organization.id, ()))
        self._view.lists_found(len(scope.lists(policy.sources)), organization.label)

        async def add_list(outcome: ListOutcome) -> None:
            if recovery is not None and isinstance(outcome, ListedInvitations):
                await recovery.settle(outcome.list_ref, InvitationList(outcome.invitations))
            await planner.add(outcome)
            self._view.list_done()

        try:
            warnings = await list_invitations(
                reader, scope, policy.sources, add_list, workers=self.workers
            )
            self._result.warn_of(WarningCode.TEAMS, *warnings)
            if recovery is not None:
                await recovery.settle_rest()
        finally:
            if recovery is not None:
                self._report_recovery(organization, recovery)
        planner.finish()
        if not self._command.accept_population:
            check_gone(organization, policy.limits)
        if self._before is not None:
            check_population([organization], self._before, policy)

    def _planner(self, organization: Organization) -> Planner:
        command, policy = self._command, self._command.policy
        members = {organization.id: organization.members} if organization.members else {}
        return Planner(
            organization,
            self._log,
            Selector(policy, command.now, members),
            command.now,
            self._steps,
            announces=not command.dry_run,
            records_kept=policy.audit.record == "all",
            streams=not any(each.is_organization_level for each in policy.sources),
            observe=self._observe,
        )

    async def _read_members(self, organization: Organization) -> None:
        policy = self._command.policy
        if not judges_by_members(policy):
            return
        found = await read_members(
            organization.client.reader,
            organization.id,
            earlier=self._earlier_members.get(organization.id, 0),
            limits=policy.limits,
        )
        if isinstance(found, ListUnreadable):
            self._result.warn_of(
                WarningCode.MEMBERS,
                f"The active members of the organization {organization.label} are not known: "
                f"{found.reason.rstrip('.')}. Nothing is deleted there by inviter_gone.",
            )
        else:
            organization.members = found

    def _report_recovery(self, organization: Organization, recovery: Recovery) -> None:
        """Count what an interrupted run left open, and report members whom it removed."""
        unknown = 0
        for opened, outcome in recovery.outcomes:
            organization.count(recovered=1)
            if outcome is Outcome.ACCEPTED_DURING:
                self._result.removed_member(opened.intent)
                if Reason.REMOVED_MEMBER not in self._result.stopped_by:
                    self._result.stopped_by.append(Reason.REMOVED_MEMBER)
            unknown += outcome is Outcome.UNKNOWN and opened.run.mode != "restore"
        self._result.unverified(unknown)
        self._result.warn_of(WarningCode.RECOVERY, *recovery.left_open)

    def _warn_about_patterns(self) -> None:
        """Warn about patterns that matched no project in any organization."""
        if len(self._unused) == len(self._by_client):  # else they may match where nothing was read
            unused = frozenset.intersection(*self._unused)
            self._result.warn(
                *(
                    RunWarning(WarningCode.UNUSED_PATTERN, each, WarningLevel.REMARK)
                    for each in sorted(unused)
                )
            )

    def _report_ends(self) -> None:
        """Report lists that Atlas has retired or will retire soon.

        One that is retired before the announced day is a reason of the run's end.
        """
        command, result = self._command, self._result
        today, sources = command.now.date(), command.policy.sources
        sunsets = {s: day for each in self._organizations for s, day in each.client.sunsets.items()}
        retired = {s: each for one in self._organizations for s, each in one.retired.items()}
        earlier = command.history.sunsets(command.base_url)
        ended = ended_lists(announced_ends(earlier, sunsets), today)
        for source, each in retired.items():
            result.warn(retired_warning(each, sources, has_ended=source in ended))
            if source not in ended and Reason.RETIRED_SOURCE not in result.stopped_by:
                result.stopped_by.append(Reason.RETIRED_SOURCE)
        upcoming = {source: day for source, day in sunsets.items() if source not in retired}
        result.warn(*sunset_warnings(upcoming, sources, today))

"""The result of a run: what it saw and did, why it did not do everything, and its exit code.

`Result` collects while the run is at work. What it adds up to is the last line of the run's file,
`RunFinished`, which every output takes as it is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from msgspec import structs

from invite_sweeper.audit import AuditLog, RunRecord
from invite_sweeper.audit.events import (
    Forecast,
    ListResult,
    MissingAccepted,
    OrganizationResult,
    PolicyText,
    RunFinished,
    RunStarted,
    RunWarning,
)
from invite_sweeper.endings import ExitCode, Reason, WarningCode, WarningLevel
from invite_sweeper.errors import AuditLogError, CredentialsRefused, RunError
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import Source, SourceRetired, hint_without
from invite_sweeper.outcomes import Counts, Outcome, total
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.dates import LAST_KNOWN_ENDS, sunset_warnings
from invite_sweeper.sweep.limits import Backlog
from invite_sweeper.sweep.plan import (
    AtlasOrganization,
    Decided,
    OrganizationPlan,
    Swept,
    all_deletions,
    organization_labels,
)


class View(Protocol):
    """What the operator sees during a run. Its implementation is a layer above."""

    def started(self, activity: str, count: int, where: str) -> None:
        """Show that `count` steps of an activity begin in an organization."""

    def done(self, outcome: Outcome | None = None) -> None:
        """Show that one step ended; that of a deletion has an outcome."""

    def warn(self, warning: RunWarning) -> None:
        """Show a warning or remark; the run continues."""

    async def confirms(self, record: RunRecord, until: datetime) -> bool:
        """Show the plan and return whether the operator agrees to it.

        Args:
            until: When an answer is too late.
        """


class Result:
    """Collects what becomes known during one run.

    Attributes:
        start: The first line of the run's file, once `begin` has written it.
        decided: What was decided about each organization; empty while one is read.
        plans: What is to be deleted, of each organization that was read without an error.
        swept: What became of it, by the organization's id; empty before anything is deleted.
        error: What stopped the run as a whole; None while nothing did.
        stopped_by: Why deletions were skipped although no error stopped the run.
        plan_made: The plan of the run is complete and on disk.
        question_s: How long the question was open.
        backlog: What the limits leave for later; None where they leave nothing.
    """

    def __init__(
        self, command: Command, organizations: Sequence[AtlasOrganization], view: View
    ) -> None:
        self.command = command
        self.organizations = organizations
        self.view = view
        self.start: RunStarted
        self.decided: tuple[Decided, ...] = ()
        self.plans: tuple[OrganizationPlan, ...] = ()
        self.swept: dict[str, Swept] = {}
        self.warnings: list[RunWarning] = []
        self.error: RunError | None = None
        self.stopped_by: list[Reason] = []
        self.plan_made = False
        self.question_s = 0.0
        self.backlog: Backlog | None = None

    def warn(self, *warnings: RunWarning) -> None:
        """Show warnings and record them, each once."""
        for warning in warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
                self.view.warn(warning)

    def warn_of(
        self,
        code: WarningCode,
        *messages: str,
        level: WarningLevel = WarningLevel.WARNING,
    ) -> None:
        """Show warnings of one kind and record them."""
        for message in messages:
            self.warn(RunWarning(code, message, level))

    def add_swept(self, organization: AtlasOrganization, swept: Swept) -> None:
        """Add what became of some deletions of an organization."""
        self.swept[organization.id] = self.swept.get(organization.id, Swept()) + swept

    def skip(self, plan: OrganizationPlan) -> None:
        """Add a plan of which nothing is sent."""
        skipped = Counter[str]({Outcome.SKIPPED: len(plan.deletions)})
        self.add_swept(plan.organization, Swept(skipped))

    def error_in(self, organization: AtlasOrganization, error: RunError) -> RunError:
        """Return an error of one organization with its variables and, of several, its name."""
        if isinstance(error, CredentialsRefused):
            error = error.of_variables(organization.variables)
        if len(self.organizations) == 1:
            return error
        # The other organizations go on: "Nothing was deleted" is true of this one.
        there = error.consequence.replace(" deleted", " deleted there")
        return error.having(organization=organization.label, consequence=there)

    def report_ends(self, decided: Iterable[Decided]) -> None:
        """Report lists that Atlas has retired or will retire soon.

        A list that is retired before the day that was announced for it is a reason why the run
        did not do everything. From that day on it is none: the other lists of the policy go on.
        """
        sources = self.command.policy.sources
        retired: dict[Source, SourceRetired] = {}
        for each in decided:
            retired |= each.lists.retired
        too_early = self._retired_early(retired)
        if too_early:
            self.stopped_by.append(Reason.RETIRED_SOURCE)
        for source, event in sorted(retired.items()):
            reason = event.reason.removesuffix(".")
            if source in too_early:
                text = (
                    f"{reason}, before the day that was announced: it counts as not read. "
                    f"{hint_without(too_early, sources)}"
                )
                self.warn_of(WarningCode.RETIRED_SOURCE, text, level=WarningLevel.URGENT)
            else:
                text = f"{reason}, as announced. {source.replacement_hint(sources)}"
                self.warn_of(WarningCode.RETIRED_SOURCE, text, level=WarningLevel.REMARK)
        upcoming = self._sunsets()
        for source in retired:
            upcoming.pop(source, None)
        self.warn(*sunset_warnings(upcoming, sources, self.command.now.date()))

    def _retired_early(self, retired: Iterable[Source]) -> list[Source]:
        """Return which retired lists Atlas ended before the day that it had announced."""
        return sorted(source for source in retired if not self.has_ended(source))

    def has_ended(self, source: Source) -> bool:
        """Return whether the last day that was announced for a list has come."""
        command = self.command
        earlier = command.history.sunsets(command.base_url)
        # The day has moved before, so the last announcement counts.
        last_days = LAST_KNOWN_ENDS | earlier | self._sunsets()
        last_day = last_days.get(source)
        return last_day is not None and last_day <= command.now.date()

    def _sunsets(self) -> dict[Source, date]:
        """Return the last day of each list, as Atlas announced it to this run."""
        sunsets: dict[Source, date] = {}
        for organization in self.organizations:
            sunsets |= organization.client.server.sunsets
        return sunsets

    def begin(self, log: AuditLog) -> None:
        """Write what the run is, its policy, and which files of earlier runs it does without."""
        self.start = self.command.run_started(self.organizations, log.file.number)
        log.write(self.start)
        log.write(PolicyText(self.command.policy.text))
        missing = self.command.history.missing
        if missing:
            lost = MissingAccepted(missing)
            log.write(lost)
            text = f"{lost.text}: what was deleted and announced there does not count."
            self.warn_of(WarningCode.AUDIT_LOG, text)

    async def finish(self, log: AuditLog) -> RunRecord:
        """Write the last line of the run, and return the run as its file has it.

        If the line could not be written, its record has that error.
        """
        end = self.finished()
        try:
            await log.finish(end)
        except AuditLogError as failure:
            if not isinstance(self.error, AuditLogError):
                self.error = failure
            end = self.finished()
        return RunRecord(
            log.file,
            start=self.start,
            end=end,
            last_hash=log.last_hash,
            unwritten=() if self.plan_made else all_deletions(self.plans),
        )

    def finished(self) -> RunFinished:
        """Return what is known so far, in the form of the last line of the run."""
        command = self.command
        results = tuple(map(self._organization_result, self.organizations))
        counts = total(results)
        sunsets = self._sunsets()
        first_sunset = self._first_sunset(sunsets)
        retired: list[str] = []
        for decided in self.decided:
            retired += (source.value for source in decided.lists.retired)
        return RunFinished(
            **self._run_ending(counts, results),
            duration_s=round(command.clock() - command.started_s - self.question_s, 3),
            warnings=tuple(self.warnings),
            plan_made=self.plan_made,
            plan_complete=self.plan_made and all(result.plan_complete for result in results),
            forecast=self._forecast() if self.plan_made and command.dry_run else None,
            nights_left=self.backlog.nights if self.backlog is not None else None,
            **self._binding_limit(),
            sources_retired=tuple(sorted(set(retired))),
            oldest_pending_days=self._oldest_pending_days(),
            sunset=first_sunset.isoformat() if first_sunset is not None else None,
            sunsets={source.value: day.isoformat() for source, day in sunsets.items()},
            organizations=results,
            lists=tuple(self._lists()),
        )

    def _binding_limit(self) -> dict[str, Any]:
        """Return the fields about the limit that leaves stale invitations for later."""
        if self.backlog is None:
            return {}
        limit = self.backlog.limit
        return {
            "limited_by": limit.describe(organization_labels(self.plans)),
            "limit_used": limit.used,
            "limit_most": limit.most,
        }

    def _run_ending(self, counts: Counts, results: Sequence[OrganizationResult]) -> dict[str, Any]:
        """Return the fields about the end of the whole run.

        The error of the run is its own, else the gravest one of an organization. Where another
        organization was swept, the run has that error, and is partial.
        """
        if self.error is not None:
            return self._ending(counts, self.error, self.error.reasons)
        errors: list[RunError] = []
        for organization in self.organizations:
            error = self._error_of(organization)
            if error is not None:
                errors.append(error)
        reasons: list[Reason | str] = []
        for result in results:
            reasons += result.reasons
        reasons += self.stopped_by
        gravest = max(errors, key=lambda error: error.exit_code, default=None)
        have_all_failed = len(errors) == len(self.organizations)
        return self._ending(counts, gravest, reasons, has_failed=have_all_failed)

    def _oldest_pending_days(self) -> float | None:
        """Return the age of the oldest entry that is PENDING; None where none has a date."""
        dates = [plan.decided.dates for plan in self.plans]
        oldest = min((each.oldest for each in dates if each.oldest is not None), default=None)
        if oldest is None:
            return None
        age = self.command.now - oldest
        return round(age / timedelta(days=1), 1)

    def _first_sunset(self, sunsets: Mapping[Source, date]) -> date | None:
        """Return the first day on which a list ends that the policy needs; None without one.

        A list whose replacements the policy reads can end without a change of the policy.
        """
        sources = self.command.policy.sources
        needed = [source for source in sources if not source.is_replaced_by(sources)]
        last_days = [sunsets[source] for source in needed if source in sunsets]
        return min(last_days, default=None)

    def _forecast(self) -> Forecast:
        """Return how many become stale within 7 and 30 days, and the nights that the rest takes."""
        dates = [plan.decided.dates for plan in self.plans]
        return Forecast(
            stale_within_7d=sum(each.stale_within_7d for each in dates),
            stale_within_30d=sum(each.stale_within_30d for each in dates),
            nights=self.backlog.nights if self.backlog is not None else None,
        )

    def _lists(self) -> Iterator[ListResult]:
        """Yield what was read of each source of each organization that has a plan."""
        sources = self.command.policy.sources
        for plan in self.plans:
            yield from plan.decided.lists.results(plan.decided.id, sources)

    def _decided_about(self, organization: AtlasOrganization) -> Decided:
        """Return what was decided about an organization; nothing while it is read."""
        for decided in self.decided:
            if decided.id == organization.id:
                return decided
        return Decided(organization)

    def _swept_of(self, org_id: str) -> Swept:
        """Return what became of the plan of an organization; nothing before it was swept."""
        return self.swept.get(org_id, Swept())

    def _error_of(self, organization: AtlasOrganization) -> RunError | None:
        """Return what ended the run for one organization, while it was read or swept."""
        decided = self._decided_about(organization)
        return decided.error or self._swept_of(organization.id).error

    def _counts_of(self, organization: AtlasOrganization) -> Counts:
        """Return the counts of one organization; the requests of a client count for its first."""
        counts = self._decided_about(organization).counts
        for plan in self.plans:
            if plan.organization.id == organization.id:
                counts = plan.counts
        swept = self._swept_of(organization.id)
        outcomes = dict[str, Any](swept.outcomes)  # each outcome is a field of the counts
        counts += swept.counts + Counts(**outcomes)
        client = organization.client
        with_client = [sharing for sharing in self.organizations if sharing.client is client]
        if organization is with_client[0]:
            counts += Counts(**structs.asdict(client.counters))
        return counts

    def _organization_result(self, organization: AtlasOrganization) -> OrganizationResult:
        """Return the result of one organization, which has the error of the run, too."""
        decided = self._decided_about(organization)
        counts = self._counts_of(organization)
        error = self._error_of(organization) or self.error
        reasons: Iterable[Reason | str]
        if error is not None:
            reasons = error.reasons
        else:
            # What stopped the run is a reason of the organizations where it left something undone.
            is_concerned = counts.skipped or len(self.organizations) == 1
            stopped_by = self.stopped_by if is_concerned else []
            if self._retired_early(decided.lists.retired):
                stopped_by = [*stopped_by, Reason.RETIRED_SOURCE]
            reasons = self._reasons(counts, stopped_by)
        was_read = decided.error is None and decided.scope is not None
        plan_made = was_read and (self.plan_made or error is None)
        retired_early = Reason.RETIRED_SOURCE in self.stopped_by
        secret_ends = decided.dates.credentials_expire
        return OrganizationResult(
            **self._ending(counts, error, reasons),
            id=organization.id,
            name=decided.organization.name,
            plan_made=plan_made,
            plan_complete=plan_made and not decided.lists.unread and not retired_early,
            credentials_expire=rfc3339(secret_ends) if secret_ends is not None else None,
        )

    def _ending(
        self,
        counts: Counts,
        error: RunError | None,
        reasons: Iterable[Reason | str],
        *,
        has_failed: bool = True,
    ) -> dict[str, Any]:
        """Return the fields about the end of a run, in an organization or as a whole.

        Args:
            has_failed: The error stopped all of it.
        """
        command = self.command
        code = ExitCode.DONE
        if counts.active:  # of a restore, also of one that stopped: these people have access
            reasons = (*reasons, Reason.MADE_ACTIVE)
        reasons = tuple(dict.fromkeys(reasons))
        if error is not None and has_failed:
            code = error.exit_code
        elif reasons or counts.skipped:
            code = ExitCode.PARTIAL
        elif command.detailed_exit_code and command.dry_run and counts.stale:
            code = ExitCode.STALE
        return {
            **structs.asdict(counts),
            "exit_code": int(code),
            "error": error.parts() if error is not None else None,
            "reasons": reasons,
        }

    def _reasons(self, counts: Counts, stopped_by: Iterable[Reason]) -> Iterator[Reason]:
        """Yield why a run without an error did not do everything, or more than was wanted."""
        causes = {
            Reason.MISSING_ROLE: counts.missing_role,
            Reason.UNREADABLE_PROJECTS: counts.projects_unreadable,
            Reason.FAILED_DELETIONS: counts.failed,
            Reason.UNKNOWN_DELETIONS: counts.unknown,
        }
        if self.command.restores is not None:
            not_invited = counts.failed + counts.unknown + counts.skipped
            causes = {Reason.MADE_ACTIVE: counts.active, Reason.NOT_INVITED: not_invited}
        for reason, count in causes.items():
            if count:
                yield reason
        yield from stopped_by

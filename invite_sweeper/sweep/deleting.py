"""Delete what the plan contains, organization by organization, and read again what was deleted."""

from collections.abc import Sequence

from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import OutcomeLine, Planned
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import AuditLogError, RunError
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    DeletionResult,
    Outcome,
    is_permission_error,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import DeletionVerifier
from invite_sweeper.sweep.executor import ExecutorOptions, SweepExecutor
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.result import Result, View
from invite_sweeper.text import pluralize


class Deletion:
    """The deletions of a command; one breaker watches all organizations."""

    def __init__(
        self, command: Command, log: AuditLog, result: Result, view: View, stop: StopRequest
    ) -> None:
        self._command = command
        self._log = log
        self._result = result
        self._view = view
        self._stop = stop
        self._breaker = CircuitBreaker(command.limits)

    async def run(self, plan: Sequence[Planned], organizations: Sequence[Organization]) -> None:
        """Delete what the plan contains; each deletion gets an outcome.

        Raises:
            RunError: The audit log failed, or a stop came. The rest is `skipped`.
        """
        incomplete, failure = False, None
        for organization in organizations:
            own = [each for each in plan if each.org_id == organization.id]
            if failure is not None:
                organization.outcomes[Outcome.SKIPPED] += len(own)
            elif own and organization.is_planned:
                self._view.deleting_started(len(own), organization.label)
                try:
                    incomplete |= await self._run_in(organization, own)
                except AuditLogError as error:
                    failure = error
        if failure is not None:
            raise failure
        if self._stop.reason is not None and incomplete:
            raise self._stop.as_error(consequence="The audit log is complete.")

    async def _run_in(self, organization: Organization, plan: Sequence[Planned]) -> bool:
        """Delete in one organization; return whether a stop may have left something."""
        execution, opened_before = self._command.policy.execution, self._breaker.reason is not None
        sources = self._command.policy.sources
        verifier = DeletionVerifier(organization.client.reader, self._stop, self._command.now)
        unverified = 0

        def on_deletion_done(planned: Planned, result: DeletionResult) -> None:
            nonlocal unverified
            verifier.record(planned, result)
            organization.outcomes[result.outcome] += 1
            self._view.deletion_done(result.outcome)
            if result.outcome is Outcome.ACCEPTED_DURING:
                self._result.removed_member(planned)
            elif result.outcome is Outcome.FAILED:
                refused = is_permission_error(result.http_status, result.error_code)
                organization.count(missing_role=int(refused))
            elif result.outcome is Outcome.DELETED and result.seen_after is None:
                unverified += planned.source in SOURCES_OF_USERS

        executor = SweepExecutor(
            organization.client.deleter(sources),
            self._log,
            stop=self._stop,
            breaker=self._breaker,
            clock=self._command.clock,
            options=ExecutorOptions(
                workers=execution.concurrency,
                extra_workers=execution.concurrency,
                canary=self._breaker.canary_left,
                grace_s=execution.grace.total_seconds(),
                multiple_sources=len(sources) > 1,
            ),
            on_deletion_done=on_deletion_done,
        )
        outcomes, recorder = executor.recorder.outcomes, executor.recorder
        try:
            await executor.run(plan)
        except RunError as error:
            done = pluralize(outcomes[Outcome.DELETED], "invitation")
            counted = error.having(consequence=f"{done} had been deleted by then.")
            if isinstance(error, AuditLogError):
                raise counted from error
            organization.error = counted
        self._result.unverified(unverified)
        for source, message in recorder.retired.items():
            self._result.stopped_by.append(Reason.RETIRED_SOURCE)
            text = f"Atlas retired the list {source.value} during the sweep: {message}"
            self._result.warn_of(WarningCode.RETIRED_SOURCE, text)
        if recorder.breaker_reason is not None and not opened_before:
            self._result.stopped_by.append(Reason.CIRCUIT_BREAKER)
            text = f"The sweep stopped itself: {recorder.breaker_reason}"
            self._result.warn_of(WarningCode.CIRCUIT_BREAKER, text)
        await self._read_again(organization, verifier)
        return bool(
            recorder.retries_cut_short or outcomes[Outcome.SKIPPED] or outcomes[Outcome.UNKNOWN]
        )

    async def _read_again(self, organization: Organization, verifier: DeletionVerifier) -> None:
        """Read the lists again from which invitations were deleted; what they show is true."""
        await verifier.run(workers=self._command.policy.execution.concurrency)
        organization.count(verified=verifier.verified, still_there=len(verifier.still_listed))
        for planned, outcome, _ in verifier.still_listed:
            self._log.write(OutcomeLine.unsent(planned, Outcome.FAILED, replaces=outcome))
            organization.outcomes[outcome] -= 1
            organization.outcomes[Outcome.FAILED] += 1
        self._result.still_listed([each.planned for each in verifier.still_listed])

"""Delete what the plan contains, organization by organization, and read again what was deleted."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from invite_sweeper.atlas import AtlasReader
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import OutcomeLine, Planned
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import AuditLogError, Interrupted, RunError
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    DeletionResult,
    Invitation,
    InvitationList,
    ListRef,
    Outcome,
    Project,
    Source,
    is_permission_error,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import for_each
from invite_sweeper.sweep.executor import SweepExecutor
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.result import Result, View
from invite_sweeper.text import pluralize

MAX_LISTS_VERIFIED: Final = 500
"""Lists that are read again. Atlas allows 250 projects in an organization by default."""
MAX_DELETIONS_VERIFIED: Final = 10_000
"""Deletions that are remembered, so that memory stays flat."""


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

    async def run(self, organizations: Sequence[Organization]) -> None:
        """Delete what is planned in each organization; each deletion gets an outcome.

        Raises:
            RunError: The audit log failed, or a stop came. The rest is `skipped`.
        """
        incomplete, failure = False, None
        for organization in organizations:
            own = organization.stale
            if failure is not None:
                organization.outcomes[Outcome.SKIPPED] += len(own)
            elif own and organization.is_planned:
                self._view.deleting_started(len(own), organization.label)
                try:
                    incomplete |= await self._run_in(organization)
                except AuditLogError as error:
                    failure = error
        if failure is not None:
            raise failure
        if self._stop.reason is not None and incomplete:
            raise self._stop.as_error(consequence="The audit log is complete.")

    async def _run_in(self, organization: Organization) -> bool:
        """Delete in one organization; return whether a stop may have left something."""
        command, result = self._command, self._result
        sources, opened_before = command.policy.sources, self._breaker.reason is not None
        workers = command.policy.execution.concurrency
        verifier = DeletionVerifier(organization.client.reader, self._stop, command.now)
        unverified = 0

        def on_deletion_done(planned: Planned, done: DeletionResult) -> None:
            nonlocal unverified
            verifier.record(planned, done.outcome)
            organization.outcomes[done.outcome] += 1
            self._view.deletion_done(done.outcome)
            if done.outcome is Outcome.ACCEPTED_DURING:
                result.removed_member(planned)
            elif done.outcome is Outcome.FAILED:
                refused = is_permission_error(done.http_status, done.error_code)
                organization.count(missing_role=int(refused))
            elif done.outcome is Outcome.DELETED and done.seen_after is None:
                unverified += planned.source in SOURCES_OF_USERS

        executor = SweepExecutor(
            organization.client.deleter(sources),
            self._log,
            stop=self._stop,
            breaker=self._breaker,
            clock=command.clock,
            execution=command.policy.execution,
            several_sources=len(sources) > 1,
            on_deletion_done=on_deletion_done,
        )
        outcomes = executor.outcomes
        try:
            await executor.run(organization.stale)
        except RunError as error:
            done = pluralize(outcomes[Outcome.DELETED], "invitation")
            counted = error.having(consequence=f"{done} had been deleted by then.")
            if isinstance(error, AuditLogError):
                raise counted from error
            organization.error = counted
        result.unverified(unverified)
        for source, message in executor.retired.items():
            result.stopped_by.append(Reason.RETIRED_SOURCE)
            text = f"Atlas retired the list {source.value} during the sweep: {message}"
            result.warn_of(WarningCode.RETIRED_SOURCE, text)
        if executor.breaker_reason is not None and not opened_before:
            result.stopped_by.append(Reason.CIRCUIT_BREAKER)
            text = f"The sweep stopped itself: {executor.breaker_reason}"
            result.warn_of(WarningCode.CIRCUIT_BREAKER, text)
        await verifier.run(workers=workers)
        self._take(organization, verifier)
        cut_short = executor.retries_cut_short
        return bool(cut_short or outcomes[Outcome.SKIPPED] or outcomes[Outcome.UNKNOWN])

    def _take(self, organization: Organization, verifier: "DeletionVerifier") -> None:
        """Record what the lists show that were read again; it is true, whatever an answer said."""
        organization.count(verified=verifier.verified, still_there=len(verifier.still_listed))
        for planned, outcome in verifier.still_listed:
            self._log.write(OutcomeLine.unsent(planned, Outcome.FAILED, replaces=outcome))
            organization.outcomes[outcome] -= 1
            organization.outcomes[Outcome.FAILED] += 1
        self._result.still_listed([planned for planned, _ in verifier.still_listed])


class DeletionVerifier:
    """Reads each list again that showed a deleted invitation, once.

    A list that cannot be read again, or not before a stop, proves nothing about its deletions.

    Args:
        now: The instant of the run.

    Attributes:
        verified: Deletions that Atlas confirmed and that each of their lists shows no more.
        still_listed: Deletions with an entry that is still in its list, and what the answer to
            the DELETE said.
    """

    def __init__(self, reader: AtlasReader, stop: StopRequest, now: datetime) -> None:
        self._reader = reader
        self._stop = stop
        self._now = now
        self._deleted: list[tuple[Planned, Outcome]] = []
        self._entries: dict[ListRef, dict[str, int]] = {}  # ids, with the number of the deletion
        self._unread: Counter[int] = Counter()  # entries of each deletion
        self._found: set[int] = set()
        self._is_atlas_gone = False
        self.verified = 0
        self.still_listed: list[tuple[Planned, Outcome]] = []

    def record(self, planned: Planned, outcome: Outcome) -> None:
        """Record the outcome of one deletion."""
        number = len(self._deleted)
        is_ended = outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}
        if not is_ended or number >= MAX_DELETIONS_VERIFIED:
            return
        self._deleted.append((planned, outcome))
        for source, org_id, place, id_ in planned.keys:
            # Without a name, so that each list is read once, whatever line names it.
            ref = ListRef(Project(place, "", org_id), Source(source))
            self._entries.setdefault(ref, {})[id_] = number
            self._unread[number] += 1

    async def run(self, *, workers: int) -> None:
        """Read the lists again, until all are read or a stop is requested; nothing is raised.

        Args:
            workers: The number of lists to read at a time.
        """
        if self._deleted and self._stop.reason is None:
            lists = list(self._entries)[:MAX_LISTS_VERIFIED]
            with suppress(Interrupted):  # the rest is not verified
                await self._stop.run_unless_stopped(for_each(lists, self._read, workers=workers))
        for number, (planned, outcome) in enumerate(self._deleted):
            if number in self._found:
                self.still_listed.append((planned, outcome))
            elif not self._unread[number]:
                self.verified += outcome is Outcome.DELETED

    async def _read(self, ref: ListRef) -> None:
        if self._is_atlas_gone:
            return
        try:
            found = await self._reader.invitations(ref.project, ref.source)
        except RunError:  # Atlas or the credentials: the rest is not verified
            self._is_atlas_gone = True
            return
        if isinstance(found, InvitationList):
            entries = self._entries[ref]
            self._unread.subtract(entries.values())
            for one in found:
                if (number := entries.get(one.id)) is not None and self._is_same(number, one):
                    self._found.add(number)

    def _is_same(self, number: int, found: Invitation) -> bool:
        """Return whether an entry is not that of a person who was invited again meanwhile.

        Of other entries than the named one no date is known: they are older than the run.
        """
        planned, _ = self._deleted[number]
        if found.key == planned.key:
            return found.is_dated(planned.invitation().created_at)
        return not isinstance(found.created_at, datetime) or found.created_at <= self._now

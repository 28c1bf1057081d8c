"""Reports what happens during a run: on the screen at once, and in its summary."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, Protocol

from invite_sweeper.audit import OpenIntent
from invite_sweeper.counts import Counts
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    DeletionResult,
    Invitation,
    Outcome,
    PlannedDeletion,
    Source,
    SourceRetired,
    is_permission_error,
)
from invite_sweeper.sweep.discovery import (
    DeletionVerifier,
)
from invite_sweeper.sweep.run_config import RunConfig
from invite_sweeper.sweep.run_state import RunState, list_name
from invite_sweeper.sweep.summary import (
    removed_member_warning,
    still_there_warnings,
    unused_keep_warnings,
    unverified_warning,
)
from invite_sweeper.sweep.sunset import (
    announced_ends,
    ended_lists,
    retired_warning,
    sunset_warnings,
)


class ProgressView(Protocol):
    """What the operator sees during a run."""

    def listing_started(self, projects: int, where: str) -> None:
        """Show that this number of lists will be read."""
        ...

    def list_done(self) -> None:
        """Show that one list was read, or could not be."""
        ...

    def deleting_started(self, deletions: int, where: str) -> None:
        """Show that this number of deletions begins."""
        ...

    def deletion_done(self, outcome: Outcome) -> None:
        """Show that one deletion ended."""
        ...

    def remark(self, message: str) -> None:
        """Show a remark about the policy or the setup; the run is not affected."""
        ...

    def warning(self, message: str) -> None:
        """Show a warning; the run continues."""
        ...

    def error(self, message: str) -> None:
        """Show an error that needs action; the run continues."""
        ...


MAX_WARNINGS: Final = 1000
"""Warnings that the summary contains at most; the view shows all of them."""


class RunWarnings:
    """Shows warnings immediately and adds them to the summary."""

    def __init__(self, config: RunConfig, state: RunState, view: ProgressView) -> None:
        self._config = config
        self._state = state
        self._view = view
        self._unverified = 0

    def warn(self, code: WarningCode, *messages: str) -> None:
        """Report warnings."""
        self.report(*(RunWarning(code, message) for message in messages))

    def remark(self, code: WarningCode, *messages: str) -> None:
        """Report remarks about the policy."""
        self.report(*(RunWarning(code, each, WarningLevel.REMARK) for each in messages))

    def unused_keep_entries(self, kept: Mapping[str, int]) -> None:
        """Warn about keep entries that matched no invitation."""
        today = self._config.now.date()
        self.report(*unused_keep_warnings(self._config.policy.keep, kept, today))

    def retired_sources(
        self, retired: Iterable[SourceRetired], sunsets: Mapping[Source, date]
    ) -> None:
        """Warn about sources that Atlas has retired or will retire soon.

        A source that is retired before the announced day is a reason of the run's end.
        """
        today, sources = self._config.now.date(), self._config.policy.sources
        retired_by_source = {each.source: each for each in retired}
        upcoming = {
            source: day for source, day in sunsets.items() if source not in retired_by_source
        }
        ended = ended_lists(announced_ends(self._config.earlier_sunsets, sunsets), today)
        for source, each in retired_by_source.items():
            self.report(retired_warning(each, sources, has_ended=source in ended))
            if source not in ended:
                self._state.retired_early.add(source)
        self.report(*sunset_warnings(upcoming, sources, today))

    def deletion_done(self, planned: PlannedDeletion, result: DeletionResult) -> None:
        """Show the outcome of one deletion; report a removed member immediately."""
        self._view.deletion_done(result.outcome)
        org_id = planned.invitation.org_id
        self._state.outcomes[org_id][result.outcome] += 1
        invitation = planned.invitation
        name = list_name(invitation.source, invitation.project_id)
        self._state.removed[name] += result.outcome.no_longer_pending
        if result.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif result.outcome is Outcome.FAILED:
            refused = is_permission_error(result.http_status, result.error_code)
            self._state.counts[org_id] += Counts(missing_role=int(refused))
        elif result.outcome is Outcome.DELETED and result.seen_after is None:
            self._unverified += planned.invitation.source in SOURCES_OF_USERS

    def recovered(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count an intent of an earlier run; report a removed member immediately."""
        self._state.counts[intent.invitation.org_id] += Counts(recovered=1)
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.from_restore

    def still_there(self, verifier: DeletionVerifier) -> None:
        """Report the invitations that Atlas's lists still contain."""
        self.report(*still_there_warnings(verifier.still_there))
        claim = "A response said that the invitation does not exist, for"
        self.report(*still_there_warnings(verifier.not_gone, claim))

    def finish(self) -> None:
        """Report how many removed users could not be checked since the last call."""
        if self._unverified:
            self.report(unverified_warning(self._unverified))
        self._unverified = 0

    def _removed_member(self, invitation: Invitation) -> None:
        self._state.removed_members.append(invitation.username)
        self.report(removed_member_warning(invitation, self._state.advisor))

    def report(self, *warnings: RunWarning) -> None:
        """Show warnings and record them."""
        for each in warnings:
            if len(self._state.warnings) < MAX_WARNINGS:
                self._state.warnings.append(each)
            match each.level:
                case WarningLevel.REMARK:
                    self._view.remark(each.message)
                case WarningLevel.URGENT:
                    self._view.error(each.message)
                case _:
                    self._view.warning(each.message)

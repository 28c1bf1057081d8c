"""What a run tells a person while it goes on, and keeps for its summary."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from invite_sweeper.audit import AuditLog, OpenIntent
from invite_sweeper.inventory import USER_LISTS, Invitation, Retired, Source
from invite_sweeper.job import Job, View
from invite_sweeper.outcome import Deletion, Outcome, Planned
from invite_sweeper.totals import (
    RunCounts,
    RunWarning,
    removed_member_warning,
    retired_warning,
    sunset_warnings,
    unused_keep_warnings,
    unverified_warning,
)

MOST_KEPT: Final = 1000
"""So many sentences are kept for the summary; the log has all of them."""


class Bulletin:
    """Says things at once, and puts them among the warnings of the summary."""

    def __init__(self, job: Job, log: AuditLog, counts: RunCounts, view: View) -> None:
        self._job = job
        self._log = log
        self._counts = counts
        self._view = view
        self._unverified = 0

    def warn(self, *sentences: str) -> None:
        """Say what deserves a look."""
        self._notify(map(RunWarning, sentences))

    def idle(self, kept: Mapping[str, int]) -> None:
        """Tell of keep entries that kept nobody."""
        self._notify(unused_keep_warnings(self._job.policy.keep, kept, self._job.now.date()))

    def lists(self, retired: Iterable[Retired], sunsets: Mapping[Source, date]) -> None:
        """Tell of lists that have ended, and of those that soon will."""
        ended = {each.source: each for each in retired}
        coming = {source: day for source, day in sunsets.items() if source not in ended}
        self._notify(map(retired_warning, ended.values()))
        self._notify(sunset_warnings(coming, self._job.now.date()))

    def swept(self, planned: Planned, deletion: Deletion) -> None:
        """Show that one deletion has ended; a member that was removed is told at once."""
        self._view.swept(deletion.outcome)
        if deletion.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif deletion.outcome is Outcome.DELETED and deletion.seen_after is None:
            self._unverified += planned.invitation.source in USER_LISTS

    def settled(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count what an earlier run had left open; a member that it removed is told at once."""
        self._counts.recovered[outcome] += 1
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.of_restore

    def closing(self) -> None:
        """Tell what could not be found out so far."""
        if self._unverified:
            self._notify([unverified_warning(self._unverified)])
        self._unverified = 0

    def _removed_member(self, invitation: Invitation) -> None:
        path, run_id = str(self._log.path), self._job.run_id
        self._notify([removed_member_warning(invitation, path, run_id)])

    def _notify(self, warnings: Iterable[RunWarning]) -> None:
        for text, urgent in warnings:
            if len(self._counts.warnings) < MOST_KEPT:
                self._counts.warnings.append(text)
            (self._view.alarm if urgent else self._view.warn)(text)

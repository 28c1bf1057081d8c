"""What changed since the last plan of the same policy: new, still stale, deleted, gone."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from invite_sweeper.audit.events import ComparedRun, PlanChanges
from invite_sweeper.audit.history import ListKey, PreviousPlan, RunRecord
from invite_sweeper.endings import ExitCode
from invite_sweeper.models import ListUnreadable, SourceRetired
from invite_sweeper.sweep.selection import Decision

_COUNTS: Final = tuple(each.name for each in fields(PlanChanges) if each.type is int)


def merge_changes(changes: Sequence[PlanChanges | None]) -> PlanChanges | None:
    """Return the sum for the runs of one command; None if one of them cannot be compared."""
    known = [each for each in changes if each is not None]
    if not known or len(known) < len(changes):
        return None
    runs = dict.fromkeys(run for each in known for run in each.runs)
    sums = {name: sum(getattr(each, name) for each in known) for name in _COUNTS}
    return PlanChanges(tuple(runs), **sums)


class ChangeTracker:
    """Compares the decisions of a run with the last plan of the same scope.

    Memory holds a number for each invitation of that plan.
    """

    def __init__(self, previous: PreviousPlan) -> None:
        self._previous = previous
        self._planned = dict(previous.planned)
        self._unread_now: set[ListKey | str] = set()
        self._new = self._still_stale = self._kept = self._not_read_then = 0

    def is_new(self, decision: Decision) -> bool:
        """Record one decision; return whether the invitation is stale and was not planned then."""
        stale, was_planned = decision.stale, False
        for entry in decision.all_entries:
            if self._planned.pop(hash(entry.key), None) is not None:
                self._still_stale += stale
                self._kept += not stale
                was_planned = True
        if was_planned or not stale:
            return False
        unread, invitation = self._previous.unread, decision.invitation
        source, list_ = invitation.source.value, (invitation.source.value, invitation.project_id)
        if list_ in unread or source in unread:
            self._not_read_then += 1
            return False
        self._new += 1
        return True

    def add_unread(self, unreadable: ListUnreadable) -> None:
        """Record a list, or a retired source, that is not read now."""
        source = unreadable.source.value
        retired = isinstance(unreadable, SourceRetired)
        self._unread_now.add(source if retired else (source, unreadable.project_id))

    def result(self) -> PlanChanges:
        """Return the comparison, once every decision is recorded."""
        deleted = not_read = 0
        for key, list_ in self._planned.items():
            if key in self._previous.deleted:
                deleted += 1
            elif list_ in self._unread_now or list_[0] in self._unread_now:
                not_read += 1
        return PlanChanges(
            runs=(_compared(self._previous.run),),
            new=self._new,
            still_stale=self._still_stale,
            deleted=deleted,
            kept=self._kept,
            gone=len(self._planned) - deleted - not_read,
            not_read=not_read,
            not_read_then=self._not_read_then,
        )


def _compared(run: RunRecord) -> ComparedRun:
    return ComparedRun(
        run.run_id,
        run.mode or "",
        run.start.now if run.start is not None else "",
        refused=run.exit_code == ExitCode.REFUSED,
    )

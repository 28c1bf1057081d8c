"""What changed since the last plan of the same policy: new, still stale, deleted, gone."""

from collections.abc import Iterable

from invite_sweeper.audit import PreviousPlan
from invite_sweeper.audit.events import ListKey, PlanChanges
from invite_sweeper.models import InvitationKey, ListUnreadable, Source
from invite_sweeper.sweep.selection import Decision


class ChangeTracker:
    """Compares the decisions of a run with the last plan of the same scope; a step of the plan.

    Args:
        previous: That plan.
        now: Its instant, RFC 3339.
    """

    def __init__(self, previous: PreviousPlan, now: str) -> None:
        self._previous = previous
        self._now = now
        self._then = {key: named for named, keys in previous.planned.items() for key in keys}
        self._left = set(previous.planned)
        end = previous.run.end
        self._failed = {e.id for e in end.organizations if not e.plan_made} if end else set()
        self._new = self._still_stale = self._not_read = 0

    def __call__(self, decision: Decision) -> Decision:
        """Record one decision; mark what is stale and was not planned then as new."""
        known = {self._then[e.key] for e in decision.all_entries if e.key in self._then}
        if not decision.stale:
            return decision
        self._left -= known
        if known:
            self._still_stale += 1
        elif self._was_unread(decision.invitation.key):
            self._not_read += 1
        else:
            self._new += 1
            return decision._replace(new=True)
        return decision

    def result(self, unread: Iterable[ListUnreadable], retired: Iterable[Source]) -> PlanChanges:
        """Return the comparison, once every decision is recorded.

        Args:
            unread: The lists that this run could not read.
            retired: The sources that Atlas no longer serves.
        """
        lists: set[ListKey] = {(e.source.value, e.org_id or "", e.project_id) for e in unread}
        sources = {each.value for each in retired}
        deleted = {key for key in self._left if key in self._previous.deleted}
        not_read = {key for key in self._left - deleted if key[:3] in lists or key[0] in sources}
        return PlanChanges(
            run_id=self._previous.run.run_id,
            now=self._now,
            new=self._new,
            still_stale=self._still_stale,
            deleted=len(deleted),
            no_longer_stale=len(self._left) - len(deleted) - len(not_read),
            not_read=self._not_read + len(not_read),
        )

    def _was_unread(self, key: InvitationKey) -> bool:
        previous = self._previous
        retired = Source(key[0]) in previous.retired
        return retired or key[:3] in previous.unread or key[1] in self._failed

"""The lines of a restore: intents before, outcomes after."""

from datetime import datetime

from invite_sweeper.audit import AuditLog, OpenIntent, invitation_fields, outcome_fields
from invite_sweeper.restore.values import Deleted, End, Restored


class RestoreRecorder:
    """Writes the `intent` and `outcome` lines of one restore.

    The invitation's fields are those of the deleted one: the id is the old one.

    Args:
        now: The run's one instant, from which ages are counted.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def intent(self, deleted: Deleted) -> None:
        """Record that a POST is about to be sent; on disk once `durable` has returned."""
        self._log.write("intent", **self._fields(deleted))

    def outcome(self, deleted: Deleted, end: End, duration_ms: float) -> None:
        """Record the outcome of one of them."""
        ended = outcome_fields(
            end.outcome,
            attempts=end.attempts,
            http_status=end.http_status,
            error_code=end.error_code,
            duration_ms=duration_ms,
        )
        self._log.write("outcome", **self._fields(deleted), **ended)

    def unsettled(self, intent: OpenIntent) -> None:
        """Record that the end of a POST is unknown, since an earlier restore was killed over it.

        Users who are invited or members by now are left alone; the others are invited again.
        """
        self._log.write(
            "outcome",
            **invitation_fields(intent.invitation, self._now),
            rule=intent.rule,
            **outcome_fields(Restored.UNKNOWN, recovers=intent.run_id),
        )

    async def durable(self) -> None:
        """Return when every line so far is on disk."""
        await self._log.durable()

    def _fields(self, deleted: Deleted) -> dict[str, object]:
        fields = invitation_fields(deleted.invitation, self._now)
        return {**fields, "rule": deleted.rule, "restores": deleted.run_id}

"""What a restore tells the audit log: intents before, outcomes after."""

from datetime import datetime

from invite_sweeper.audit import AuditLog, OpenIntent, invitation_fields
from invite_sweeper.restore.values import Deleted, End, Restored


class RestoreJournal:
    """Writes one restore's `intent` and `outcome` lines.

    The invitation's fields are those of what was deleted: the id is the old one.

    Args:
        now: The instant of the run, by which ages are told.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def intent(self, deleted: Deleted) -> None:
        """Note that a POST is about to be sent; on disk once `durable` has returned."""
        self._log.write("intent", **self._fields(deleted))

    def outcome(self, deleted: Deleted, end: End, duration_ms: float) -> None:
        """Note what became of it."""
        self._log.write(
            "outcome",
            **self._fields(deleted),
            outcome=end.outcome.value,
            attempts=end.attempts,
            http_status=end.http_status,
            error_code=end.error_code,
            duration_ms=round(duration_ms, 1),
        )

    def unsettled(self, intent: OpenIntent) -> None:
        """Note of a POST that a restore before was killed over that nobody knows its end.

        Whoever it invited is there, and is left alone; whoever it did not is invited again.
        """
        self._log.write(
            "outcome",
            **invitation_fields(intent.invitation, self._now),
            rule=intent.rule,
            outcome=Restored.UNKNOWN.value,
            attempts=0,
            http_status=None,
            error_code=None,
            duration_ms=None,
            recovered=True,
            recovers=intent.run_id,
        )

    async def durable(self) -> None:
        """Return when all that was noted is on disk."""
        await self._log.durable()

    def _fields(self, deleted: Deleted) -> dict[str, object]:
        fields = invitation_fields(deleted.invitation, self._now)
        return {**fields, "rule": deleted.rule, "restores": deleted.run_id}

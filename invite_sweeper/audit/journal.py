"""What a sweep tells the audit log: intents before, outcomes after."""

from datetime import datetime

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.words import members, words_for
from invite_sweeper.outcome import Deletion, Planned


class SweepJournal:
    """Writes one sweep's `intent` and `outcome` lines.

    Args:
        now: The instant of the run, by which ages are told.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def intent(self, planned: Planned) -> None:
        """Note that a DELETE is about to be sent; on disk once `durable` has returned."""
        self._log.write_rendered(b"intent", self._words(planned))

    def outcome(self, planned: Planned, deletion: Deletion, duration_ms: float) -> None:
        """Note what became of one planned deletion."""
        told = {
            "outcome": deletion.outcome,
            "attempts": deletion.attempts,
            "http_status": deletion.http_status,
            "error_code": deletion.error_code,
            "duration_ms": round(duration_ms, 1),
            "seen_before": deletion.seen_before,
            "seen_after": deletion.seen_after,
        }
        self._log.write_rendered(b"outcome", b"%b,%b" % (self._words(planned), members(told)))

    async def durable(self) -> None:
        """Return when all that was noted is on disk."""
        await self._log.durable()

    def _words(self, planned: Planned) -> bytes:
        """Say it as the plan on disk does, byte for byte."""
        return planned.words or words_for(planned.invitation.in_full(), planned.rule, self._now)

"""The lines of a sweep's deletions: intents before, outcomes after."""

from collections.abc import Iterable
from datetime import datetime

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.record import invitation_fields, outcome_fields
from invite_sweeper.outcome import Deletion, Planned


class SweepRecorder:
    """Writes the `intent` and `outcome` lines of one sweep.

    Args:
        now: The run's one instant, from which ages are counted.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def write_intents(self, group: Iterable[Planned]) -> None:
        """Record that these are about to be deleted; on disk once `durable` has returned."""
        for planned in group:
            self._log.write("intent", **self._fields(planned))

    def write_outcome(self, planned: Planned, deletion: Deletion, duration_ms: float) -> None:
        """Record the outcome of one deletion."""
        ended = outcome_fields(
            deletion.outcome,
            attempts=deletion.attempts,
            http_status=deletion.http_status,
            error_code=deletion.error_code,
            duration_ms=duration_ms,
            seen=(deletion.seen_before, deletion.seen_after),
        )
        self._log.write("outcome", **self._fields(planned), **ended)

    async def durable(self) -> None:
        """Return when every line so far is on disk."""
        await self._log.durable()

    def _fields(self, planned: Planned) -> dict[str, object]:
        return {**invitation_fields(planned.invitation, self._now), "rule": planned.rule}

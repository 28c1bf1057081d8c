"""What a sweep tells the audit log: intents before, outcomes after."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.words import members, words_for
from invite_sweeper.outcome import Deletion, Outcome, Planned

_MOST_KEPT = 1000


class _Ended(NamedTuple):
    moment: datetime
    planned: Planned
    deletion: Deletion
    duration_ms: float


class SweepJournal:
    """Writes one sweep's `intent` and `outcome` lines.

    Outcomes come one by one in the midst of sending, and become lines together, with the date
    at which each came: nobody waits for a line, and several at once cost less.

    Args:
        now: The instant of the run, by which ages are told.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now
        self._ended: list[_Ended] = []

    def intents(self, group: Iterable[Planned]) -> None:
        """Note that these are about to be deleted; on disk once `durable` has returned."""
        self.flush()
        now, words = self._log.now(), self._words
        self._log.write_rendered(b"intent", [(now, words(planned)) for planned in group])

    def outcome(self, planned: Planned, deletion: Deletion, duration_ms: float) -> None:
        """Note what became of one planned deletion; in the log with the next `flush`."""
        self._ended.append(_Ended(self._log.now(), planned, deletion, duration_ms))
        if len(self._ended) >= _MOST_KEPT:
            self.flush()

    def flush(self) -> None:
        """Write the lines of all outcomes that were noted."""
        ended, self._ended = self._ended, []
        if ended:
            self._log.write_rendered(b"outcome", map(self._entry, ended))

    def _entry(self, ended: _Ended) -> tuple[datetime, bytes]:
        moment, planned, deletion, duration_ms = ended
        end, seen = _told(
            deletion.outcome,
            deletion.attempts,
            deletion.http_status,
            deletion.error_code,
            deletion.seen_before,
            deletion.seen_after,
        )
        words = self._words(planned)
        return moment, b'%b,%b,"duration_ms":%.1f,%b' % (words, end, duration_ms, seen)

    async def durable(self) -> None:
        """Return when all that was noted is on disk."""
        self.flush()
        await self._log.durable()

    def _words(self, planned: Planned) -> bytes:
        """Say it as the plan on disk does, byte for byte."""
        return planned.words or words_for(planned.invitation, planned.rule, self._now)


@lru_cache(maxsize=64)
def _told(
    outcome: Outcome,
    attempts: int,
    http_status: int | None,
    error_code: str | None,
    seen_before: str | None,
    seen_after: str | None,
) -> tuple[bytes, bytes]:
    """Say what became of a deletion: what stands before its duration, and what after it."""
    before = {
        "outcome": outcome,
        "attempts": attempts,
        "http_status": http_status,
        "error_code": error_code,
    }
    return members(before), members({"seen_before": seen_before, "seen_after": seen_after})

"""What one restore has come to so far, and its last line."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from invite_sweeper.audit import AuditLog, invitation_fields
from invite_sweeper.errors import AuditUnwritable, ExitCode, RunError
from invite_sweeper.restore.values import Deleted, End, Restored

_UNFINISHED = (Restored.FAILED, Restored.UNKNOWN, Restored.SKIPPED)
_TOLD = ("requests", "retries", "rate_limited", "duration_s")


@dataclass(slots=True)
class Account:
    """One restore.

    Attributes:
        wanted: What the run that is undone had deleted, as far as it was chosen.
        gone: Those of them that nobody has invited again meanwhile.
        ends: What became of each; in a dry run, of those that need no invitation.
        begun: Atlas has told who is there, so there is a result to tell.
    """

    run_id: str
    now: datetime
    dry_run: bool
    audit_log: str
    wanted: Sequence[Deleted]
    gone: Sequence[Deleted] = ()
    ends: Mapping[Deleted, End] = field(default_factory=dict)
    begun: bool = False
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    error: RunError | None = None
    exit_code: int = 0

    @property
    def tally(self) -> Counter[Restored]:
        """What became of them, counted."""
        return Counter(end.outcome for end in self.ends.values())

    async def close(self, log: AuditLog, error: RunError | None) -> None:
        """Write `run_finished`; where that fails the restore ends with the log's exit code."""
        self._end(error)
        try:
            log.write("run_finished", **self._totals())
            await log.durable()
        except AuditUnwritable as trouble:
            self._end(error if isinstance(error, AuditUnwritable) else trouble)

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        return {
            "run_id": self.run_id,
            "mode": "restore",
            "now": self.now,
            "audit_log": self.audit_log,
            **self._totals(),
            "invitations": [self._record(each) for each in self.wanted],
        }

    def said_of(self, deleted: Deleted) -> str:
        """Give the outcome of one of them, or what would be done about it."""
        end = self.ends.get(deleted)
        if end is not None:
            return end.outcome.value
        return "would_restore" if deleted in self.gone else Restored.SKIPPED.value

    def _record(self, deleted: Deleted) -> dict[str, object]:
        end = self.ends.get(deleted)
        return {
            **invitation_fields(deleted.invitation, self.now),
            "deleted_by_run": deleted.run_id,
            "outcome": self.said_of(deleted),
            "http_status": end.http_status if end is not None else None,
            "error_code": end.error_code if end is not None else None,
            "reason": (end.reason or None) if end is not None else None,
        }

    def _totals(self) -> dict[str, object]:
        tally = self.tally
        return {
            "dry_run": self.dry_run,
            "wanted": len(self.wanted),
            "to_restore": len(self.gone),
            **{outcome.value: tally[outcome] for outcome in Restored},
            **{name: getattr(self, name) for name in _TOLD},
            "error": self.error.message if self.error is not None else None,
            "exit_code": self.exit_code,
        }

    def _end(self, error: RunError | None) -> None:
        self.error = error
        if error is not None:
            self.exit_code = int(error.exit_code)
        else:
            partly = any(self.tally[outcome] for outcome in _UNFINISHED)
            self.exit_code = int(ExitCode.PARTLY if partly else ExitCode.DONE)

"""Re-invites users after a run deleted their invitations, recorded in the audit log."""

from invite_sweeper.restore.deletions import (
    DeletedInvitation,
    MemberReader,
    RestoreOutcome,
    RestoreResult,
    check_log_intact,
    read_deletions,
    still_missing,
)
from invite_sweeper.restore.restorer import (
    MAX_PER_MINUTE,
    Inviter,
    InviteRateLimit,
    Restorer,
    RestoreRecorder,
    RestoreReport,
    RestoreRun,
)

__all__ = [
    "MAX_PER_MINUTE",
    "DeletedInvitation",
    "InviteRateLimit",
    "Inviter",
    "MemberReader",
    "RestoreOutcome",
    "RestoreRecorder",
    "RestoreReport",
    "RestoreResult",
    "RestoreRun",
    "Restorer",
    "check_log_intact",
    "read_deletions",
    "still_missing",
]

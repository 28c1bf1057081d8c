"""Re-invites users after a run deleted their invitations, recorded in the audit log."""

from invite_sweeper.restore.deletions import (
    NOTHING_INVITED,
    DeletedInvitation,
    MemberReader,
    RestoreOutcome,
    RestoreResult,
    check_log_intact,
    count_other_doubtful,
    describe_signature,
    read_deletions,
    still_missing,
)
from invite_sweeper.restore.log_facts import LogFacts, read_log_facts
from invite_sweeper.restore.report import RestoreRecorder, RestoreReport, is_added
from invite_sweeper.restore.restorer import (
    MAX_INVITATIONS,
    MAX_PER_MINUTE,
    Inviter,
    InviteRateLimit,
    Restorer,
    RestoreRun,
)

__all__ = [
    "MAX_INVITATIONS",
    "MAX_PER_MINUTE",
    "NOTHING_INVITED",
    "DeletedInvitation",
    "InviteRateLimit",
    "Inviter",
    "LogFacts",
    "MemberReader",
    "RestoreOutcome",
    "RestoreRecorder",
    "RestoreReport",
    "RestoreResult",
    "RestoreRun",
    "Restorer",
    "check_log_intact",
    "count_other_doubtful",
    "describe_signature",
    "is_added",
    "read_deletions",
    "read_log_facts",
    "still_missing",
]

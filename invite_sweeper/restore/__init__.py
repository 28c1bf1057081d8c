"""Re-invites users after a run deleted their invitations, recorded in the audit log."""

from invite_sweeper.restore.deletions import (
    NOTHING_INVITED,
    DeletedInvitation,
    DeletionLog,
    RestoreOutcome,
    RestoreResult,
    check_log_intact,
    count_in_other_organizations,
    count_other_doubtful,
    describe_organizations,
    describe_signature,
    find_deletions,
    read_deletion_log,
)
from invite_sweeper.restore.report import RestoreRecorder, RestoreReport, RestoreSummary, is_added
from invite_sweeper.restore.restorer import (
    MAX_PER_MINUTE,
    InviteRateLimit,
    Restorer,
)
from invite_sweeper.restore.run import MAX_INVITATIONS, RestoreRun, still_missing
from invite_sweeper.restore.signing import signing_variable

__all__ = [
    "MAX_INVITATIONS",
    "MAX_PER_MINUTE",
    "NOTHING_INVITED",
    "DeletedInvitation",
    "DeletionLog",
    "InviteRateLimit",
    "RestoreOutcome",
    "RestoreRecorder",
    "RestoreReport",
    "RestoreResult",
    "RestoreRun",
    "RestoreSummary",
    "Restorer",
    "check_log_intact",
    "count_in_other_organizations",
    "count_other_doubtful",
    "describe_organizations",
    "describe_signature",
    "find_deletions",
    "is_added",
    "read_deletion_log",
    "signing_variable",
    "still_missing",
]

"""Invites again what a run deleted: one at a time, at Atlas's pace, each told in the audit log."""

from invite_sweeper.restore.deletions import (
    Deleted,
    End,
    Restored,
    Roll,
    deletions,
    missing,
    raise_if_damaged,
)
from invite_sweeper.restore.restorer import (
    A_MINUTE,
    Account,
    Course,
    Inviter,
    Pace,
    Restoration,
    RestoreRecorder,
)

__all__ = [
    "A_MINUTE",
    "Account",
    "Course",
    "Deleted",
    "End",
    "Inviter",
    "Pace",
    "Restoration",
    "RestoreRecorder",
    "Restored",
    "Roll",
    "deletions",
    "missing",
    "raise_if_damaged",
]

"""Invites again what a run deleted: one at a time, at Atlas's pace, each told in the audit log."""

from invite_sweeper.restore.account import Account
from invite_sweeper.restore.course import Course
from invite_sweeper.restore.deletions import deletions, raise_if_damaged
from invite_sweeper.restore.journal import RestoreRecorder
from invite_sweeper.restore.look import Roll, missing
from invite_sweeper.restore.pace import A_MINUTE, Pace
from invite_sweeper.restore.passing import Inviter, Restoration
from invite_sweeper.restore.values import Deleted, End, Restored

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

"""The audit log: append (fsync in groups, chained), read back, verify."""

from invite_sweeper.audit.journal import SweepJournal
from invite_sweeper.audit.lane import PlannedLane
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.planned import read_planned
from invite_sweeper.audit.record import PlannedSpan, invitation_fields, planned_invitation

__all__ = [
    "AuditLog",
    "PlannedLane",
    "PlannedSpan",
    "SweepJournal",
    "invitation_fields",
    "planned_invitation",
    "read_planned",
]

"""The audit log: an append-only, hash-chained JSON Lines file with one line per event.

This package exports what a run needs. Import the rest from its module: `verify` checks a
log, `reader` filters its lines.
"""

from invite_sweeper.audit.events import (
    Event,
    Intent,
    InvitationFields,
    OutcomeLine,
    Planned,
    ProjectUnreadable,
    RestoreCounts,
    RestoreFinished,
    RunFinished,
    RunStarted,
    SourceRetired,
    error_fields,
)
from invite_sweeper.audit.files import LogPath, in_order
from invite_sweeper.audit.history import (
    DeletionCounts,
    History,
    OpenIntent,
    PlanScope,
    PreviousPlan,
    RunRecord,
    read_history,
)
from invite_sweeper.audit.lock import RunLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.reader import LinePosition, read_events
from invite_sweeper.audit.write_ahead import PlanReader, PlanSpan, PlanSpanBuilder, SweepRecorder

__all__ = [
    "AuditLog",
    "DeletionCounts",
    "Event",
    "History",
    "Intent",
    "InvitationFields",
    "LinePosition",
    "LogPath",
    "OpenIntent",
    "OutcomeLine",
    "PlanReader",
    "PlanScope",
    "PlanSpan",
    "PlanSpanBuilder",
    "Planned",
    "PreviousPlan",
    "ProjectUnreadable",
    "RestoreCounts",
    "RestoreFinished",
    "RunFinished",
    "RunLock",
    "RunRecord",
    "RunStarted",
    "SourceRetired",
    "SweepRecorder",
    "error_fields",
    "in_order",
    "read_events",
    "read_history",
]

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
    RestoreFinished,
    RunFinished,
    RunStarted,
    SourceRetired,
    error_fields,
    invitation_fields,
)
from invite_sweeper.audit.files import LogPath, in_order
from invite_sweeper.audit.history import (
    DeletionHistory,
    OpenIntent,
    RunRecord,
    last_population,
    last_sweep,
    open_intents,
    organization_names,
    read_runs,
)
from invite_sweeper.audit.lock import RunLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.reader import LinePosition, read_records
from invite_sweeper.audit.write_ahead import PlanReader, PlanSpan, PlanSpanBuilder, SweepRecorder

__all__ = [
    "AuditLog",
    "DeletionHistory",
    "Event",
    "Intent",
    "InvitationFields",
    "LinePosition",
    "LogPath",
    "OpenIntent",
    "OutcomeLine",
    "PlanReader",
    "PlanSpan",
    "PlanSpanBuilder",
    "Planned",
    "ProjectUnreadable",
    "RestoreFinished",
    "RunFinished",
    "RunLock",
    "RunRecord",
    "RunStarted",
    "SourceRetired",
    "SweepRecorder",
    "error_fields",
    "in_order",
    "invitation_fields",
    "last_population",
    "last_sweep",
    "open_intents",
    "organization_names",
    "read_records",
    "read_runs",
]

"""The audit log: append (fsync in groups, chained), read back, verify.

What a person does with a log that is there (`damage`, `show`, `verify`) has a module each and is
taken from it: no run needs it.
"""

from invite_sweeper.audit.history import (
    DeletionHistory,
    OpenIntent,
    Population,
    RunRecord,
    last_population,
    last_sweep_policy,
    open_intents,
    read_runs,
)
from invite_sweeper.audit.lock import RunLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.paths import LogPath, sort_by_start
from invite_sweeper.audit.reader import LinePosition, read_records
from invite_sweeper.audit.record import invitation_fields, invitation_from_record, outcome_fields
from invite_sweeper.audit.write_ahead import PlanReader, PlanSpan, PlanSpanBuilder, SweepRecorder

__all__ = [
    "AuditLog",
    "DeletionHistory",
    "LinePosition",
    "LogPath",
    "OpenIntent",
    "PlanReader",
    "PlanSpan",
    "PlanSpanBuilder",
    "Population",
    "RunLock",
    "RunRecord",
    "SweepRecorder",
    "invitation_fields",
    "invitation_from_record",
    "last_population",
    "last_sweep_policy",
    "open_intents",
    "outcome_fields",
    "read_records",
    "read_runs",
    "sort_by_start",
]

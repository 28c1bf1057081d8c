"""The audit log: append (fsync in groups, chained), read back, verify.

What a person does with a log that is there (`damage`, `show`, `verify`) has a module each and is
taken from it: no run needs it.
"""

from invite_sweeper.audit.history import (
    Bounces,
    OpenIntent,
    PastRun,
    Population,
    last_population,
    last_sweep_policy,
    past_runs,
    unfinished_intents,
)
from invite_sweeper.audit.lock import AuditLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.paths import AuditTarget, in_order
from invite_sweeper.audit.reader import Spot, records
from invite_sweeper.audit.record import invitation_fields, invitation_from_record, outcome_fields
from invite_sweeper.audit.write_ahead import PlanReader, PlanSpan, PlanSpanBuilder, SweepRecorder

__all__ = [
    "AuditLock",
    "AuditLog",
    "AuditTarget",
    "Bounces",
    "OpenIntent",
    "PastRun",
    "PlanReader",
    "PlanSpan",
    "PlanSpanBuilder",
    "Population",
    "Spot",
    "SweepRecorder",
    "in_order",
    "invitation_fields",
    "invitation_from_record",
    "last_population",
    "last_sweep_policy",
    "outcome_fields",
    "past_runs",
    "records",
    "unfinished_intents",
]

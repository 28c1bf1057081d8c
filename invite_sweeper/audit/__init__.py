"""The audit log: append (fsync in groups, chained), read back, verify.

What a person does with a log that is there (`damage`, `show`, `verify`) has a module each and is
taken from it: no run needs it.
"""

from invite_sweeper.audit.bounces import Bounces
from invite_sweeper.audit.history import (
    OpenIntent,
    Population,
    last_population,
    last_sweep_policy,
    unfinished_intents,
)
from invite_sweeper.audit.journal import SweepRecorder
from invite_sweeper.audit.lane import PlanReader
from invite_sweeper.audit.lines import Spot, records
from invite_sweeper.audit.lock import AuditLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.paths import AuditTarget, in_order
from invite_sweeper.audit.record import invitation_fields, invitation_from_record, outcome_fields
from invite_sweeper.audit.runs import PastRun, past_runs
from invite_sweeper.audit.span import PlanSpan, PlanSpanBuilder

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

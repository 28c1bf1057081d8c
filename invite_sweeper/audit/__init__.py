"""The audit log: append (fsync in groups, chained), read back, verify."""

from invite_sweeper.audit.bounces import Bounces
from invite_sweeper.audit.damage import Damage, Finding
from invite_sweeper.audit.history import (
    OpenIntent,
    Population,
    last_population,
    last_sweep_policy,
    unfinished_intents,
)
from invite_sweeper.audit.journal import SweepJournal
from invite_sweeper.audit.lane import PlannedLane
from invite_sweeper.audit.lines import Spot, records
from invite_sweeper.audit.lock import AuditLock
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.paths import AuditTarget, in_order
from invite_sweeper.audit.planned import planned_invitation
from invite_sweeper.audit.record import invitation_fields
from invite_sweeper.audit.runs import PastRun, past_runs
from invite_sweeper.audit.show import Choice, show
from invite_sweeper.audit.span import PlannedSpan, SpanNotes
from invite_sweeper.audit.verify import Verification, verify
from invite_sweeper.audit.words import words_for

__all__ = [
    "AuditLock",
    "AuditLog",
    "AuditTarget",
    "Bounces",
    "Choice",
    "Damage",
    "Finding",
    "OpenIntent",
    "PastRun",
    "PlannedLane",
    "PlannedSpan",
    "Population",
    "SpanNotes",
    "Spot",
    "SweepJournal",
    "Verification",
    "in_order",
    "invitation_fields",
    "last_population",
    "last_sweep_policy",
    "past_runs",
    "planned_invitation",
    "records",
    "show",
    "unfinished_intents",
    "verify",
    "words_for",
]

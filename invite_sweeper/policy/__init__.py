"""Parse policy files: bytes to a frozen `Policy`, or all errors with line and column.

No input or output here; `loader` reads the file.
"""

from invite_sweeper.policy.durations import DurationError, parse_duration
from invite_sweeper.policy.issues import check_policy, parse_policy
from invite_sweeper.policy.model import (
    AuditSettings,
    Execution,
    Keep,
    Limits,
    Matcher,
    Notice,
    Notification,
    Organization,
    ProjectScope,
    Rule,
    json_schema,
)
from invite_sweeper.policy.policy import Policy

__all__ = [
    "AuditSettings",
    "DurationError",
    "Execution",
    "Keep",
    "Limits",
    "Matcher",
    "Notice",
    "Notification",
    "Organization",
    "Policy",
    "ProjectScope",
    "Rule",
    "check_policy",
    "json_schema",
    "parse_duration",
    "parse_policy",
]

"""Policy files: bytes to a frozen `Policy`, or all errors with line and column."""

from invite_sweeper.policy.issues import (
    InvalidPolicy,
    check_policy,
    load_policy,
    parse_duration_option,
    parse_policy,
    read_policy,
)
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
from invite_sweeper.policy.types import InvalidValue, parse_duration
from invite_sweeper.policy.yaml_reader import PolicyIssue, Severity

__all__ = [
    "AuditSettings",
    "Execution",
    "InvalidPolicy",
    "InvalidValue",
    "Keep",
    "Limits",
    "Matcher",
    "Notice",
    "Notification",
    "Organization",
    "Policy",
    "PolicyIssue",
    "ProjectScope",
    "Rule",
    "Severity",
    "check_policy",
    "json_schema",
    "load_policy",
    "parse_duration",
    "parse_duration_option",
    "parse_policy",
    "read_policy",
]

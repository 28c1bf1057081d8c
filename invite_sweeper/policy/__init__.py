"""Policy files: bytes to a frozen `Policy`, or all errors with line and column."""

from invite_sweeper.policy.issues import (
    InvalidPolicy,
    check_policy,
    parse_duration_option,
    parse_policy,
)
from invite_sweeper.policy.model import Execution, Keep, Limits, Notification, Rule
from invite_sweeper.policy.policy import Policy, json_schema
from invite_sweeper.policy.types import format_duration, parse_duration
from invite_sweeper.policy.yaml_reader import MAX_BYTES, PolicyIssue, Severity

__all__ = [
    "MAX_BYTES",
    "Execution",
    "InvalidPolicy",
    "Keep",
    "Limits",
    "Notification",
    "Policy",
    "PolicyIssue",
    "Rule",
    "Severity",
    "check_policy",
    "format_duration",
    "json_schema",
    "parse_duration",
    "parse_duration_option",
    "parse_policy",
]

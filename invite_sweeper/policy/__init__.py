"""Parse policy files: bytes to a frozen `Policy`, or all errors with line and column.

No input or output here; `loader` reads the file.
"""

import hashlib
from datetime import date

from pydantic import ValidationError

from invite_sweeper.errors import InvalidPolicy, PolicyIssue
from invite_sweeper.policy.model import (
    AuditSettings,
    Execution,
    Keep,
    Limits,
    Matcher,
    Notification,
    Organization,
    PolicyFile,
    ProjectScope,
    Rule,
    json_schema,
)
from invite_sweeper.policy.types import READABLE_SOURCES, DurationError, parse_duration
from invite_sweeper.policy.valid_policy import Policy
from invite_sweeper.policy.validation import policy_issues, policy_warnings
from invite_sweeper.policy.yaml_reader import Document, parse_yaml

__all__ = [
    "READABLE_SOURCES",
    "AuditSettings",
    "DurationError",
    "Execution",
    "Keep",
    "Limits",
    "Matcher",
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


def parse_policy(data: bytes, name: str) -> Policy:
    """Parse the bytes of a policy file.

    Args:
        data: The whole file; any bytes.
        name: The file's name as the operator gave it; precedes each error.

    Raises:
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy, issues = _parse(data, parse_yaml(data))
    if policy is None:
        raise InvalidPolicy(name, issues)
    return policy


def check_policy(data: bytes, today: date) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    """Parse a policy file and return it with its warnings, or None with all errors.

    Args:
        data: The whole file; any bytes.
        today: For entries that end, in UTC.
    """
    document = parse_yaml(data)
    policy, issues = _parse(data, document)
    if policy is None:
        return None, issues
    return policy, policy_warnings(document, policy.suspicious_entries(today))


def _parse(data: bytes, document: Document) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    policy_file: PolicyFile | None = None
    error: ValidationError | None = None
    if document.root is not None:
        try:
            policy_file = PolicyFile.model_validate(document.root.value)
        except ValidationError as caught:
            error = caught
    issues = policy_issues(document, error)
    if issues or policy_file is None:
        return None, issues
    sha256 = hashlib.sha256(data).hexdigest()
    return Policy.model_validate({**dict(policy_file), "sha256": sha256}), ()

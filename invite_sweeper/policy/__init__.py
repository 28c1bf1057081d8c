"""YAML text to a frozen policy, or every fault of it with line and column. Pure."""

import hashlib

from pydantic import ValidationError

from invite_sweeper.errors import InvalidPolicy
from invite_sweeper.policy.model import (
    AuditSettings,
    Execution,
    Keep,
    Limits,
    Matcher,
    Notification,
    Organization,
    Policy,
    PolicyFile,
    ProjectScope,
    Rule,
    json_schema,
)
from invite_sweeper.policy.types import READABLE_SOURCES, DurationError, parse_duration
from invite_sweeper.policy.validation import policy_issues
from invite_sweeper.policy.yaml_reader import parse_yaml

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
    "json_schema",
    "parse_duration",
    "parse_policy",
]


def parse_policy(data: bytes, name: str) -> Policy:
    """Read a policy from the bytes of a file, whatever they are.

    Args:
        data: The whole file.
        name: What the person calls the file; it stands before each fault.

    Raises:
        PolicyFault: The file has faults, all of which are listed. Atlas was not called.
    """
    document = parse_yaml(data)
    policy_file: PolicyFile | None = None
    error: ValidationError | None = None
    if document.root is not None:
        try:
            policy_file = PolicyFile.model_validate(document.root.value)
        except ValidationError as caught:
            error = caught
    issues = policy_issues(document, error)
    if issues or policy_file is None:
        raise InvalidPolicy(name, issues)
    return Policy.model_validate({**dict(policy_file), "sha256": hashlib.sha256(data).hexdigest()})

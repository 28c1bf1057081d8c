"""Parse a policy, or find every error in it, with position, message and hint."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from datetime import date, timedelta

from pydantic import ValidationError

from invite_sweeper.errors import InvalidPolicy, PolicyIssue, Severity
from invite_sweeper.policy.issues import issue_at_value, model_issues
from invite_sweeper.policy.messages import Finding, KeyPath, format_path, join_or, quote
from invite_sweeper.policy.model import CONDITIONS, SELECTIONS, PolicyFile
from invite_sweeper.policy.valid_policy import INVITATION_LIFETIME, Policy, only_pending
from invite_sweeper.policy.yaml_reader import Document, parse_yaml


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


def check_policy(
    data: bytes, today: date, credentials: Collection[str] = ()
) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    """Parse a policy file and return it with its warnings, or None with all errors.

    Args:
        today: For entries that end, in UTC.
        credentials: The names of the sets in the environment; empty to not compare them.
    """
    document = parse_yaml(data)
    policy, issues = _parse(data, document)
    if policy is None:
        return None, issues
    findings = [*policy.suspicious_entries(today), *policy.unread_list()]
    if credentials:
        findings += policy.unseen_organizations(credentials)
    warnings = (issue_at_value(document, *each) for each in findings)
    return policy, tuple(sorted(each._replace(severity=Severity.WARNING) for each in warnings))


def _parse(data: bytes, document: Document) -> tuple[Policy | None, tuple[PolicyIssue, ...]]:
    """Return the policy, or None with every error of the file once, in file order."""
    issues = {
        PolicyIssue(
            *document.position(issue.index), format_path(issue.path), issue.message, issue.hint
        )
        for issue in document.issues
    }
    if document.root is None:
        return None, tuple(sorted(issues))
    policy_file: PolicyFile | None = None
    try:
        policy_file = PolicyFile.model_validate(document.root.value)
    except ValidationError as error:
        issues.update(model_issues(document, error))
    issues.update(issue_at_value(document, *each) for each in _across_fields(document.root.value))
    if policy_file is not None:
        issues.update(issue_at_value(document, *each) for each in _notice_too_long(policy_file))
    if issues or policy_file is None:
        return None, tuple(sorted(issues))
    return Policy(**dict(policy_file), sha256=hashlib.sha256(data).hexdigest()), ()


def _across_fields(data: object) -> Iterator[Finding]:
    """Yield every error that involves several values.

    Reads the plain data, not the models, so that an error in one place does not hide an error
    in another. Values of a wrong type are skipped.
    """
    if not isinstance(data, dict):
        return
    yield from _duplicates(data, "organizations", _organization_id)
    yield from _duplicates(data, "sources", lambda entry: entry)
    yield from _duplicates(data, "rules", _folded_name)
    yield from _duplicates(data, "keep", _folded_name)
    for path, rule in _mappings(data, "rules"):
        if not rule.keys() & set(CONDITIONS) or _has_only_expired_false(rule):
            yield Finding(
                path,
                "has no time or status condition",
                "add `older_than`, `expired: true`, `expires_within`, `statuses` or "
                "`inviter_gone: true`",
            )
    matchers = (*CONDITIONS, *SELECTIONS)
    for path, entry in _mappings(data, "keep"):
        if not entry.keys() & set(matchers):
            yield Finding(path, "would keep everything", f"add one of {join_or(matchers)}")
    for path, entry in _mappings(data, "notify"):
        at_secret, kind = (*path, "secret_env"), entry.get("kind")
        if kind == "webhook" and "secret_env" not in entry:
            yield Finding(at_secret, "is missing", "name the variable with the signing key")
        if kind in ("slack", "ping") and "secret_env" in entry:
            yield Finding(at_secret, f"applies to `webhook`, not to `{kind}`", "remove it")


def _notice_too_long(policy: PolicyFile) -> Iterator[Finding]:
    """Yield the rules whose invitations Atlas ends before a notice is over."""
    if policy.notice is None:
        return
    for number, rule in enumerate(policy.rules):
        age = rule.older_than or timedelta()
        if only_pending(rule, policy.sources) and age + policy.notice.wait >= INVITATION_LIFETIME:
            yield Finding(
                ("rules", number),
                "never deletes: Atlas ends PENDING invitations after "
                f"{INVITATION_LIFETIME.days} days, and `older_than` and `notice.wait` together "
                "reach that",
                "shorten one of them",
            )


def _has_only_expired_false(rule: dict[str, object]) -> bool:
    return rule.keys() & set(CONDITIONS) == {"expired"} and rule["expired"] is False


def _entries(data: dict[str, object], key: str) -> tuple[object, ...]:
    entries = data.get(key)
    return entries if isinstance(entries, tuple) else ()


def _mappings(data: dict[str, object], key: str) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    for position, entry in enumerate(_entries(data, key)):
        if isinstance(entry, dict):
            yield (key, position), entry


def _organization_id(entry: object) -> object:
    return entry.get("id") if isinstance(entry, dict) else entry


def _folded_name(entry: object) -> object:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name.casefold() if isinstance(name, str) else None


def _duplicates(
    data: dict[str, object], key: str, identity: Callable[[object], object]
) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for position, entry in enumerate(_entries(data, key)):
        key_value = identity(entry)
        if not isinstance(key_value, str):
            continue
        first = seen.setdefault(key_value, position)
        if first != position:
            message = f"repeats {quote(key_value)} of {key}[{first}]"
            yield Finding((key, position), message, "keep one of the two")

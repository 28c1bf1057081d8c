"""The policies under which runs worked, from the copies beside their files.

A run records the hash of its policy, and keeps the policy as `policies/SHA256.yaml` beside its file
(`audit/policy_copies.py`). Without the copy, what the hash stands for is not known.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from invite_sweeper.audit import AuditDirectory, RunRecord
from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.policy import MAX_BYTES, Keep, Policy, Rule, parse_policy
from invite_sweeper.policy.types import format_duration

_WORDS: Final = frozenset({"name", "reason", "until"})
"""Keys of an entry that are not conditions."""


class PolicyPart(NamedTuple):
    """A rule or a keep entry of a policy, or the policy itself where its text is not known.

    Attributes:
        sha256: Of the policy's bytes.
        path: Of the policy, as in the last run with it.
        first: The first night of the period with a run under it.
        last: The last one.
        name: With its kind: `rule forgotten`, `keep board`, `notice`.
        text: Its conditions.
    """

    sha256: str
    path: str
    first: date
    last: date
    name: str
    text: str


class _InForce(NamedTuple):
    """When a policy was in force, and its path in the last run with it."""

    path: str
    first: date
    last: date


class PoliciesInForce:
    """The policies of a period, in the order in which they came into force.

    Args:
        folder: Of the files of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self._directory = AuditDirectory(folder)
        self._policies: dict[str, Policy | None] = {}
        self._in_force: dict[str, _InForce] = {}  # by SHA-256, as the policies

    def add(self, run: RunRecord, night: date) -> None:
        """Add the policy of a run; a restore has none."""
        sha256 = run.start.policy_sha256
        if sha256 is None:
            return
        earlier = self._in_force.get(sha256)
        self._in_force[sha256] = _InForce(
            path=run.start.policy_path or "",
            first=earlier.first if earlier is not None else night,
            last=night,
        )

    def policy_of(self, run: RunRecord) -> Policy | None:
        """Return the policy of a run; None where its copy is missing or cannot be read."""
        sha256 = run.start.policy_sha256
        return self._policy(sha256) if sha256 is not None else None

    def parts(self) -> Iterator[PolicyPart]:
        """Yield the rules and keep entries of each policy, and its notice."""
        for sha256, in_force in self._in_force.items():
            policy = self._policy(sha256)
            texts = _texts(policy) if policy is not None else _NOT_KNOWN
            for name, text in texts.items():
                yield PolicyPart(
                    sha256=sha256,
                    path=in_force.path,
                    first=in_force.first,
                    last=in_force.last,
                    name=name,
                    text=text,
                )

    def _policy(self, sha256: str) -> Policy | None:
        """Return a policy, whose copy is read once; None where that cannot be read."""
        if sha256 not in self._policies:
            self._policies[sha256] = self._read(sha256)
        return self._policies[sha256]

    def _read(self, sha256: str) -> Policy | None:
        path = self._directory.policies.path_of(sha256)
        try:
            policy = parse_policy(read_small_file(path, MAX_BYTES), path.name)
        except (OSError, UsageError):  # missing, or of another version
            return None
        return policy if policy.sha256 == sha256 else None


_NOT_KNOWN: Final[Mapping[str, str]] = {
    "rules": "not known: its copy is not beside the files, or cannot be read"
}


def _texts(policy: Policy) -> Mapping[str, str]:
    """Return the conditions of each rule and keep entry, and the notice, by unique names."""
    texts = {f"rule {rule.name}": _conditions(rule) for rule in policy.rules}
    for entry in policy.keep:
        text = _conditions(entry)
        if entry.until is not None:
            text += f"; until {entry.until}"
        if entry.reason is not None:
            text += f"; reason: {entry.reason}"
        texts[f"keep {entry.name}"] = text
    if policy.notice is not None:
        texts["notice"] = f"wait: {format_duration(policy.notice.wait)}"
    return texts


def _conditions(entry: Rule | Keep) -> str:
    """Return the conditions of an entry as the policy writes them, on one line."""
    parts = []
    for key in type(entry).model_fields:
        value = getattr(entry, key)
        if value is None or key in _WORDS:
            continue
        if isinstance(value, timedelta):
            text = format_duration(value)
        elif isinstance(value, tuple):
            text = ", ".join(map(str, value))
        else:
            text = str(value).lower()
        parts.append(f"{key}: {text}")
    return "; ".join(parts)

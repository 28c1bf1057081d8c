"""What no single value shows: lists without repetition, rules with a condition.

These look at the plain data and not at the models, so that a fault in one place does not
hide what is missing in another.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from invite_sweeper.policy.matchers import CONDITIONS, SELECTIONS
from invite_sweeper.policy.words import Path, listed, shown

_MATCHERS = (*CONDITIONS, *SELECTIONS)
_PLACEHOLDERS = ("{date}", "{run_id}")


class Finding(NamedTuple):
    """A fault and the way to it."""

    path: Path
    what: str
    hint: str


def findings(data: object) -> Iterator[Finding]:
    """Find every fault of the whole; values of a wrong type are passed over."""
    if not isinstance(data, dict):
        return
    yield from _repeated(data, "organizations", _organization_id)
    yield from _repeated(data, "sources", lambda entry: entry)
    yield from _repeated(data, "rules", _folded_name)
    yield from _repeated(data, "keep", _folded_name)
    for path, rule in _mappings(data, "rules"):
        yield from _without_condition(path, rule)
    for path, entry in _mappings(data, "keep"):
        if not any(key in entry for key in _MATCHERS):
            yield Finding(path, "would keep everything", f"add one of {listed(_MATCHERS)}")
    for path, entry in _mappings(data, "notify"):
        yield from _secret(path, entry)
    yield from _audit_path(data)


def _entries(data: dict[str, object], key: str) -> tuple[object, ...]:
    entries = data.get(key)
    return entries if isinstance(entries, tuple) else ()


def _mappings(data: dict[str, object], key: str) -> Iterator[tuple[Path, dict[str, object]]]:
    for position, entry in enumerate(_entries(data, key)):
        if isinstance(entry, dict):
            yield (key, position), entry


def _organization_id(entry: object) -> object:
    return entry.get("id") if isinstance(entry, dict) else entry


def _folded_name(entry: object) -> object:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name.casefold() if isinstance(name, str) else None


def _repeated(
    data: dict[str, object], key: str, identity: Callable[[object], object]
) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for position, entry in enumerate(_entries(data, key)):
        same = identity(entry)
        if not isinstance(same, str):
            continue
        first = seen.setdefault(same, position)
        if first != position:
            yield Finding(
                (key, position), f"repeats {shown(same)} of {key}[{first}]", "keep one of the two"
            )


def _without_condition(path: Path, rule: dict[str, object]) -> Iterator[Finding]:
    if (
        any(key in rule for key in CONDITIONS if key != "expired")
        or rule.get("expired", False) is not False
    ):
        return
    yield Finding(
        path,
        "has no condition of time or status, and nothing is stale for being there",
        "add `older_than`, `expired: true`, `expires_within` or `statuses`",
    )


def _secret(path: Path, entry: dict[str, object]) -> Iterator[Finding]:
    kind = entry.get("kind")
    if kind == "webhook" and "secret_env" not in entry:
        yield Finding((*path, "secret_env"), "is missing", "name the variable with the signing key")
    if kind in ("slack", "ping") and "secret_env" in entry:
        yield Finding(
            (*path, "secret_env"), f"is for `webhook`, and this is a `{kind}`", "remove it"
        )


def _audit_path(data: dict[str, object]) -> Iterator[Finding]:
    audit = data.get("audit")
    path = audit.get("path") if isinstance(audit, dict) else None
    if isinstance(path, str):
        left = path
        for placeholder in _PLACEHOLDERS:
            left = left.replace(placeholder, "")
        if re.search(r"[{}]", left):
            yield Finding(
                ("audit", "path"),
                f"{shown(path)} holds a placeholder that is none",
                f"write {listed(_PLACEHOLDERS)}, or no braces",
            )

"""Describe a decision in one sentence. Pure."""

from invite_sweeper.selection import KEEP_REASONS, Decision


def in_words(decision: Decision) -> str:
    """Return whether a sweep would delete the invitation, and why."""
    if decision.rule is not None:
        back = f"; deleted before: {decision.bounced}, and back" if decision.bounced else ""
        return f"stale by the rule `{decision.rule}`: a sweep would delete it{back}"
    key = decision.kept or ""
    return f"kept: {KEEP_REASONS.get(key) or _entry_reason(key)}"


def _entry_reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "keep":
        return f"the keep entry `{name}` matches"
    return f"an entry cannot be judged ({key.replace('_', ' ')})"

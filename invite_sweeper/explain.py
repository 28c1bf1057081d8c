"""Explains why an invitation is stale or kept: every entry of the policy, key by key."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from invite_sweeper.audit.events import invitation_fields
from invite_sweeper.models import Invitation, Timestamp, UnreadableDate
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.decision_steps import Step, apply_steps
from invite_sweeper.sweep.selection import (
    KEEP_REASONS,
    Decision,
    EntryResult,
    MatchResult,
    Members,
    Selector,
)
from invite_sweeper.text import pluralize


def describe_decision(decision: Decision) -> str:
    """Return whether a sweep would delete the invitation, and why."""
    if decision.rule is not None:
        times = pluralize(decision.bounced, "time")
        note = f"; it was deleted {times} before and came back" if decision.bounced else ""
        return f"stale by rule `{decision.rule}`: a sweep would delete it{note}"
    key, announcement = decision.keep_reason or "", decision.announcement
    if announcement is not None and (due := announcement.deletable_from) is not None:
        begun = "the next sweep announces it"
        if announcement.announced_at is not None:
            begun = f"announced {announcement.announced_at:%Y-%m-%d}"
        return f"kept: {begun}, deletable from {due:%Y-%m-%d}"
    return f"kept: {KEEP_REASONS.get(key) or _entry_reason(key)}"


def _entry_reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "keep":
        return f"keep entry `{name}` matches"
    return f"an entry cannot be evaluated ({key.replace('_', ' ')})"


_IMPLICIT_STATUSES = "not PENDING in a users list, unless the rule names statuses"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyResult:
    """One key of an entry, compared with the invitation.

    Attributes:
        expected: The policy's value.
        actual: The invitation's value.
        result: Whether it matches; a text is the reason why it cannot be evaluated.
    """

    name: str
    expected: str
    actual: str
    result: MatchResult


@dataclass(frozen=True, slots=True)
class EntryExplanation:
    """One keep entry or rule, compared with the invitation.

    Attributes:
        kind: `keep` or `rule`.
        result: As in `KeyResult`; None for an expired keep entry, which is not evaluated.
        note: The policy's reason for a keep entry, or when it expired.
    """

    kind: str
    name: str
    result: MatchResult | None
    keys: tuple[KeyResult, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one invitation is stale or kept.

    Attributes:
        by_policy: The decision of the policy alone.
        decision: The decision of a run, in which bounces and a saved plan may keep more.
    """

    invitation: Invitation
    entries: tuple[EntryExplanation, ...]
    by_policy: Decision
    decision: Decision

    def to_record(self, now: datetime) -> dict[str, object]:
        """Return the JSON object, with the invitation's fields as in the audit log."""
        record: dict[str, object] = dict(invitation_fields(self.invitation, now))
        for kind in ("keep", "rule"):
            record[f"{kind}s" if kind == "rule" else kind] = [
                _entry_record(entry) for entry in self.entries if entry.kind == kind
            ]
        record["by_policy"] = _decision_record(self.by_policy)
        record["decision"] = _decision_record(self.decision)
        return record


class Explainer:
    """Explains invitations by one policy.

    Args:
        now: From which ages are counted, aware UTC.
        steps: Those of a run, which may keep more than the policy does.
        members: For `inviter_gone`.
    """

    def __init__(
        self,
        policy: Policy,
        now: datetime,
        steps: Sequence[Step] = (),
        members: Members | None = None,
    ) -> None:
        self._selector = Selector(policy, now, members or {})
        self._now = now
        self._steps = steps
        self._entries: Mapping[tuple[str, str], Rule | Keep] = {
            **{("keep", entry.name): entry for entry in policy.keep},
            **{("rule", rule.name): rule for rule in policy.rules},
        }
        self._expired = tuple(entry for entry in policy.keep if not entry.is_active(now.date()))

    def explain(self, invitation: Invitation) -> Explanation:
        """Return what every entry and the run decide about one invitation."""
        by_policy = self._selector.decide(invitation)
        return Explanation(
            invitation,
            (
                *self._explain_expired(),
                *map(self._explain_entry(invitation), self._selector.explain(invitation)),
            ),
            by_policy,
            apply_steps(self._steps, by_policy),
        )

    def _explain_expired(self) -> Iterator[EntryExplanation]:
        for entry in self._expired:
            yield EntryExplanation("keep", entry.name, None, (), f"expired on {entry.until}")

    def _explain_entry(self, invitation: Invitation) -> Callable[[EntryResult], EntryExplanation]:
        def explain_entry(evaluated: EntryResult) -> EntryExplanation:
            entry = self._entries[evaluated.kind, evaluated.name]
            keys = tuple(
                KeyResult(
                    name,
                    _expected_text(entry, name),
                    _actual_text(invitation, name, self._now),
                    result,
                )
                for name, result in evaluated.conditions
            )
            note = (entry.reason or "") if isinstance(entry, Keep) else ""
            return EntryExplanation(evaluated.kind, evaluated.name, evaluated.result, keys, note)

        return explain_entry


def _expected_text(entry: Rule | Keep, key: str) -> str:
    value: object = getattr(entry, key)
    if value is None:
        return _IMPLICIT_STATUSES  # rules without the key `statuses` are still checked for it
    if isinstance(value, timedelta):
        return _days_text(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower()


def _actual_text(invitation: Invitation, key: str, now: datetime) -> str:
    values: Mapping[str, str | None] = {
        "older_than": _age_text(invitation.created_at, now),
        "expired": _timestamp_text(invitation.expires_at),
        "expires_within": _timestamp_text(invitation.expires_at),
        "usernames": invitation.username,
        "inviters": invitation.inviter,
        "roles": ", ".join(invitation.all_roles),
        "projects": _projects_text(invitation),
        "statuses": invitation.status,
        "inviter_gone": invitation.inviter,
    }
    return values[key] or ""


def _projects_text(invitation: Invitation) -> str:
    if not invitation.source.is_organization_level:
        return f"{invitation.project_name} ({invitation.project_id})"
    return ", ".join(f"{name} ({id_})".lstrip() for id_, name in invitation.linked_projects)


def _age_text(created_at: Timestamp, now: datetime) -> str:
    return (
        _days_text(now - created_at)
        if isinstance(created_at, datetime)
        else _timestamp_text(created_at)
    )


def _timestamp_text(timestamp: Timestamp) -> str:
    if isinstance(timestamp, datetime):
        return timestamp.isoformat().replace("+00:00", "Z")
    return timestamp.raw if isinstance(timestamp, UnreadableDate) else ""


def _days_text(span: timedelta) -> str:
    """Return days to the hundredth, rounded down so that too young never reads as old enough."""
    return f"{span // (_DAY / 100) / 100:g} days" if span % _DAY else f"{span.days} days"


def _entry_record(entry: EntryExplanation) -> dict[str, object]:
    return {
        "name": entry.name,
        "matched": entry.result is True,
        "unknown": entry.result if isinstance(entry.result, str) else None,
        "ended": entry.result is None,
        "note": entry.note or None,
        "keys": [
            {
                "key": key.name,
                "expected": key.expected,
                "actual": key.actual,
                "matched": key.result is True,
                "unknown": key.result if isinstance(key.result, str) else None,
            }
            for key in entry.keys
        ],
    }


def _decision_record(decision: Decision) -> dict[str, object]:
    return {
        "stale": decision.stale,
        "rule": decision.rule,
        "kept": decision.keep_reason,
        "bounced": decision.bounced,
        "description": describe_decision(decision),
    }

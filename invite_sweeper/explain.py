"""Explains why an invitation is stale or kept: every entry of the policy, key by key."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.models import Entry, Invitation, Timestamp, UnreadableDate, entries_of
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.decision_steps import Step, apply_steps, keep_unrecordable
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


_DAY = timedelta(days=1)


class KeyExplanation(msgspec.Struct, frozen=True):
    """One key of a rule or keep entry, compared with an invitation.

    Attributes:
        expected: The policy's value.
        actual: The invitation's value.
        unknown: Why it cannot be evaluated; None if it can.
    """

    key: str
    expected: str
    actual: str
    matched: bool
    unknown: str | None


class EntryExplanation(msgspec.Struct, frozen=True):
    """A rule or keep entry, compared with an invitation.

    Attributes:
        unknown: Why it cannot be evaluated; None if it can.
        ended: A keep entry that no longer applies.
        note: The reason of a keep entry, or when it ended.
    """

    name: str
    matched: bool = False
    unknown: str | None = None
    ended: bool = False
    note: str | None = None
    keys: tuple[KeyExplanation, ...] = ()


class DecisionExplanation(msgspec.Struct, frozen=True):
    """Whether a sweep would delete an invitation.

    Attributes:
        rule: The first rule that matches; None for a kept invitation.
        kept: Why it is kept, a key of `kept_by_reason`; None for a stale one.
        bounced: How often it was deleted before and came back.
    """

    stale: bool
    rule: str | None
    kept: str | None
    bounced: int
    description: str

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Return the explanation of a decision."""
        description = describe_decision(decision)
        return cls(
            decision.stale, decision.rule, decision.keep_reason, decision.bounced, description
        )


class OtherEntry(Entry, frozen=True, kw_only=True):
    """Another entry of an invitation, with the decision of the policy about it alone."""

    by_policy: DecisionExplanation


class Explanation(InvitationFields, frozen=True, kw_only=True):
    """An invitation, and why it is stale or kept.

    Attributes:
        entries: Its other entries.
        by_policy: The decision of the policy alone about the named entry.
        decision: The decision of a run, in which other entries, earlier deletions and a plan may
            keep more.
    """

    entries: tuple[OtherEntry, ...] = ()

    keep: tuple[EntryExplanation, ...]
    rules: tuple[EntryExplanation, ...]
    by_policy: DecisionExplanation
    decision: DecisionExplanation


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
        self._members = members or {}
        self._selector = Selector(policy, now, self._members)
        self._now = now
        self._steps = steps
        self._entries: Mapping[tuple[str, str], Rule | Keep] = {
            **{("keep", entry.name): entry for entry in policy.keep},
            **{("rule", rule.name): rule for rule in policy.rules},
        }
        self._expired = tuple(entry for entry in policy.keep if not entry.is_active(now.date()))

    def decide(self, entry: Invitation) -> Decision:
        """Return the decision about one entry of a list."""
        return keep_unrecordable(self._selector.decide(entry))

    def explain(self, invited: Decision) -> Explanation:
        """Return what every entry of the policy and the run decide about one invitation."""
        invitation = invited.invitation
        by_policy = self._selector.decide(invitation)
        evaluated = self._selector.explain(invitation)
        entries = {
            kind: tuple(
                self._explain_entry(each, invitation) for each in evaluated if each.kind == kind
            )
            for kind in ("keep", "rule")
        }
        ended = (
            EntryExplanation(entry.name, ended=True, note=f"expired on {entry.until}")
            for entry in self._expired
        )
        return Explanation.from_invitation(
            invitation,
            self._now,
            keep=(*ended, *entries["keep"]),
            rules=entries["rule"],
            by_policy=DecisionExplanation.of(by_policy),
            decision=DecisionExplanation.of(apply_steps(self._steps, invited)),
            entries=tuple(
                OtherEntry(
                    **structs.asdict(named),
                    by_policy=DecisionExplanation.of(self._selector.decide(each)),
                )
                for each, named in zip(invited.entries, entries_of(invited.entries), strict=True)
            ),
        )

    def _explain_entry(self, evaluated: EntryResult, invitation: Invitation) -> EntryExplanation:
        entry = self._entries[evaluated.kind, evaluated.name]
        keys = tuple(
            KeyExplanation(
                name,
                _expected_text(entry, name),
                self._inviter_text(invitation, result)
                if name == "inviter_gone"
                else _actual_text(invitation, name, self._now),
                matched=result is True,
                unknown=result if isinstance(result, str) else None,
            )
            for name, result in evaluated.conditions
        )
        return EntryExplanation(
            evaluated.name,
            matched=evaluated.result is True,
            unknown=evaluated.result if isinstance(evaluated.result, str) else None,
            note=(entry.reason if isinstance(entry, Keep) else None) or None,
            keys=keys,
        )

    def _inviter_text(self, invitation: Invitation, gone: MatchResult) -> str:
        """Return the inviter, and whether it is one of the active members."""
        known = pluralize(len(self._members.get(invitation.org_id, ())), "active member")
        if gone is True:
            state = f"none of the {known}"
        elif gone is False:
            state = f"one of the {known}"
        elif invitation.org_id in self._members:
            state = "not a person's address"
        else:
            state = "the active members are not known"
        return f"{invitation.inviter or 'no inviter'}: {state}"


def _expected_text(entry: Rule | Keep, key: str) -> str:
    value: object = getattr(entry, key)
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

"""Explains why invitations are stale or kept: the decision, the condition that made it, and when.

When an invitation becomes stale is found by deciding it at each instant at which a key of the
policy changes, with the decisions of a run.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.models import (
    Entry,
    Invitation,
    Source,
    Timestamp,
    UnreadableDate,
    entries_of,
)
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import (
    KEEP_REASONS,
    Decision,
    Explained,
    MatchResult,
    Members,
    Selector,
)
from invite_sweeper.sweep.steps import keep_unrecordable
from invite_sweeper.text import pluralize

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
        kind: `keep` or `rule`.
        unknown: Why it cannot be evaluated; None if it can.
        ended: A keep entry that no longer applies.
        note: The reason of a keep entry, or when it ended.
    """

    kind: str
    name: str
    matched: bool = False
    unknown: str | None = None
    ended: bool = False
    note: str | None = None
    keys: tuple[KeyExplanation, ...] = ()


class OtherEntry(Entry, frozen=True, kw_only=True):
    """Another entry of an invitation.

    Attributes:
        description: The decision of the policy about it alone.
    """

    description: str


class Explanation(InvitationFields, frozen=True, kw_only=True):
    """An invitation, and why a sweep would delete or keep it.

    Attributes:
        entries: Its other entries.
        rule: The first rule that matches; None where none does.
        kept: Why it is kept, a key of `kept_by_reason`; None for a stale one.
        bounced: How often it was deleted before and came back.
        description: The decision, in a few words.
        condition: What made it; None where no key of the policy did.
        stale_from: Since when it is stale, or from when on if nothing changes; None where it
            never is, or where no rule decides.
        stale_by: The rule that matches then.
        deletable_from: When the `notice` of the policy is over, of an invitation that waits.
        policy: Each keep entry and each rule of the policy, in the order of their evaluation.
    """

    entries: tuple[OtherEntry, ...] = ()
    rule: str | None
    kept: str | None
    bounced: int
    description: str
    condition: KeyExplanation | None
    stale_from: datetime | None
    stale_by: str | None
    deletable_from: datetime | None
    policy: tuple[EntryExplanation, ...]


class Explainer:
    """Explains invitations by one policy.

    Args:
        now: The instant of the command, aware UTC.
        members: For `inviter_gone`.
    """

    def __init__(self, policy: Policy, now: datetime, members: Members) -> None:
        self._policy = policy
        self._members = members
        self._selector = Selector(policy, now, members)
        self._now = now

    def explain(self, by_policy: Decision, decision: Decision) -> Explanation:
        """Return why an invitation is deleted or kept.

        Args:
            by_policy: Before the steps of a run.
            decision: After them.
        """
        invitation, announcement = decision.invitation, decision.announcement
        evaluated = self._selector.explain(invitation)
        policy = (*self._ended(), *(self._explain_entry(each, invitation) for each in evaluated))
        stale_from, stale_by = self._stale_from(by_policy)
        return Explanation.from_invitation(
            invitation,
            self._now,
            entries=tuple(
                OtherEntry(**structs.asdict(named), description=self._describe_entry(each))
                for each, named in zip(decision.entries, entries_of(decision.entries), strict=True)
            ),
            rule=by_policy.rule,
            kept=decision.keep_reason,
            bounced=decision.bounced,
            description=describe_decision(by_policy, decision),
            condition=_condition(by_policy, policy, stale_by),
            stale_from=stale_from,
            stale_by=stale_by,
            deletable_from=announcement.deletable_from if announcement is not None else None,
            policy=policy,
        )

    def _describe_entry(self, entry: Invitation) -> str:
        decision = keep_unrecordable(self._selector.decide(entry))
        return describe_decision(decision, decision)

    def _stale_from(self, invited: Decision) -> tuple[datetime | None, str | None]:
        """Return from when on the policy makes an invitation stale, and by which rule."""
        if invited.keep_reason == "list_unread":
            return None, None
        instants = sorted(set(self._instants(invited.all_entries)))
        found: tuple[datetime | None, str | None] = (None, invited.rule)
        if invited.stale:
            for instant in (each for each in reversed(instants) if each <= self._now):
                if self._rule_at(instant, invited) is None:
                    break
                found = instant, invited.rule
            return found
        for instant in (each for each in instants if each > self._now):
            rule = self._rule_at(instant, invited)
            if rule is not None:
                return instant, rule
        return None, None

    def _rule_at(self, instant: datetime, invited: Decision) -> str | None:
        """Return the rule that makes an invitation stale at an instant; None if it is kept."""
        selector = Selector(self._policy, instant, self._members)
        entries = [keep_unrecordable(selector.decide(each)) for each in invited.all_entries]
        if invited.invitation.source is not Source.INVITES:
            entries = [
                each
                for each in combine(entries, all_read=True)
                if invited.invitation in each.all_entries
            ]
        return entries[0].rule

    def _instants(self, entries: Iterable[Invitation]) -> Iterator[datetime]:
        """Yield when a key of the policy begins or ceases to match one of the entries."""
        for each in (*self._policy.rules, *self._policy.keep):
            if isinstance(each, Keep) and each.until is not None:
                yield from _sum(datetime.combine(each.until, time(), UTC), _DAY)
            for entry in entries:
                yield from _sum(entry.created_at, each.older_than)
                if each.expired is not None or each.expires_within is not None:
                    yield from _sum(entry.expires_at, timedelta())
                    yield from _sum(entry.expires_at, -(each.expires_within or timedelta()))

    def _ended(self) -> Iterator[EntryExplanation]:
        for entry in self._policy.keep:
            if not entry.is_active(self._now.date()):
                note = f"expired on {entry.until}"
                yield EntryExplanation("keep", entry.name, ended=True, note=note)

    def _explain_entry(self, explained: Explained, invitation: Invitation) -> EntryExplanation:
        entry, found, results = explained
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
            for name, result in results
        )
        return EntryExplanation(
            "keep" if isinstance(entry, Keep) else "rule",
            entry.name,
            matched=found is True,
            unknown=found if isinstance(found, str) else None,
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


def describe_decision(by_policy: Decision, decision: Decision) -> str:
    """Return what a sweep would do with an invitation, and why.

    Args:
        by_policy: Before the steps of a run.
        decision: After them.
    """
    if decision.rule is not None:
        times = pluralize(decision.bounced, "time")
        note = f"; it was deleted {times} before and came back" if decision.bounced else ""
        return f"stale by rule {decision.rule}{note}"
    key, announcement = decision.keep_reason or "", decision.announcement
    if announcement is not None and announcement.deletable_from is not None:
        begun = "the next sweep announces it"
        if announcement.announced_at is not None:
            begun = f"announced {announcement.announced_at:%Y-%m-%d}"
        return f"kept: {begun}; stale by rule {by_policy.rule}"
    although = f", although rule {by_policy.rule} matches" if by_policy.stale else ""
    return f"kept: {KEEP_REASONS.get(key) or _entry_reason(key)}{although}"


def _entry_reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "keep":
        return f"keep entry {name} matches"
    return f"an entry cannot be evaluated ({key.replace('_', ' ')})"


def _condition(
    decision: Decision, entries: Iterable[EntryExplanation], stale_by: str | None
) -> KeyExplanation | None:
    """Return the one key that made a decision: the first that matches, fails or is not known."""
    reason = decision.keep_reason or ""
    kind, _, name = reason.partition(":")
    if decision.stale or reason == "too_young":
        kind, name = "rule", decision.rule or stale_by or ""
    keys = (
        key
        for each in entries
        for key in each.keys
        if (each.kind, each.name) == (kind, name) or key.unknown == reason
    )
    return next(keys, None)


def _sum(instant: Timestamp, span: timedelta | None) -> Iterator[datetime]:
    """Yield the sum; nothing without an instant or a span, or beyond the calendar."""
    if isinstance(instant, datetime) and span is not None:
        with suppress(OverflowError):
            yield instant + span


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

"""Decides for each entry of a list whether it is stale or kept, with the reason.

`Selector.decide` checks in this order:

1. A malformed id, a user who is not pending, or an invitation that is linked to a project out
   of the policy's scope or to unknown projects: kept.
2. A `keep` entry matches: kept, even if a rule matches.
3. The creation date is missing, unreadable or in the future: kept.
4. A `keep` entry needs a value that Atlas did not send: kept.
5. The first rule that matches makes it stale; what the audit log cannot record is kept.
6. A rule needs a value that Atlas did not send, or no rule matches: kept.

`invitations.combine` makes invitations of the entries; `steps` are applied to the result and can
only keep more.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from invite_sweeper.audit import is_recordable
from invite_sweeper.models import INVITED_STATUSES, SOURCES_OF_USERS, Invitation
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.conditions import (
    NO_MEMBERS,
    NO_NAMES,
    Condition,
    MatchResult,
    Members,
    OrganizationNames,
    clause_conditions,
    date_or_reason,
    match_all,
)
from invite_sweeper.text import escape_unprintable, is_atlas_id, shorten_list

KEEP_REASONS: Final = {
    "too_young": "too young for every rule",
    "no_rule": "no rule matches",
    "no_date": "no creation date",
    "unreadable_date": "unreadable creation date",
    "future_date": "creation date in the future",
    "unreadable_id": "malformed id",
    "not_pending": "not pending",
    "reaches_out_of_scope": "linked to a project outside the policy's scope, or to an unknown one",
    "list_unread": "another list that may show the person could not be read",
    "inviter_unknown": "not known whether the inviter is still a member",
    "not_in_plan": "not in the saved plan",
    "changed_since_plan": "changed since the saved plan was created",
    "unrecordable": "too long for the audit log, or contains a secret of this run or what is not "
    "a character",
}
"""The keys of `kept_by_reason` as text. Others are `keep:NAME` and, where a clause needs a
value that Atlas did not send, `no_` and the name of the value."""


def describe_keep_reason(key: str, named: Sequence[str] = ()) -> str:
    """Return the text for a key of `kept_by_reason`.

    Args:
        named: The lists, projects or teams that keep it: `unread` or `outside` of a decision.
    """
    kind, _, entry = key.partition(":")
    if kind == "keep":
        return f"keep entry {escape_unprintable(entry)}"
    text = KEEP_REASONS.get(key) or escape_unprintable(key).replace("_", " ")
    if named:
        text += f" ({escape_unprintable(shorten_list(named, _MAX_NAMED))})"
    return text


_MAX_NAMED: Final = 3


class Announcement(msgspec.Struct, frozen=True):
    """What a decision means for the announcement of the invitation.

    Attributes:
        announced_at: The instant of the sweep that announced it, while it waits and when it is due;
            None if this run does.
        deletable_from: When a sweep may delete it, while it waits; else None.
        rule: The rule for which it is announced by this run; None if it was announced before.
        ended_entries: Entries that were announced, and whose invitation is kept now.
    """

    announced_at: datetime | None = None
    deletable_from: datetime | None = None
    rule: str | None = None
    ended_entries: tuple[Invitation, ...] = ()


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision about one entry of a list, or about an invitation made of several.

    Exactly one of `rule` and `keep_reason` is set.

    Attributes:
        invitation: The entry; of an invitation the one that its DELETE names, or that keeps it.
        rule: The name of the first rule that makes it stale; None when it is kept.
        keep_reason: Why it is kept (`too_young`, `no_rule`, `keep:NAME`, `no_date`, …); None
            when it is stale, also while it waits for its notice.
        announcement: Where the policy has a `notice`: what becomes of the announcement.
        unread: Of what is kept as `list_unread`, the lists that were not read.
        outside: Of what is kept as `reaches_out_of_scope`, what `RunScope.outside_names` returns.
        entries: The other entries of the invitation, see `invitations.combine`.
        person: All entries of the person in the lists of people, where they are more than one
            invitation; a sweep may combine them otherwise.
        stale_at_age: Of an entry that is kept, the lowest `older_than` of the rules that match it
            but for its age; None where there is no such rule.
    """

    invitation: Invitation
    rule: str | None
    keep_reason: str | None
    announcement: Announcement | None = None
    unread: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    entries: tuple[Invitation, ...] = ()
    person: tuple[Invitation, ...] = ()
    stale_at_age: timedelta | None = None

    def keep(self, reason: str) -> "Decision":
        """Return the decision to keep the invitation."""
        return structs.replace(self, rule=None, keep_reason=reason)

    @property
    def all_entries(self) -> tuple[Invitation, ...]:
        """Every entry of the invitation, the named one first."""
        return self.invitation, *self.entries

    @property
    def stale(self) -> bool:
        """Whether at least one rule matched and nothing keeps it."""
        return self.rule is not None

    @property
    def waits(self) -> bool:
        """Whether it is stale, and its notice is not over."""
        announcement = self.announcement
        is_announced = announcement is not None and announcement.deletable_from is not None
        return self.stale and is_announced

    @property
    def deletable(self) -> bool:
        """Whether a sweep may delete it now, as far as the limits allow."""
        return self.stale and not self.waits


class Explained(NamedTuple):
    """What a rule or keep entry makes of an invitation.

    Attributes:
        result: Whether it matches.
        keys: Each of its keys, with the result of its condition.
    """

    clause: Rule | Keep
    result: MatchResult
    keys: list[tuple[str, MatchResult]]


class _RuleConditions(NamedTuple):
    """A rule and its conditions.

    Attributes:
        ageless: The conditions without `older_than`. What matches them, and not all, is too young.
    """

    rule: Rule
    conditions: tuple[Condition, ...]
    ageless: tuple[Condition, ...]

    @classmethod
    def of(cls, rule: Rule, conditions: tuple[Condition, ...]) -> "_RuleConditions":
        """Return a rule with its conditions."""
        ageless = [(key, matches) for key, matches in conditions if key != "older_than"]
        return cls(rule, conditions, tuple(ageless))


class Selector:
    """Applies a policy to invitations at one instant.

    Args:
        now: The one instant of the run, aware UTC.
        members: For `inviter_gone`.
        names: For `organizations`.
    """

    def __init__(
        self,
        policy: Policy,
        now: datetime,
        members: Members = NO_MEMBERS,
        names: OrganizationNames = NO_NAMES,
    ) -> None:
        self._now = now
        self._keep: list[tuple[Keep, tuple[Condition, ...]]] = []
        for clause in policy.keep:
            conditions = tuple(clause_conditions(clause, members, names))
            self._keep.append((clause, conditions))
        self._rules: list[_RuleConditions] = []
        for rule in policy.rules:
            conditions = tuple(clause_conditions(rule, members, names))
            self._rules.append(_RuleConditions.of(rule, conditions))

    def decide(self, invitation: Invitation, at: datetime | None = None) -> Decision:
        """Return the decision about one invitation; the module docstring lists the order.

        Args:
            at: Another instant than that of the run: what a later sweep would decide.
        """
        now = at or self._now
        keep_reason = self._keep_reason(invitation, now)
        if keep_reason is not None:
            return Decision(invitation, None, keep_reason)
        # Steps 5 and 6. Why no rule matches: a value that Atlas did not send comes first, then an
        # age that is not yet reached.
        reason = "no_rule"
        stale_at_age: timedelta | None = None
        for rule, conditions, ageless in self._rules:
            result = match_all(conditions, invitation, now)
            if result is True:
                if not is_recordable(invitation, rule.name):
                    return Decision(invitation, None, "unrecordable")
                return Decision(invitation, rule.name, None)
            age = rule.older_than
            if isinstance(result, str):
                reason = result
            elif age is not None and match_all(ageless, invitation, now) is True:
                stale_at_age = min(age, stale_at_age or age)
        if reason == "no_rule" and stale_at_age is not None:
            reason = "too_young"
        return Decision(invitation, None, reason, stale_at_age=stale_at_age)

    def explain(self, invitation: Invitation) -> Iterator[Explained]:
        """Yield each keep entry and each rule, with its result and those of its keys."""
        clauses: list[tuple[Rule | Keep, tuple[Condition, ...]]] = [*self._keep]
        clauses += ((rule, conditions) for rule, conditions, _ in self._rules)
        for clause, conditions in clauses:
            keys: list[tuple[str, MatchResult]] = []
            for key, matches in conditions:
                result = matches(invitation, self._now)
                if key == "until" and result is True:  # that a clause holds explains nothing
                    continue
                keys.append((key, result))
            yield Explained(clause, match_all(conditions, invitation, self._now), keys)

    def _keep_reason(self, invitation: Invitation, now: datetime) -> str | None:
        """Return why an invitation is kept before any rule is asked: steps 1 to 4 of the order."""
        # 1. What no DELETE may be sent for, under any policy.
        if not is_atlas_id(invitation.invitation_id):
            return "unreadable_id"
        if invitation.source in SOURCES_OF_USERS and invitation.status not in INVITED_STATUSES:
            return "not_pending"
        if invitation.links_out_of_scope:
            return "reaches_out_of_scope"
        # 2. The first keep entry that matches. Before it, one with an unknown condition may match
        # and would keep as well (4.), but a clause that does match is the certain reason.
        unknown_reason = None
        for clause, conditions in self._keep:
            result = match_all(conditions, invitation, now)
            if result is True:
                return f"keep:{clause.name}"
            if isinstance(result, str):
                unknown_reason = unknown_reason or result
        # 3. Without a usable date no rule is asked, be it one without `older_than`.
        date = date_or_reason(invitation.created_at)
        if isinstance(date, str):
            return date
        # And 4., if a keep entry may match.
        return "future_date" if date > now else unknown_reason

"""Explain why invitations are stale or kept: the decision, its condition, and the date.

The decision is that of a run, and so are the results of the policy's rules and keep entries. What
is added are words: which key of the policy decided, what it asks for, and what the invitation has.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from invite_sweeper.models import Invitation
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.conditions import MatchResult, Members, OrganizationNames, status_at
from invite_sweeper.sweep.dates import Dates
from invite_sweeper.sweep.selection import Decision, Selector, describe_keep_reason
from invite_sweeper.sweep.steps import Notice
from invite_sweeper.text import escape_unprintable, organization_label, pluralize

_DAY: Final = timedelta(days=1)


class Explanation(Invitation, frozen=True, kw_only=True):
    """An invitation, and why a sweep would delete or keep it.

    Attributes:
        rule: The first rule that matches; None where none does.
        kept: Why it is kept, a key of `kept_by_reason`; None for a stale one.
        unread: Of what is kept as `list_unread`, the lists that were not read.
        outside: Of what is kept as `reaches_out_of_scope`, the names of these projects, or teams.
        description: The decision, in a few words.
        condition: The key of the policy that made it; empty where none did.
        stale_from: Since when it is stale, or from when on if nothing changes; None where it
            never is, or where no rule decides.
        stale_by: The rule that matches then.
        waits_for: The limit that keeps a sweep from deleting a stale one now, with its use.
        deletable_from: When the `notice` of the policy is over, of an invitation that waits.
        goes_at: The first day on which a sweep may end it, by the rules, `until` and `notice`;
            None where no date does.
        policy: Each keep entry and each rule, with its keys, whether it matches, and why not.
    """

    rule: str | None
    kept: str | None
    unread: tuple[str, ...]
    outside: tuple[str, ...]
    description: str
    condition: str
    stale_from: datetime | None
    stale_by: str | None
    waits_for: str | None
    deletable_from: datetime | None
    goes_at: date | None
    policy: tuple[str, ...]


class _KeyResult(NamedTuple):
    """One key of a rule or keep entry, in words, and whether the invitation matches it."""

    text: str
    result: MatchResult


class _ClauseResult(NamedTuple):
    """A rule or keep entry, and whether the invitation matches it and each of its keys."""

    clause: Rule | Keep
    result: MatchResult
    keys: tuple[_KeyResult, ...]

    @property
    def kind(self) -> str:
        """The word of the policy."""
        return "keep" if isinstance(self.clause, Keep) else "rule"


class Explainer:
    """Explains invitations by one policy.

    Args:
        now: The instant of the command, aware UTC.
        members: For `inviter_gone`.
        names: For `organizations`.
        notice: With the announcements that hold; None without one.
    """

    def __init__(
        self,
        policy: Policy,
        now: datetime,
        members: Members,
        names: OrganizationNames,
        notice: Notice | None = None,
    ) -> None:
        self._members = members
        self._names = names
        self._selector = Selector(policy, now, members, names)
        self._dates = Dates(policy, self._selector, now, notice)
        self._now = now

    def explain(
        self, by_policy: Decision, decision: Decision, waits_for: str | None = None
    ) -> Explanation:
        """Return why an invitation is deleted or kept.

        Args:
            by_policy: Before the steps of a run.
            decision: After them.
            waits_for: The limit that a stale one waits for.
        """
        invitation = decision.invitation
        announcement = decision.announcement
        results = tuple(self._results(invitation))
        stale = self._dates.stale_from(by_policy)
        goes_at = self._dates.goes_at(decision)
        stale_from = stale.instant if stale is not None else None
        stale_by = stale.rule if stale is not None else None
        description = describe_decision(by_policy, decision, stale_from)
        if waits_for is not None:
            description += f", waits for {escape_unprintable(waits_for)}"
        policy_lines: list[str] = []
        for result in results:
            policy_lines += _lines(result)
        return invitation.recorded(self._now, decision.entries).as_event(
            Explanation,
            rule=by_policy.rule,
            kept=decision.keep_reason,
            unread=decision.unread,
            outside=decision.outside,
            description=description,
            condition=_condition(by_policy, results, stale_by),
            stale_from=stale_from,
            stale_by=stale_by,
            waits_for=waits_for,
            deletable_from=announcement.deletable_from if announcement is not None else None,
            goes_at=goes_at.date() if goes_at is not None else None,
            policy=tuple(policy_lines),
        )

    def _results(self, invitation: Invitation) -> Iterator[_ClauseResult]:
        """Yield the result of each keep entry and each rule, with those of its keys."""
        for clause, clause_result, key_results in self._selector.explain(invitation):
            keys: list[_KeyResult] = []
            for key, result in key_results:
                keys.append(_KeyResult(self._key_text(clause, key, invitation), result))
            yield _ClauseResult(clause, clause_result, tuple(keys))

    def _key_text(self, clause: Rule | Keep, key: str, invitation: Invitation) -> str:
        """Return what a key of the policy asks for, and what the invitation has."""
        value: object = getattr(clause, key)
        if key == "until":
            return f"until is {value}, today is {self._now:%Y-%m-%d}"
        if isinstance(value, timedelta):
            expected = _days_text(value)
        elif isinstance(value, tuple):
            expected = ", ".join(map(str, value))
        else:
            expected = str(value).lower()
        has = self._actual_text(invitation, key) or "none"
        return f"{key} is {expected}, the invitation has {has}"

    def _actual_text(self, invitation: Invitation, key: str) -> str:
        """Return what an invitation has for a key of the policy; "" where it has nothing."""
        sent_at = invitation.sent_at
        inviter = invitation.inviter_label
        age = _days_text(self._now - sent_at) if sent_at is not None else ""
        projects = [(invitation.place_id, invitation.project_name or "")]
        if invitation.source.is_organization_level:
            projects = list(invitation.linked_projects)
        organization_name = self._names.get(invitation.org_id)
        members = self._members.get(invitation.org_id)
        member_count = len(members.names) if members is not None else 0
        known_members = pluralize(member_count, "known active member")
        values = {
            "older_than": age or invitation.created_at,
            "expired": invitation.expires_at,
            "expires_within": invitation.expires_at,
            "usernames": invitation.username,
            "not_usernames": invitation.username,
            "inviters": inviter,
            "inviter_gone": f"{inviter or 'no inviter'} ({known_members})",
            "roles": ", ".join(invitation.all_roles),
            "projects": ", ".join(f"{name} ({id_})".lstrip() for id_, name in projects),
            "organizations": organization_label(invitation.org_id, organization_name),
            "statuses": status_at(invitation, self._now),
        }
        return values[key] or ""


def describe_decision(
    by_policy: Decision, decision: Decision, stale_from: datetime | None = None
) -> str:
    """Return what a sweep would do with an invitation, and why.

    Args:
        by_policy: Before the steps of a run.
        decision: After them.
        stale_from: Since when a rule matches; None if that is not known.
    """
    since = f" since {stale_from:%Y-%m-%d}" if stale_from is not None else ""
    if decision.rule is not None:
        text = f"stale by rule {decision.rule}{since}"
        announcement = decision.announcement
        if announcement is None or not decision.waits:
            return text
        if announcement.announced_at is None:
            return f"{text}, the next sweep announces it"
        return f"{text}, announced {announcement.announced_at:%Y-%m-%d}"
    named = decision.unread or decision.outside
    text = f"kept: {describe_keep_reason(decision.keep_reason or '', named)}"
    if by_policy.stale:
        text += f", although rule {by_policy.rule} matches{since}"
    return text


def _condition(decision: Decision, results: Iterable[_ClauseResult], stale_by: str | None) -> str:
    """Return the one key that made a decision: the first that matches, fails or is not known.

    Args:
        stale_by: The rule that will match, if the invitation is too young for one.
    """
    reason = decision.keep_reason or ""
    decisive = reason  # as `keep:NAME`, or the reason of a key that cannot be evaluated
    if decision.stale or reason == "too_young":
        decisive = f"rule:{decision.rule or stale_by}"
    for clause_result in results:
        is_decisive = f"{clause_result.kind}:{clause_result.clause.name}" == decisive
        for key in clause_result.keys:
            if is_decisive or key.result == reason:
                return key.text
    return ""


def _lines(clause_result: _ClauseResult) -> Iterator[str]:
    """Yield a rule or keep entry of the policy, then its keys."""
    clause = clause_result.clause
    text = f"{clause_result.kind} {clause.name}: {_result_text(clause_result.result)}"
    if isinstance(clause, Keep) and clause.reason:
        text += f" ({clause.reason})"
    yield text
    for key in clause_result.keys:
        yield f"  {key.text}: {_result_text(key.result)}"


def _result_text(result: MatchResult) -> str:
    """Return a result in words; one that is a text is the reason why it is not known."""
    if isinstance(result, str):
        return f"cannot be evaluated ({result.replace('_', ' ')})"
    return "matches" if result else "does not match"


def _days_text(span: timedelta) -> str:
    """Return days to the hundredth, rounded down so that too young never reads as old enough."""
    hundredths = span // (_DAY / 100)
    return f"{hundredths / 100:g} days" if span % _DAY else f"{span.days} days"

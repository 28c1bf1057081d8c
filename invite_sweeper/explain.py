"""Explain why invitations are stale or kept: the decision, its condition, and the date.

The decision is that of a run, and so are the results of the policy's rules and keep entries. What
is added are words: which key of the policy decided, what it asks for, and what the invitation has.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import Invitation
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.conditions import MatchResult, Members, OrganizationNames, status_at
from invite_sweeper.sweep.dates import Dates, StaleFrom
from invite_sweeper.sweep.selection import Decision, Explained, Selector, describe_keep_reason
from invite_sweeper.sweep.steps import Notice
from invite_sweeper.text import escape_unprintable, organization_label, pluralize

_DAY: Final = timedelta(days=1)


class PendingInvitation(Invitation, frozen=True, kw_only=True, omit_defaults=False):
    """An invitation in scope, and what a sweep would do with it: a row of `list`.

    Attributes:
        decision: `stale` or `kept`.
        rule: The rule that makes it stale; None of a kept one.
        reason: Why it is kept, a key of `kept_by_reason`; None of a stale one.
        unread: With the reason `list_unread`, the lists that were not read.
        outside: With the reason `reaches_out_of_scope`, the names of these projects, or teams.
        announced_at: When a sweep announced it, RFC 3339; None if none did.
        goes_at: The first day on which a sweep may end it, by the rules, `until` and `notice`, as
            2026-12-24; None where no date does. The limits may make it later.
    """

    decision: str
    rule: str | None
    reason: str | None
    unread: tuple[str, ...]
    outside: tuple[str, ...]
    announced_at: str | None
    goes_at: str | None


class Explanation(PendingInvitation, frozen=True, kw_only=True):
    """A row of `list` with why, as `explain` shows it.

    Attributes:
        kept: The reason under the name that earlier versions gave it.
        description: The decision and its dates, in a sentence.
        condition: The key of the policy that made it; empty where none did.
        stale_from: Since when it is stale, or from when on if nothing changes; None where it
            never is, or where no rule decides.
        stale_by: The rule that matches then.
        waits_for: The limit that keeps a sweep from deleting a stale one now, with its use.
        deletable_from: When the `notice` of the policy is over, of an invitation that waits.
        policy: Each keep entry and each rule, with its keys, whether it matches, and why not.
    """

    kept: str | None
    description: str
    condition: str
    stale_from: datetime | None
    stale_by: str | None
    waits_for: str | None
    deletable_from: datetime | None
    policy: tuple[str, ...]


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

    def judge(self, decision: Decision) -> PendingInvitation:
        """Return an invitation with the decision about it, after the steps of a run."""
        instant = self._dates.goes_at(decision)
        announcement = decision.announcement
        announced_at = announcement.announced_at if announcement is not None else None
        return decision.invitation.recorded(self._now, decision.entries).as_event(
            PendingInvitation,
            decision="stale" if decision.stale else "kept",
            rule=decision.rule,
            reason=decision.keep_reason,
            unread=decision.unread,
            outside=decision.outside,
            announced_at=rfc3339(announced_at) if announced_at is not None else None,
            goes_at=instant.date().isoformat() if instant is not None else None,
        )

    def explain(self, decision: Decision, waits_for: str | None = None) -> Explanation:
        """Return why an invitation is deleted or kept.

        Args:
            decision: After the steps of a run.
            waits_for: The limit that a stale one waits for.
        """
        judged = self.judge(decision)
        announcement = decision.announcement
        clauses = tuple(self._selector.explain(decision.invitation))
        stale = self._dates.stale_from(decision)
        stale_by = stale.rule if stale is not None else None
        description = describe_decision(decision, stale)
        if waits_for is not None:
            description += f", waits for {escape_unprintable(waits_for)}"
        is_stale_then = stale is not None and f"{stale.instant:%Y-%m-%d}" == judged.goes_at
        if judged.goes_at and not decision.deletable and (decision.stale or not is_stale_then):
            description += f", may be deleted from {judged.goes_at}"
        return Explanation(
            **structs.asdict(judged),
            kept=judged.reason,
            description=description,
            condition=self._condition(decision, clauses, stale_by),
            stale_from=stale.instant if stale is not None else None,
            stale_by=stale_by,
            waits_for=waits_for,
            deletable_from=announcement.deletable_from if announcement is not None else None,
            policy=tuple(self._policy_lines(decision.invitation, clauses)),
        )

    def _condition(
        self,
        decision: Decision,
        clauses: Iterable[Explained],
        stale_by: str | None,
    ) -> str:
        """Return the one key that made a decision: the first that matches, fails or is not known.

        Args:
            stale_by: The rule that will match, if the invitation is too young for one.
        """
        reason = decision.keep_reason or ""
        decisive = reason  # as `keep:NAME`, or the reason of a key that cannot be evaluated
        if decision.stale or reason == "too_young":
            decisive = f"rule:{decision.rule or stale_by}"
        for clause, _, keys in clauses:
            is_decisive = f"{_kind(clause)}:{clause.name}" == decisive
            for key, result in keys:
                if is_decisive or result == reason:
                    return self._key_text(clause, key, decision.invitation)
        return ""

    def _policy_lines(self, invitation: Invitation, clauses: Iterable[Explained]) -> Iterator[str]:
        """Yield each rule and keep entry of the policy, then its keys."""
        for clause, clause_result, keys in clauses:
            reason = f" ({clause.reason})" if isinstance(clause, Keep) and clause.reason else ""
            yield f"{_kind(clause)} {clause.name}: {_result_text(clause_result)}{reason}"
            for key, result in keys:
                yield f"  {self._key_text(clause, key, invitation)}: {_result_text(result)}"

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


def describe_decision(decision: Decision, stale: StaleFrom | None = None) -> str:
    """Return what a sweep would do with an invitation, and why.

    Args:
        stale: Since when a rule matches, or from when on; None if that is not known.
    """
    day = f"{stale.instant:%Y-%m-%d}" if stale is not None else ""
    since = f" since {day}" if day else ""
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
    return f"{text}; stale from {day} by rule {stale.rule}" if stale is not None else text


def _kind(clause: Rule | Keep) -> str:
    """Return the word of the policy."""
    return "keep" if isinstance(clause, Keep) else "rule"


def _result_text(result: MatchResult) -> str:
    """Return a result in words; one that is a text is the reason why it is not known."""
    if isinstance(result, str):
        return f"cannot be evaluated ({result.replace('_', ' ')})"
    return "matches" if result else "does not match"


def _days_text(span: timedelta) -> str:
    """Return days to the hundredth, rounded down so that too young never reads as old enough."""
    hundredths = span // (_DAY / 100)
    return f"{hundredths / 100:g} days" if span % _DAY else f"{span.days} days"

"""Rules and keep rules -> Decision with its reason."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol, TypeAlias

from invite_sweeper.models import (
    INVITED_STATUSES,
    USER_LISTS,
    Invitation,
    MembershipStatus,
    Moment,
    UnreadableDate,
)
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.saved_plan import Ceiling
from invite_sweeper.text import Globs, fold

# What each key of a rule or keep entry asks of an invitation. Pure.


Answer: TypeAlias = bool | str
"""Whether a criterion holds; a text is the reason why that cannot be judged."""

Criterion: TypeAlias = tuple[str, Callable[[Invitation], Answer]]
"""The key in the policy, and its question."""


def date_fault(created_at: Moment, now: datetime) -> str | None:
    """Give the reason why a date cannot be counted from; None for a good one."""
    if created_at is None:
        return "no_date"
    if isinstance(created_at, UnreadableDate):
        return "unreadable_date"
    return "future_date" if created_at > now else None


def all_hold(criteria: tuple[Criterion, ...], invitation: Invitation) -> Answer:
    """Ask every question: True when all hold, False when one does not, else the first doubt."""
    doubt = ""
    for _, ask in criteria:
        answer = ask(invitation)
        if answer is False:
            return False
        if answer is not True:
            doubt = doubt or answer
    return doubt or True


def rule_criteria(rule: Rule, now: datetime) -> tuple[Criterion, ...]:
    """Add what a rule says without words: who may still accept is named by `statuses`.

    The users lists hold people whose removal also removes an accepted membership, so their
    PENDING ones are stale only where the rule asks for that status by name.
    """
    criteria = criteria_of(rule, now)
    if rule.statuses is not None:
        return criteria
    return (*criteria, ("statuses", _may_go_unnamed))


def _may_go_unnamed(invitation: Invitation) -> Answer:
    return invitation.source not in USER_LISTS or invitation.status != MembershipStatus.PENDING


def criteria_of(entry: Rule | Keep, now: datetime) -> tuple[Criterion, ...]:
    """Give the questions of an entry, one a key that it has, in a fixed order."""
    return (*_of_time(entry, now), *_of_names(entry))


def _of_time(entry: Rule | Keep, now: datetime) -> Iterator[Criterion]:
    if entry.older_than is not None:
        yield ("older_than", _older_than(entry.older_than, now))
    if entry.expired is not None:
        yield ("expired", _expired(entry.expired, now))
    if entry.expires_within is not None:
        yield ("expires_within", _expires_within(entry.expires_within, now))


def _of_names(entry: Rule | Keep) -> Iterator[Criterion]:
    if entry.usernames is not None:
        yield ("usernames", _name(entry.usernames, lambda i: i.username, "no_username"))
    if entry.inviters is not None:
        yield ("inviters", _name(entry.inviters, lambda i: i.inviter, "no_inviter"))
    if entry.roles is not None:
        yield ("roles", _roles(entry.roles))
    if entry.projects is not None:
        # A rule speaks of all that a deletion takes away, a keep entry of any part of it.
        yield ("projects", _projects(entry.projects, all if isinstance(entry, Rule) else any))
    if entry.statuses is not None:
        yield ("statuses", _statuses(entry.statuses))


def _older_than(age: timedelta, now: datetime) -> Callable[[Invitation], Answer]:
    latest = now - age

    def ask(invitation: Invitation) -> Answer:
        created_at = invitation.created_at
        if not isinstance(created_at, datetime):
            return date_fault(created_at, now) or False
        return created_at <= latest

    return ask


def _with_expiry(test: Callable[[datetime], bool], now: datetime) -> Callable[[Invitation], Answer]:
    def ask(invitation: Invitation) -> Answer:
        if not isinstance(invitation.expires_at, datetime):
            return date_fault(invitation.expires_at, now) or False
        return test(invitation.expires_at)

    return ask


def _expired(wanted: bool, now: datetime) -> Callable[[Invitation], Answer]:
    return _with_expiry(lambda end: (end <= now) is wanted, now)


def _expires_within(span: timedelta, now: datetime) -> Callable[[Invitation], Answer]:
    return _with_expiry(lambda end: timedelta() < end - now <= span, now)


def _name(
    patterns: tuple[str, ...], read: Callable[[Invitation], str | None], unknown: str
) -> Callable[[Invitation], Answer]:
    globs = Globs(patterns)

    def ask(invitation: Invitation) -> Answer:
        name = read(invitation)
        return unknown if name is None else globs.match(name)

    return ask


def _roles(wanted: tuple[str, ...]) -> Callable[[Invitation], Answer]:
    folded = frozenset(map(fold, wanted))

    def ask(invitation: Invitation) -> Answer:
        held = (*invitation.roles, *(role for _, role in invitation.origin))
        return not folded.isdisjoint(map(fold, held)) if held else "no_roles"

    return ask


def _projects(
    patterns: tuple[str, ...], quantifier: Callable[[Iterable[bool]], bool]
) -> Callable[[Invitation], Answer]:
    """Ask about the project, or about those that an organization's invitation reaches."""
    globs = Globs(patterns)

    def ask(invitation: Invitation) -> Answer:
        if not invitation.source.of_organization:
            return globs.match(invitation.project_name) or globs.match(invitation.project_id)
        reached = invitation.reaches
        return bool(reached) and quantifier(
            globs.match(group_id) or globs.match(name) for group_id, name in reached
        )

    return ask


def _statuses(wanted: tuple[str, ...]) -> Callable[[Invitation], Answer]:
    folded = frozenset(map(fold, wanted))

    def ask(invitation: Invitation) -> Answer:
        return "no_status" if invitation.status is None else fold(invitation.status) in folded

    return ask


# invitation x policy x now -> a Decision with its reason. Pure.
#
# The order in which an invitation is judged is the order of `Selector.decide`:
#
# 1. an id of a wrong form, somebody who is no longer only invited, or an invitation that
#    reaches a project out of the policy's scope: kept;
# 2. a `keep` entry matches: kept, whatever the rules say;
# 3. no date of invitation, an unreadable one, one in the future: kept;
# 4. a `keep` entry that cannot be judged (it asks for what Atlas did not send): kept;
# 5. the first rule that matches makes it stale;
# 6. a rule that cannot be judged, or none that matches: kept.


_ID = re.compile(r"[a-f0-9]{24}")
KEEP_REASONS: Final = {
    "too_young": "too young for every rule",
    "no_rule": "no rule matches",
    "no_date": "no date of invitation",
    "unreadable_date": "its date cannot be read",
    "future_date": "its date is in the future",
    "unreadable_id": "its id has a wrong form",
    "not_pending": "no longer only invited",
    "reaches_out_of_scope": "linked to a project outside the policy's scope",
    "bounced": "deleted and back too often (max_bounces)",
    "not_in_plan": "not in the saved plan",
}
"""What the keys of `kept_by_reason` mean. The others are `keep:NAME` and, where an entry asks
for a value that Atlas did not send, `no_` and the value's name."""


class Decision(NamedTuple):
    """What is to become of one invitation. A named tuple: a run makes many.

    Attributes:
        rule: The name of the first rule that makes it stale; None when it is kept.
        kept: Why it is kept (`too_young`, `no_rule`, `keep:NAME`, `no_date`, …); None when
            it is stale. Just one of the two is set.
        bounced: How often a run deleted this person's invitation to this project before.
    """

    invitation: Invitation
    rule: str | None
    kept: str | None
    bounced: int = 0

    @property
    def stale(self) -> bool:
        """Whether at least one rule matched and nothing keeps it."""
        return self.rule is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """How one rule or keep entry answered, for `explain`.

    Attributes:
        kind: `rule` or `keep`.
        answer: True when it matches, False when not, else why it cannot be judged.
        criteria: Each key of the entry with its own answer, in a fixed order.
    """

    kind: str
    name: str
    answer: Answer
    criteria: tuple[tuple[str, Answer], ...]


class Selector:
    """The policy, ready to judge invitations at one instant.

    Args:
        now: The one instant of the run, aware UTC.
    """

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._now = now
        self._rules = tuple((rule.name, rule_criteria(rule, now)) for rule in policy.rules)
        self._steps = tuple((*rule, _but_for_age(rule[1])) for rule in self._rules)
        self._keep = tuple(
            (entry.name, criteria_of(entry, now))
            for entry in policy.keep
            if entry.until is None or now.date() <= entry.until
        )

    def decide(self, invitation: Invitation) -> Decision:
        """Judge one invitation; the module's docstring has the order."""
        kept = self._kept(invitation)
        if kept is not None:
            return Decision(invitation, None, kept)
        reason = "no_rule"
        for name, criteria, but_for_age in self._steps:
            answer = all_hold(criteria, invitation)
            if answer is True:
                return Decision(invitation, name, None)
            if isinstance(answer, str):
                reason = answer
            elif reason == "no_rule" and all_hold(but_for_age, invitation) is True:
                reason = "too_young"
        return Decision(invitation, None, reason)

    def findings(self, invitation: Invitation) -> tuple[Finding, ...]:
        """Say of each keep entry that holds today and of each rule how it answers."""
        kinds = (("keep", self._keep), ("rule", self._rules))
        return tuple(
            Finding(
                kind,
                name,
                all_hold(criteria, invitation),
                tuple((key, ask(invitation)) for key, ask in criteria),
            )
            for kind, entries in kinds
            for name, criteria in entries
        )

    def _kept(self, invitation: Invitation) -> str | None:
        if _ID.fullmatch(invitation.id) is None:
            return "unreadable_id"
        if invitation.source in USER_LISTS and invitation.status not in INVITED_STATUSES:
            return "not_pending"
        if invitation.reaches_outside:
            return "reaches_out_of_scope"
        unjudged = None
        for name, criteria in self._keep:
            answer = all_hold(criteria, invitation)
            if answer is True:
                return f"keep:{name}"
            if isinstance(answer, str):
                unjudged = unjudged or answer
        return date_fault(invitation.created_at, self._now) or unjudged


def _but_for_age(criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    return tuple(criterion for criterion in criteria if criterion[0] != "older_than")


# What else may keep a stale invitation: it comes back again and again, or no plan lists it.


BOUNCED = "bounced"
NOT_IN_PLAN = "not_in_plan"


class Bounces(Protocol):
    """What is known of earlier deletions."""

    def count(self, username: str, project_id: str) -> int:
        """Give how often this person's invitation to this project was deleted."""
        ...


def as_decided(decision: Decision) -> Decision:
    """Leave a decision as it is."""
    return decision


def amendments(
    *, bounces: Bounces | None, max_bounces: int, ceiling: Ceiling | None
) -> Callable[[Decision], Decision]:
    """Give the second look at a decision; it only ever keeps more."""

    def amend(decision: Decision) -> Decision:
        if bounces is not None:
            decision = _bounced(decision, bounces, max_bounces)
        if ceiling is not None:
            decision = _capped(decision, ceiling)
        return decision

    return amend


def _bounced(decision: Decision, bounces: Bounces, max_bounces: int) -> Decision:
    """Keep what was deleted `max_bounces` times and is back: two robots must not fight for ever."""
    invitation = decision.invitation
    username = invitation.username
    if decision.rule is None or username is None:
        return decision
    count = bounces.count(username, invitation.project_id)
    if count >= max_bounces and count > 0:
        return Decision(invitation, None, BOUNCED, count)
    return decision._replace(bounced=count) if count else decision


def _capped(decision: Decision, ceiling: Ceiling) -> Decision:
    if decision.kept is not None:
        ceiling.note_kept(decision.invitation, decision.kept)
    elif not ceiling.admits(decision.invitation):
        return Decision(decision.invitation, None, NOT_IN_PLAN, decision.bounced)
    return decision

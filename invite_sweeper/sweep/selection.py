"""Rules and keep rules -> Decision with its reason."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol, TypeAlias

from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Invitation,
    MembershipStatus,
    Timestamp,
    UnreadableDate,
)
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.saved_plan import SavedPlanFilter
from invite_sweeper.text import Globs, ProjectPatterns, ProtectiveGlobs, casefold_visible

# What each key of a rule or keep entry asks of an invitation. Pure.


MatchResult: TypeAlias = bool | str
"""Whether a criterion holds; a text is the reason why that cannot be judged."""

Condition: TypeAlias = tuple[str, Callable[[Invitation], MatchResult]]
"""The key in the policy, and its question."""


def unusable_date_reason(timestamp: Timestamp, now: datetime) -> str | None:
    """Give the reason why a date cannot be counted from; None for a good one."""
    if timestamp is None:
        return "no_date"
    if isinstance(timestamp, UnreadableDate):
        return "unreadable_date"
    if timestamp < ATLAS_LAUNCHED_AT:
        return "no_date"
    return "future_date" if timestamp > now else None


ATLAS_LAUNCHED_AT: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Before it no invitation can have been sent: 0001-01-01 or 1970-01-01 stand for "no date".

Source: MongoDB announced Atlas on 2016-06-28.
"""


def match_all(conditions: tuple[Condition, ...], invitation: Invitation) -> MatchResult:
    """Ask every question: True when all hold, False when one does not, else the first doubt."""
    unknown_reason = ""
    for _, ask in conditions:
        result = ask(invitation)
        if result is False:
            return False
        if result is not True:
            unknown_reason = unknown_reason or result
    return unknown_reason or True


def rule_conditions(rule: Rule, now: datetime) -> tuple[Condition, ...]:
    """Add what a rule says without words: who may still accept is named by `statuses`.

    The users lists hold people whose removal also removes an accepted membership, so their
    PENDING ones are stale only where the rule asks for that status by name.
    """
    conditions = entry_conditions(rule, now)
    if rule.statuses is not None:
        return conditions
    return (*conditions, ("statuses", _pending_needs_explicit_status))


def _pending_needs_explicit_status(invitation: Invitation) -> MatchResult:
    is_pending = invitation.status == MembershipStatus.PENDING
    return "pending_not_named" if invitation.source in SOURCES_OF_USERS and is_pending else True


def entry_conditions(entry: Rule | Keep, now: datetime) -> tuple[Condition, ...]:
    """Give the questions of an entry, one a key that it has, in a fixed order."""
    return (*_time_conditions(entry, now), *_name_conditions(entry))


def _time_conditions(entry: Rule | Keep, now: datetime) -> Iterator[Condition]:
    if entry.older_than is not None:
        yield ("older_than", _older_than_condition(entry.older_than, now))
    if entry.expired is not None:
        yield ("expired", _expired_condition(entry.expired, now))
    if entry.expires_within is not None:
        yield ("expires_within", _expires_within_condition(entry.expires_within, now))


def _name_conditions(entry: Rule | Keep) -> Iterator[Condition]:
    if entry.usernames is not None:
        yield ("usernames", _name_condition(entry, entry.usernames, _username, "no_username"))
    if entry.inviters is not None:
        yield ("inviters", _name_condition(entry, entry.inviters, _inviter, "no_inviter"))
    if entry.roles is not None:
        yield ("roles", _roles_condition(entry.roles))
    if entry.projects is not None:
        yield ("projects", _projects_condition(entry, entry.projects))
    if entry.statuses is not None:
        yield ("statuses", _statuses_condition(entry.statuses))


def _older_than_condition(age: timedelta, now: datetime) -> Callable[[Invitation], MatchResult]:
    latest = now - age

    def ask(invitation: Invitation) -> MatchResult:
        created_at = invitation.created_at
        if not isinstance(created_at, datetime) or created_at < ATLAS_LAUNCHED_AT:
            return unusable_date_reason(created_at, now) or False
        return created_at <= latest

    return ask


def _expiry_condition(
    test: Callable[[datetime], bool], now: datetime
) -> Callable[[Invitation], MatchResult]:
    def ask(invitation: Invitation) -> MatchResult:
        expires_at = invitation.expires_at
        if not isinstance(expires_at, datetime) or expires_at < ATLAS_LAUNCHED_AT:
            return unusable_date_reason(expires_at, now) or False
        return test(expires_at)

    return ask


def _expired_condition(wanted: bool, now: datetime) -> Callable[[Invitation], MatchResult]:
    return _expiry_condition(lambda end: (end <= now) is wanted, now)


def _expires_within_condition(
    span: timedelta, now: datetime
) -> Callable[[Invitation], MatchResult]:
    return _expiry_condition(lambda end: timedelta() < end - now <= span, now)


def _username(invitation: Invitation) -> str | None:
    return invitation.username


def _inviter(invitation: Invitation) -> str | None:
    return invitation.inviter


def _name_condition(
    entry: Rule | Keep,
    patterns: tuple[str, ...],
    get_name: Callable[[Invitation], str | None],
    reason_if_missing: str,
) -> Callable[[Invitation], MatchResult]:
    globs = ProtectiveGlobs(patterns) if isinstance(entry, Keep) else Globs(patterns)

    def ask(invitation: Invitation) -> MatchResult:
        name = get_name(invitation)
        return reason_if_missing if name is None else globs.matches(name)

    return ask


def _roles_condition(wanted: tuple[str, ...]) -> Callable[[Invitation], MatchResult]:
    folded = frozenset(map(casefold_visible, wanted))

    def ask(invitation: Invitation) -> MatchResult:
        held = (*invitation.roles, *(role for _, role in invitation.project_roles))
        return not folded.isdisjoint(map(casefold_visible, held)) if held else "no_roles"

    return ask


def _projects_condition(
    entry: Rule | Keep, entries: tuple[str, ...]
) -> Callable[[Invitation], MatchResult]:
    """Match the project, or those that an organization's invitation is linked to.

    A rule must match every linked project, because a deletion takes all of them away; a keep
    entry protects the invitation if it matches one.
    """
    patterns = ProjectPatterns(entries, protects=isinstance(entry, Keep))
    quantifier: Callable[[Iterable[bool]], bool] = all if isinstance(entry, Rule) else any

    def ask(invitation: Invitation) -> MatchResult:
        if not invitation.source.is_organization_level:
            return patterns.matches(invitation.project_id, invitation.project_name)
        linked = invitation.linked_projects
        return bool(linked) and quantifier(
            patterns.matches(project_id, name) for project_id, name in linked
        )

    return ask


def _statuses_condition(wanted: tuple[str, ...]) -> Callable[[Invitation], MatchResult]:
    folded = frozenset(map(casefold_visible, wanted))

    def ask(invitation: Invitation) -> MatchResult:
        return (
            "no_status"
            if invitation.status is None
            else casefold_visible(invitation.status) in folded
        )

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


_ID_PATTERN = re.compile(r"[a-f0-9]{24}")
KEEP_REASONS: Final = {
    "too_young": "too young for every rule",
    "no_rule": "no rule matches",
    "no_date": "no date of invitation",
    "unreadable_date": "its date cannot be read",
    "future_date": "its date is in the future",
    "unreadable_id": "its id has a wrong form",
    "not_pending": "no longer only invited",
    "pending_not_named": "pending, and the rule does not name statuses: [PENDING]",
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
    keep_reason: str | None
    bounced: int = 0

    @property
    def stale(self) -> bool:
        """Whether at least one rule matched and nothing keeps it."""
        return self.rule is not None


@dataclass(frozen=True, slots=True)
class EntryResult:
    """How one rule or keep entry answered, for `explain`.

    Attributes:
        kind: `rule` or `keep`.
        answer: True when it matches, False when not, else why it cannot be judged.
        criteria: Each key of the entry with its own answer, in a fixed order.
    """

    kind: str
    name: str
    result: MatchResult
    conditions: tuple[tuple[str, MatchResult], ...]


class Selector:
    """The policy, ready to judge invitations at one instant.

    Args:
        now: The one instant of the run, aware UTC.
    """

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._now = now
        self._rules = tuple((rule.name, rule_conditions(rule, now)) for rule in policy.rules)
        self._rules_with_age_variant = tuple((*rule, _without_age(rule[1])) for rule in self._rules)
        self._keep = tuple(
            (entry.name, entry_conditions(entry, now))
            for entry in policy.keep
            if entry.until is None or now.date() <= entry.until
        )

    def decide(self, invitation: Invitation) -> Decision:
        """Judge one invitation; the module's docstring has the order."""
        keep_reason = self._keep_reason(invitation)
        if keep_reason is not None:
            return Decision(invitation, None, keep_reason)
        reason = "no_rule"
        for name, conditions, without_age in self._rules_with_age_variant:
            result = match_all(conditions, invitation)
            if result is True:
                return Decision(invitation, name, None)
            if isinstance(result, str):
                reason = result
            elif reason == "no_rule" and match_all(without_age, invitation) is True:
                reason = "too_young"
        return Decision(invitation, None, reason)

    def explain(self, invitation: Invitation) -> tuple[EntryResult, ...]:
        """Say of each keep entry that holds today and of each rule how it answers."""
        kinds = (("keep", self._keep), ("rule", self._rules))
        return tuple(
            EntryResult(
                kind,
                name,
                match_all(criteria, invitation),
                tuple((key, ask(invitation)) for key, ask in criteria),
            )
            for kind, entries in kinds
            for name, criteria in entries
        )

    def _keep_reason(self, invitation: Invitation) -> str | None:
        if _ID_PATTERN.fullmatch(invitation.id) is None:
            return "unreadable_id"
        if invitation.source in SOURCES_OF_USERS and invitation.status not in INVITED_STATUSES:
            return "not_pending"
        if invitation.links_out_of_scope:
            return "reaches_out_of_scope"
        unknown_reason = None
        for name, conditions in self._keep:
            result = match_all(conditions, invitation)
            if result is True:
                return f"keep:{name}"
            if isinstance(result, str):
                unknown_reason = unknown_reason or result
        return unusable_date_reason(invitation.created_at, self._now) or unknown_reason


def _without_age(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(criterion for criterion in conditions if criterion[0] != "older_than")


# What else may keep a stale invitation: it comes back again and again, or no plan lists it.


BOUNCED = "bounced"
NOT_IN_PLAN = "not_in_plan"


class DeletionCounter(Protocol):
    """What is known of earlier deletions."""

    def count(self, username: str, project_id: str) -> int:
        """Give how often this person's invitation to this project was deleted."""
        ...


def no_filter(decision: Decision) -> Decision:
    """Leave a decision as it is."""
    return decision


def decision_filter(
    *, history: DeletionCounter | None, max_bounces: int, plan_filter: SavedPlanFilter | None
) -> Callable[[Decision], Decision]:
    """Give the second look at a decision; it only ever keeps more."""

    def amend(decision: Decision) -> Decision:
        if history is not None:
            decision = _keep_if_bounced(decision, history, max_bounces)
        if plan_filter is not None:
            decision = _keep_if_not_in_plan(decision, plan_filter)
        return decision

    return amend


def _keep_if_bounced(decision: Decision, history: DeletionCounter, max_bounces: int) -> Decision:
    """Keep what was deleted `max_bounces` times and is back: two robots must not fight for ever."""
    invitation = decision.invitation
    username = invitation.username
    if decision.rule is None or username is None:
        return decision
    count = history.count(username, invitation.project_id)
    if count >= max_bounces and count > 0:
        return Decision(invitation, None, BOUNCED, count)
    return decision._replace(bounced=count) if count else decision


def _keep_if_not_in_plan(decision: Decision, plan_filter: SavedPlanFilter) -> Decision:
    if decision.keep_reason is not None:
        plan_filter.record_kept(decision.invitation, decision.keep_reason)
    elif not plan_filter.allows(decision.invitation):
        return Decision(decision.invitation, None, NOT_IN_PLAN, decision.bounced)
    return decision

"""What each key of a rule or keep entry asks of an invitation. Pure."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeAlias

from invite_sweeper.inventory import (
    USER_LISTS,
    Invitation,
    MembershipStatus,
    Moment,
    UnreadableDate,
)
from invite_sweeper.matching import Globs, fold
from invite_sweeper.policy import Keep, Rule

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

"""What a key of a rule or keep entry asks about an invitation: its conditions.

`clause_conditions` makes one for each key that a clause of the policy has. The key names a field of
the invitation, or what this run knows about its organization. A value that Atlas did not send is
unknown, with the reason: then a rule makes nothing stale, and a keep entry keeps.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    MembershipStatus,
)
from invite_sweeper.policy import Keep, Rule
from invite_sweeper.text import Globs, IdsAndGlobs, casefold_lookalike, casefold_visible

MatchResult: TypeAlias = bool | str
"""Whether a condition matches; a string is the reason why that is unknown.

Unknown makes nothing stale: a rule with an unknown condition does not match, and an invitation is
kept whose keep entry has one.
"""

Matcher: TypeAlias = Callable[[Invitation, datetime], MatchResult]
"""Judges an invitation at an instant."""
Condition: TypeAlias = tuple[str, Matcher]
"""A key of a rule or keep entry, and its matcher."""


ATLAS_LAUNCHED_AT: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Before it no invitation can have been sent: 0001-01-01 or 1970-01-01 stand for "no date".

Source: MongoDB announced Atlas on 2016-06-28.
"""


def date_or_reason(text: str | None) -> datetime | str:
    """Return a date; without one, the reason."""
    if text is None:
        return "no_date"
    date = parse_timestamp(text)
    if date is None:
        return "unreadable_date"
    return date if date >= ATLAS_LAUNCHED_AT else "no_date"


class ActiveMembers(msgspec.Struct, frozen=True):
    """The active members of one organization; names are folded (`casefold_visible`).

    Attributes:
        names: Of a list that was read to its end.
        gone: Inviters who are not among them, and of whom Atlas's answer to their name does not
            show an active member either.
    """

    names: frozenset[str]
    gone: frozenset[str] = frozenset()


Members: TypeAlias = Mapping[str, ActiveMembers]
"""Those of each organization where they are known."""
NO_MEMBERS: Final[Members] = MappingProxyType({})
OrganizationNames: TypeAlias = Mapping[str, str]
"""The names of organizations by id, as Atlas returned them in this run."""
NO_NAMES: Final[OrganizationNames] = MappingProxyType({})


def match_all(
    conditions: Iterable[Condition], invitation: Invitation, now: datetime
) -> MatchResult:
    """Return True if all match, False if one does not, else the first reason for unknown."""
    unknown_reason = ""
    for _, matches in conditions:
        result = matches(invitation, now)
        if result is False:
            return False
        if result is not True:
            unknown_reason = unknown_reason or result
    return unknown_reason or True


def clause_conditions(
    clause: Rule | Keep, members: Members = NO_MEMBERS, names: OrganizationNames = NO_NAMES
) -> Iterator[Condition]:
    """Yield one condition for each key that the clause has, in a fixed order.

    `until` is the first one: a clause that no longer holds matches nothing.

    Args:
        clause: A rule or a keep entry of the policy.
        members: For `inviter_gone`.
        names: For `organizations`.
    """
    if isinstance(clause, Keep) and clause.until is not None:
        yield "until", _until(clause)
    # Each key, and what makes a matcher of the value that the clause has for it.
    matchers: dict[str, Callable[[Any], Matcher]] = {
        "older_than": lambda age: _date("created_at", lambda sent, now: sent <= now - age),
        "expired": lambda wanted: _date("expires_at", lambda end, now: (end <= now) is wanted),
        "expires_within": lambda span: _date(
            "expires_at", lambda end, now: timedelta() < end - now <= span
        ),
        "usernames": lambda globs: _name(clause, globs, "username"),
        "not_usernames": _not_username,
        "inviters": lambda globs: _name(clause, globs, "inviter"),
        "roles": lambda wanted: _any_of(wanted, _roles_at, "no_roles"),
        "projects": lambda entries: _projects(clause, entries),
        "organizations": lambda entries: _organizations(clause, entries, names),
        "statuses": lambda wanted: _any_of(wanted, _statuses_at, "no_status"),
        "inviter_gone": lambda _: _inviter_gone(members),
    }
    for key, make_matcher in matchers.items():
        value = getattr(clause, key)
        if value is not None:
            yield key, make_matcher(value)


def _until(clause: Keep) -> Matcher:
    """Match everything up to the last day of a keep entry."""

    def matches(_: Invitation, now: datetime) -> MatchResult:
        return clause.is_active(now.date())

    return matches


def _date(
    field: Literal["created_at", "expires_at"], test: Callable[[datetime, datetime], bool]
) -> Matcher:
    """Match a date of the invitation; `test` gets it, and the instant."""

    def matches(invitation: Invitation, now: datetime) -> MatchResult:
        date = date_or_reason(getattr(invitation, field))
        return date if isinstance(date, str) else test(date, now)

    return matches


def _name(
    clause: Rule | Keep, patterns: tuple[str, ...], field: Literal["username", "inviter"]
) -> Matcher:
    """Match a name that any of the globs matches; for a keep entry, also one that looks the same.

    So a look-alike of a protected name is kept, and a rule deletes only what it names.
    """
    globs = Globs(patterns, protects=isinstance(clause, Keep))

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        name: str | None = getattr(invitation, field)
        return f"no_{field}" if name is None else globs.matches(name)

    return matches


def _not_username(patterns: tuple[str, ...]) -> Matcher:
    """Match a username that none of the globs matches.

    Rules and keep entries fold alike: a name that only looks like a colleague's is treated as
    one, so that a rule for all other people leaves both alone.
    """
    globs = Globs(patterns, protects=True)

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        username = invitation.username
        return "no_username" if username is None else not globs.matches(username)

    return matches


def status_at(invitation: Invitation, now: datetime) -> str | None:
    """Return the status of an invitation at an instant; None where it is not known.

    A list of users shows it. A row of the older lists is PENDING until its `expires_at`, and
    expired from then on; nothing in it shows that a person has rejected.
    """
    if invitation.source in SOURCES_OF_USERS or invitation.status is None:
        return invitation.status
    ends_at = date_or_reason(invitation.expires_at)
    if isinstance(ends_at, str):
        return None
    return MembershipStatus.PENDING if now < ends_at else MembershipStatus.INVITATION_EXPIRED


def _statuses_at(invitation: Invitation, now: datetime) -> tuple[str, ...]:
    status = status_at(invitation, now)
    return () if status is None else (status,)


def _roles_at(invitation: Invitation, _: datetime) -> tuple[str, ...]:
    return invitation.all_roles


def _any_of(
    wanted: Iterable[str],
    values_at: Callable[[Invitation, datetime], tuple[str, ...]],
    unknown_reason: str,
) -> Matcher:
    """Match an invitation one of whose values is wanted; without a value, that is unknown."""
    folded = frozenset(map(casefold_visible, wanted))

    def matches(invitation: Invitation, now: datetime) -> MatchResult:
        values = values_at(invitation, now)
        if not values:
            return unknown_reason
        return not folded.isdisjoint(map(casefold_visible, values))

    return matches


def _projects(clause: Rule | Keep, entries: tuple[str, ...]) -> Matcher:
    """Match the project, or those that an organization's invitation is linked to.

    A rule must match every linked project, because a deletion takes all of them away; a keep
    entry protects the invitation if it matches one.
    """
    patterns = IdsAndGlobs(entries, protects=isinstance(clause, Keep))
    must_match_all = isinstance(clause, Rule)

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        if not invitation.source.is_organization_level:
            return patterns.matches(invitation.place_id, invitation.project_name or "")
        results = [patterns.matches(id_, name) for id_, name in invitation.linked_projects]
        if must_match_all:
            return bool(results) and all(results)
        return any(results)

    return matches


def _organizations(
    clause: Rule | Keep, entries: tuple[str, ...], names: OrganizationNames
) -> Matcher:
    """Match the organization by its id, or by its name as Atlas returned it in this run.

    Where the name is not known, a glob makes nothing stale and keeps what it may protect.
    """
    patterns = IdsAndGlobs(entries, protects=isinstance(clause, Keep))

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        name = names.get(invitation.org_id) or None
        if patterns.matches(invitation.org_id, name):
            return True
        if name is None and patterns.has_globs:
            return "no_organization_name"
        return False

    return matches


def _inviter_gone(members: Members) -> Matcher:
    """Match an inviter who is a person and, by two answers of Atlas, not an active member.

    The list of active members shows neither the name nor one that looks the same, and the user
    that Atlas returns for the name is not an active member (`members.MemberCheck`).
    """
    lookalikes: dict[str, frozenset[str]] = {}
    for org_id, active_members in members.items():
        lookalikes[org_id] = frozenset(map(casefold_lookalike, active_members.names))

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        active_members = members.get(invitation.org_id)
        inviter = inviter_address(invitation)
        # Each organization has a member: an empty list was not the whole list.
        if active_members is None or not active_members.names or inviter is None:
            return "inviter_unknown"
        if inviter in active_members.gone:
            return True
        if inviter in active_members.names:
            return False
        if casefold_lookalike(inviter) in lookalikes[invitation.org_id]:
            return False
        # Only the list does not show the inviter: Atlas did not answer clearly for the name.
        return "inviter_unknown"

    return matches


def inviter_address(invitation: Invitation) -> str | None:
    """Return the folded address of an inviter who is a person; None of API keys and accounts."""
    inviter = (invitation.inviter or "").strip()
    return casefold_visible(inviter) if _ADDRESS.fullmatch(inviter) is not None else None


_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
"""A person's address; API keys and service accounts have other names."""


def inviters_who_seem_gone(
    invitations: Iterable[Invitation], members: ActiveMembers
) -> dict[str, str]:
    """Return the inviters who are not in a list of active members, nor known to be gone.

    Names that look the same are one.

    Returns:
        The name of each as Atlas shows it, by the folded one.
    """
    lookalikes = frozenset(map(casefold_lookalike, members.names))
    seem_gone: dict[str, str] = {}
    for invitation in invitations:
        inviter = inviter_address(invitation)
        if inviter is None or inviter in members.names or inviter in members.gone:
            continue
        if casefold_lookalike(inviter) not in lookalikes:
            seem_gone[inviter] = (invitation.inviter or "").strip()
    return seem_gone

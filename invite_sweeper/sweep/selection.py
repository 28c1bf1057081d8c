"""Decides for each entry of a list whether it is stale or kept, with the reason.

`Selector.decide` checks in this order:

1. A malformed id, a user who is not pending, or an invitation that is linked to a project out
   of the policy's scope or to unknown projects: kept.
2. A `keep` entry matches: kept, even if a rule matches.
3. The creation date is missing, unreadable or in the future: kept.
4. A `keep` entry needs a value that Atlas did not send: kept.
5. The first rule that matches makes it stale.
6. A rule needs a value that Atlas did not send, or no rule matches: kept.

`invitations.combine` makes invitations of the entries; `steps` are applied to the result and can
only keep more.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Invitation,
    MembershipStatus,
    parse_timestamp,
)
from invite_sweeper.names import (
    Globs,
    IdsAndGlobs,
    casefold_lookalike,
    casefold_visible,
    is_atlas_id,
)
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.text import escape_unprintable

MatchResult: TypeAlias = bool | str
"""Whether a condition matches; a string is the reason why that is unknown.

Unknown makes nothing stale: a rule with an unknown condition does not match, and an invitation is
kept whose keep entry has one.
"""

Matcher: TypeAlias = Callable[[Invitation, datetime], MatchResult]
"""Judges an invitation at an instant."""
Condition: TypeAlias = tuple[str, Matcher]
"""A key of a rule or keep entry, and its matcher."""


class Explained(NamedTuple):
    """What a rule or keep entry makes of an invitation.

    Attributes:
        result: Whether it matches.
        keys: Each of its keys, with the result of its condition.
    """

    entry: Rule | Keep
    result: MatchResult
    keys: list[tuple[str, MatchResult]]


ATLAS_LAUNCHED_AT: Final = datetime(2016, 6, 1, tzinfo=UTC)
"""Before it no invitation can have been sent: 0001-01-01 or 1970-01-01 stand for "no date".

Source: MongoDB announced Atlas on 2016-06-28.
"""


def _read_date(text: str | None) -> datetime | str:
    """Return a date; without one, the reason."""
    if text is None:
        return "no_date"
    date = parse_timestamp(text)
    if date is None:
        return "unreadable_date"
    return date if date >= ATLAS_LAUNCHED_AT else "no_date"


@dataclass(frozen=True, slots=True)
class ActiveMembers:
    """The active members of one organization; names are folded (`casefold_visible`).

    Attributes:
        names: Of a list that was read to its end and did not shrink too much.
        gone: Inviters who are not among them, and of whom Atlas's answer to their name does not
            show an active member either.
    """

    names: frozenset[str]
    gone: frozenset[str] = frozenset()


Members: TypeAlias = Mapping[str, ActiveMembers]
"""Those of each organization where they are known."""
_NO_MEMBERS: Final[Members] = MappingProxyType({})
OrganizationNames: TypeAlias = Mapping[str, str]
"""The names of organizations by id, as Atlas returned them in this run."""
_NO_NAMES: Final[OrganizationNames] = MappingProxyType({})


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


def entry_conditions(
    entry: Rule | Keep, members: Members = _NO_MEMBERS, names: OrganizationNames = _NO_NAMES
) -> Iterator[Condition]:
    """Yield one condition for each key that the entry has, in a fixed order.

    `until` is the first one: an entry that no longer holds matches nothing.

    Args:
        entry: A rule or a keep entry of the policy.
        members: For `inviter_gone`.
        names: For `organizations`.
    """
    if isinstance(entry, Keep) and entry.until is not None:
        yield "until", _until(entry)
    matchers: dict[str, Callable[[Any], Matcher]] = {
        "older_than": lambda age: _date("created_at", lambda sent, now: sent <= now - age),
        "expired": lambda wanted: _date("expires_at", lambda end, now: (end <= now) is wanted),
        "expires_within": lambda span: _date(
            "expires_at", lambda end, now: timedelta() < end - now <= span
        ),
        "usernames": lambda globs: _name(entry, globs, "username"),
        "not_usernames": _not_username,
        "inviters": lambda globs: _name(entry, globs, "inviter"),
        "roles": lambda wanted: _any_of(wanted, _roles_at, "no_roles"),
        "projects": lambda entries: _projects(entry, entries),
        "organizations": lambda entries: _organizations(entry, entries, names),
        "statuses": lambda wanted: _any_of(wanted, _statuses_at, "no_status"),
        "inviter_gone": lambda _: _inviter_gone(members),
    }
    for key, make_matcher in matchers.items():
        value = getattr(entry, key)
        if value is not None:
            yield key, make_matcher(value)


def _until(entry: Keep) -> Matcher:
    """Match everything up to the last day of a keep entry."""

    def matches(_: Invitation, now: datetime) -> MatchResult:
        return entry.is_active(now.date())

    return matches


def _date(
    field: Literal["created_at", "expires_at"], test: Callable[[datetime, datetime], bool]
) -> Matcher:
    """Match a date of the invitation; `test` gets it, and the instant."""

    def matches(invitation: Invitation, now: datetime) -> MatchResult:
        date = _read_date(getattr(invitation, field))
        return date if isinstance(date, str) else test(date, now)

    return matches


def _name(
    entry: Rule | Keep, patterns: tuple[str, ...], field: Literal["username", "inviter"]
) -> Matcher:
    """Match a name that any of the globs matches; for a keep entry, also one that looks the same.

    So a look-alike of a protected name is kept, and a rule deletes only what it names.
    """
    globs = Globs(patterns, protects=isinstance(entry, Keep))

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
    expired from then on (`possible_statuses`).
    """
    if invitation.source in SOURCES_OF_USERS or invitation.status is None:
        return invitation.status
    ends_at = _read_date(invitation.expires_at)
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


def _projects(entry: Rule | Keep, entries: tuple[str, ...]) -> Matcher:
    """Match the project, or those that an organization's invitation is linked to.

    A rule must match every linked project, because a deletion takes all of them away; a keep
    entry protects the invitation if it matches one.
    """
    patterns = IdsAndGlobs(entries, protects=isinstance(entry, Keep))
    must_match_all = isinstance(entry, Rule)

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        if not invitation.source.is_organization_level:
            return patterns.matches(invitation.scope_id, invitation.project_name or "")
        results = [patterns.matches(id_, name) for id_, name in invitation.linked_projects]
        if must_match_all:
            return bool(results) and all(results)
        return any(results)

    return matches


def _organizations(
    entry: Rule | Keep, entries: tuple[str, ...], names: OrganizationNames
) -> Matcher:
    """Match the organization by its id, or by its name as Atlas returned it in this run.

    Where the name is not known, a glob makes nothing stale and keeps what it may protect.
    """
    patterns = IdsAndGlobs(entries, protects=isinstance(entry, Keep))

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        name = names.get(invitation.org_id) or None
        if patterns.matches(invitation.org_id, name):
            return True
        if name is None and patterns.has_globs:
            return "no_organization_name"
        return False

    return matches


def _inviter_gone(members: Members) -> Matcher:
    """Match an inviter who is a person and no active member, by the list and asked for by name."""
    lookalikes: dict[str, frozenset[str]] = {}
    for org_id, known in members.items():
        lookalikes[org_id] = frozenset(map(casefold_lookalike, known.names))

    def matches(invitation: Invitation, _: datetime) -> MatchResult:
        known = members.get(invitation.org_id)
        inviter = inviter_address(invitation)
        if known is None or not known.names or inviter is None:
            return "inviter_unknown"
        if inviter in known.gone:
            return True
        is_member = inviter in known.names
        is_member = is_member or casefold_lookalike(inviter) in lookalikes[invitation.org_id]
        # Neither a member nor known to be gone: Atlas was not asked for the name, or not clear.
        return False if is_member else "inviter_unknown"

    return matches


def inviter_address(invitation: Invitation) -> str | None:
    """Return the folded address of an inviter who is a person; None of any other."""
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


KEEP_REASONS: Final = {
    "too_young": "too young for every rule",
    "no_rule": "no rule matches",
    "no_date": "no creation date",
    "unreadable_date": "unreadable creation date",
    "future_date": "creation date in the future",
    "unreadable_id": "malformed id",
    "not_pending": "not pending",
    "reaches_out_of_scope": "linked to a project outside the policy's scope, or to an unknown one",
    "bounced": "deleted and re-invited too often (max_bounces)",
    "notice_pending": "waiting until the policy's notice is over",
    "list_unread": "another list that may show the person could not be read",
    "inviter_unknown": "not known whether the inviter is still a member",
    "not_in_plan": "not in the saved plan",
    "changed_since_plan": "changed since the saved plan was created",
    "unrecordable": "too long for the audit log, or contains a secret of this run",
}
"""The keys of `kept_by_reason` as text. Others are `keep:NAME` and, where an entry needs a
value that Atlas did not send, `no_` and the name of the value."""


def describe_keep_reason(key: str) -> str:
    """Return the text for a key of `kept_by_reason`."""
    kind, _, entry = key.partition(":")
    if kind == "keep":
        return f"keep entry {escape_unprintable(entry)}"
    return KEEP_REASONS.get(key) or escape_unprintable(key).replace("_", " ")


class Announcement(NamedTuple):
    """What a decision means for the announcement of the invitation.

    Attributes:
        announced_at: The instant of the sweep that announced it; None if this run does.
        deletable_from: When a sweep may delete it, while it waits.
        rule: The rule for which it is announced by this run; None if it was announced before.
        ended_entries: Entries that were announced, and whose invitation is kept now.
    """

    announced_at: datetime | None = None
    deletable_from: datetime | None = None
    rule: str | None = None
    ended_entries: tuple[Invitation, ...] = ()


class StaleFrom(NamedTuple):
    """Since when an invitation is stale, or from when on if nothing changes, by which rule."""

    instant: datetime
    rule: str


class Decision(NamedTuple):
    """The decision about one entry of a list, or about an invitation made of several.

    A named tuple, because a run creates many. Exactly one of `rule` and `keep_reason` is set.

    Attributes:
        invitation: The entry; of an invitation the one that its DELETE names, or that keeps it.
        rule: The name of the first rule that makes it stale; None when it is kept.
        keep_reason: Why it is kept (`too_young`, `no_rule`, `keep:NAME`, `no_date`, …); None
            when it is stale.
        bounced: How often runs have deleted this user's invitation to this project before.
        new: Whether it is stale, and the last plan of the same policy did not contain it.
        announcement: Where the policy has a `notice`: what becomes of the announcement.
        inviter_gone: Whether the rule judges by the active members.
        entries: The other entries of the invitation, see `invitations.combine`.
        old_enough: Of an entry that is kept, when its age reaches the first of the rules that
            match it but for its age; None where none does.
    """

    invitation: Invitation
    rule: str | None
    keep_reason: str | None
    bounced: int = 0
    new: bool = False
    announcement: Announcement | None = None
    inviter_gone: bool = False
    entries: tuple[Invitation, ...] = ()
    old_enough: StaleFrom | None = None

    def keep(self, reason: str) -> "Decision":
        """Return the decision to keep the invitation."""
        return self._replace(rule=None, keep_reason=reason)

    @property
    def all_entries(self) -> tuple[Invitation, ...]:
        """Every entry of the invitation, the named one first."""
        return self.invitation, *self.entries

    @property
    def stale(self) -> bool:
        """Whether at least one rule matched and nothing keeps it."""
        return self.rule is not None


class _RuleConditions(NamedTuple):
    """A rule, its conditions, and those but `older_than`: what matches them alone is too young."""

    rule: Rule
    conditions: tuple[Condition, ...]
    ageless: tuple[Condition, ...]

    @classmethod
    def of(cls, rule: Rule, conditions: tuple[Condition, ...]) -> "_RuleConditions":
        """Return them for a rule."""
        ageless = (condition for condition in conditions if condition[0] != "older_than")
        return cls(rule, conditions, tuple(ageless))


def _sooner(known: StaleFrom | None, invitation: Invitation, rule: Rule) -> StaleFrom | None:
    """Return when the age of an invitation reaches one of two rules; the first, where at once."""
    sent_at = invitation.sent_at
    if sent_at is None or rule.older_than is None:
        return known
    try:
        instant = sent_at + rule.older_than
    except OverflowError:  # beyond the calendar
        return known
    if known is not None and known.instant <= instant:
        return known
    return StaleFrom(instant, rule.name)


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
        members: Members = _NO_MEMBERS,
        names: OrganizationNames = _NO_NAMES,
    ) -> None:
        self._now = now
        self._keep = tuple(
            (entry, tuple(entry_conditions(entry, members, names))) for entry in policy.keep
        )
        self._rules = tuple(
            _RuleConditions.of(rule, tuple(entry_conditions(rule, members, names)))
            for rule in policy.rules
        )

    def decide(self, invitation: Invitation, at: datetime | None = None) -> Decision:
        """Return the decision about one invitation; the module docstring lists the order.

        Args:
            at: Another instant than that of the run: what a later sweep would decide.
        """
        now = at or self._now
        keep_reason = self._keep_reason(invitation, now)
        if keep_reason is not None:
            return Decision(invitation, None, keep_reason)
        # Why no rule matches: a value that Atlas did not send comes first, then an age that is
        # not yet reached.
        reason = "no_rule"
        old_enough: StaleFrom | None = None
        for rule, conditions, ageless in self._rules:
            result = match_all(conditions, invitation, now)
            if result is True:
                return Decision(invitation, rule.name, None, inviter_gone=bool(rule.inviter_gone))
            if isinstance(result, str):
                reason = result
            elif match_all(ageless, invitation, now) is True:
                if reason == "no_rule":
                    reason = "too_young"
                old_enough = _sooner(old_enough, invitation, rule)
        return Decision(invitation, None, reason, old_enough=old_enough)

    def explain(self, invitation: Invitation) -> Iterator[Explained]:
        """Yield each keep entry and each rule, with its result and those of its keys."""
        rules = ((rule, conditions) for rule, conditions, _ in self._rules)
        entries: tuple[tuple[Rule | Keep, tuple[Condition, ...]], ...]
        entries = (*self._keep, *rules)
        for entry, conditions in entries:
            results: list[tuple[str, MatchResult]] = []
            for key, matches in conditions:
                result = matches(invitation, self._now)
                has_not_ended = key == "until" and result is True
                if not has_not_ended:  # the end of an entry that holds explains nothing
                    results.append((key, result))
            yield Explained(entry, match_all(conditions, invitation, self._now), results)

    def _keep_reason(self, invitation: Invitation, now: datetime) -> str | None:
        """Return why an invitation is kept before any rule is asked: steps 1 to 4 of the order."""
        if not is_atlas_id(invitation.invitation_id):
            return "unreadable_id"
        if invitation.source in SOURCES_OF_USERS and invitation.status not in INVITED_STATUSES:
            return "not_pending"
        if invitation.links_out_of_scope:
            return "reaches_out_of_scope"
        unknown_reason = None
        for entry, conditions in self._keep:
            result = match_all(conditions, invitation, now)
            if result is True:
                return f"keep:{entry.name}"
            if isinstance(result, str):
                unknown_reason = unknown_reason or result
        date = _read_date(invitation.created_at)
        if isinstance(date, str):
            return date
        return "future_date" if date > now else unknown_reason

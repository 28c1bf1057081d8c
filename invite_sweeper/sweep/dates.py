"""The one date of each invitation: from when on it is stale.

It is found by deciding the invitation again at each instant at which a key of the policy begins or
ceases to match one of its entries. `explain`, `list` and the forecast of a plan all ask here; in
which night it goes follows from this date, the wait of `notice` and the limits (`outlook.nights`).
A role in a project of a person who is kept has a date of its own: it goes although the invitation
of the organization stays.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper.models import Invitation, Source, parse_timestamp
from invite_sweeper.policy import Keep, Policy, Rule
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision, Selector

NIGHT: Final = timedelta(days=1)
"""Between two sweeps: what is foretold assumes a sweep at this hour each day."""

FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class StaleFrom(NamedTuple):
    """Since when an invitation is stale, or from when on if nothing changes, by which rule."""

    instant: datetime
    rule: str


class StaleDates:
    """Finds from when on invitations are stale.

    Args:
        selector: For the organization of the invitations.
        now: The instant of the run.
    """

    def __init__(self, policy: Policy, selector: Selector, now: datetime) -> None:
        self._selector = selector
        self._now = now
        # When a key of the policy begins or ceases to match: at an instant that it names, so long
        # after an entry was sent, or so long after it expires. A negative span is before that.
        self._instants: set[datetime] = set()
        self._spans_after_sent: set[timedelta] = set()
        self._spans_after_end: set[timedelta] = set()
        self._keeps_by_age = any(entry.older_than is not None for entry in policy.keep)
        for entry in (*policy.rules, *policy.keep):
            if isinstance(entry, Keep) and entry.until is not None:
                last_day = datetime.combine(entry.until, time(), UTC)
                day_after = _shifted(last_day, timedelta(days=1))
                if day_after is not None:
                    self._instants.add(day_after)
            if entry.older_than is not None:
                self._spans_after_sent.add(entry.older_than)
            if entry.expires_within is not None:
                self._spans_after_end |= {-entry.expires_within, timedelta()}
            if entry.expired is not None or entry.statuses is not None:
                self._spans_after_end.add(timedelta())

    def stale_from(self, by_policy: Decision, until: datetime = FOREVER) -> StaleFrom | None:
        """Return since when the policy makes an invitation stale, or from when on.

        Args:
            by_policy: The decision about it, before the steps of a run.
            until: The last instant that is asked about; of what is kept now, nothing is decided
                at a later instant.

        Returns:
            None where it is not stale by then, and where no date ends what keeps it now: a list
            that was not read, or an audit log that cannot record it. Of one that is not stale yet,
            it is not asked whether the log could record it.
        """
        if by_policy.keep_reason in ("list_unread", "unrecordable"):  # no date ends these
            return None
        if self._is_by_age_alone(by_policy, until):
            return _old_enough(by_policy.invitation, by_policy.too_young_for, until)
        instants = self._changes(by_policy.all_entries)
        if by_policy.stale:  # since the first instant from which it is stale without a break
            instants.append(self._now)
        else:  # whether it was stale in the past does not matter: its date is the next one
            instants = [instant for instant in instants if self._now < instant <= until]
        stale_since: datetime | None = None
        for instant in sorted(instants):
            rule = self._rule_at(instant, by_policy)
            if rule is None:  # something keeps it again
                stale_since = None
                continue
            if stale_since is None:
                stale_since = instant
            if instant >= self._now:
                return StaleFrom(stale_since, rule)
        return None

    def _is_by_age_alone(self, by_policy: Decision, until: datetime) -> bool:
        """Return whether nothing but its age can change the decision about an invitation.

        Most are kept and have one entry, and no other key of the policy matches at one time and
        not at another. Then its age reaches a rule for which it is too young now, or none.
        """
        if by_policy.stale or by_policy.entries:
            return False
        if by_policy.keep_reason == "future_date":  # no rule was asked about it yet
            return False
        if self._keeps_by_age or self._spans_after_end:
            return False
        return not any(self._now < instant <= until for instant in self._instants)

    def roles_from(
        self, by_policy: Decision, until: datetime = FOREVER
    ) -> Iterator[tuple[Invitation, StaleFrom]]:
        """Yield each role in a project that becomes stale while its person is kept, and its date.

        Such a role is an entry of `users`, and goes although the invitation of the organization
        stays. The entry that names the decision is left out: its date is `stale_from`.

        Args:
            by_policy: The decision about the person, before the steps of a run.
            until: The last instant that is asked about.
        """
        is_fixed = by_policy.stale or by_policy.keep_reason == "list_unread"
        if is_fixed or not by_policy.entries:  # nearly all invitations have one entry
            return
        dated_keys = {by_policy.invitation.key}
        for instant in sorted(self._changes(by_policy.all_entries)):
            if not self._now < instant <= until:
                continue
            for decision in self._invitations_at(instant, by_policy.all_entries):
                role = decision.invitation
                if decision.rule is None or role.source is not Source.USERS:
                    continue
                if role.key not in dated_keys:
                    dated_keys.add(role.key)
                    yield role, StaleFrom(instant, decision.rule)

    def _rule_at(self, instant: datetime, by_policy: Decision) -> str | None:
        """Return the rule that makes an invitation stale at an instant; None if it is kept."""
        named = by_policy.invitation
        if named.source.stands_for_itself:
            return self._selector.decide(named, instant).rule
        # At another instant its entries may be several invitations: the one that has the entry
        # by which it is named now counts.
        decisions = self._invitations_at(instant, by_policy.all_entries)
        with_named = (decision for decision in decisions if named in decision.all_entries)
        return next(with_named).rule

    def _invitations_at(
        self, instant: datetime, entries: Sequence[Invitation]
    ) -> tuple[Decision, ...]:
        """Return the decisions about the entries of a person at another instant, combined."""
        decisions = [self._selector.decide(entry, instant) for entry in entries]
        return combine(decisions)

    def _changes(self, entries: Sequence[Invitation]) -> list[datetime]:
        """Return when a key of the policy begins or ceases to match one of the entries."""
        changes: list[datetime | None] = [*self._instants]
        for entry in entries:
            sent_at = entry.sent_at
            changes += (_shifted(sent_at, span) for span in self._spans_after_sent)
            if self._spans_after_end:
                ends_at = parse_timestamp(entry.expires_at)
                changes += (_shifted(ends_at, span) for span in self._spans_after_end)
        return [instant for instant in changes if instant is not None]


def _old_enough(entry: Invitation, rules: Iterable[Rule], until: datetime) -> StaleFrom | None:
    """Return when an entry first reaches the age of a rule; None if that is after `until`."""
    earliest: StaleFrom | None = None
    for rule in rules:
        instant = _shifted(entry.sent_at, rule.older_than)
        if instant is None or instant > until:
            continue
        if earliest is None or instant < earliest.instant:
            earliest = StaleFrom(instant, rule.name)
    return earliest


def _shifted(instant: datetime | None, span: timedelta | None) -> datetime | None:
    """Return the sum; None without one of the two, and beyond the calendar."""
    if instant is None or span is None:
        return None
    try:
        return instant + span
    except OverflowError:
        return None


def first_night(instant: datetime, now: datetime) -> int:
    """Return the number of the first sweep that is not before an instant; 0 is that of now."""
    return max(0, ceil((instant - now) / NIGHT))

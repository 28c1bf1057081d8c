"""The one date of each invitation: from when on it is stale.

It is found by deciding the invitation again at each instant at which a key of the policy begins or
ceases to match one of its entries. `explain`, `list` and the forecast of a plan all ask here; in
which night it goes follows from this date, the wait of `notice` and the limits (`outlook.nights`).
A role in a project of a person who is kept has a date of its own: it goes although the invitation
of the organization stays.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Final

from invite_sweeper.models import Invitation, Source, parse_timestamp
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision, Selector, StaleFrom

NIGHT: Final = timedelta(days=1)
"""Between two sweeps: what is foretold assumes a sweep at this hour each day."""

FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class StaleDates:
    """Finds from when on invitations are stale.

    Args:
        selector: For the organization of the invitations.
        now: The instant of the run.
    """

    def __init__(self, policy: Policy, selector: Selector, now: datetime) -> None:
        self._selector = selector
        self._now = now
        # When a key of the policy begins or ceases to match: at an instant that it names, and so
        # long after an entry was sent, or before it expires.
        self._instants: set[datetime] = set()
        self._spans_of_age: set[timedelta] = set()
        self._spans_of_end: set[timedelta] = set()
        self._keeps_by_age = any(entry.older_than is not None for entry in policy.keep)
        for part in (*policy.rules, *policy.keep):
            if isinstance(part, Keep) and part.until is not None:
                last_day = datetime.combine(part.until, time(), UTC)
                self._instants.update(_later(last_day, timedelta(days=1)))
            if part.older_than is not None:
                self._spans_of_age.add(part.older_than)
            if part.expires_within is not None:
                self._spans_of_end |= {-part.expires_within, timedelta()}
            if part.expired is not None or part.statuses is not None:
                self._spans_of_end.add(timedelta())

    def stale_from(self, by_policy: Decision, until: datetime = FOREVER) -> StaleFrom | None:
        """Return since when the policy makes an invitation stale, or from when on.

        Args:
            by_policy: The decision about it, before the steps of a run.
            until: The last instant that is asked about; of what is kept now, nothing is decided
                at a later one.

        Returns:
            None where it is not stale by then, and where no date ends what keeps it: a list that
            was not read, or an audit log that cannot record it.
        """
        if by_policy.keep_reason in ("list_unread", "unrecordable"):  # no date ends these
            return None
        if self._is_by_age_alone(by_policy, until):
            date = by_policy.old_enough
            return date if date is not None and date.instant <= until else None
        changes = self._changes(by_policy.all_entries)
        if not by_policy.stale:
            # Whether it was stale in the past does not matter: its date is the next one.
            changes = [instant for instant in changes if self._now < instant <= until]
        else:
            changes.append(self._now)
        stale_since: datetime | None = None
        for instant in sorted(changes):
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
        """Return whether nothing but its age can change the decision to keep one entry.

        So it is with most: then the decision has the date already.
        """
        if by_policy.stale or by_policy.entries:
            return False
        if by_policy.keep_reason == "future_date":  # no rule was asked about it yet
            return False
        if self._keeps_by_age or self._spans_of_end:
            return False
        return not any(self._now < instant <= until for instant in self._instants)

    def roles_from(
        self, by_policy: Decision, until: datetime = FOREVER
    ) -> Iterator[tuple[Invitation, StaleFrom]]:
        """Yield the roles of a kept person that become invitations of their projects, and go.

        Each is an entry of `users`. That which names the decision is not among them: its date is
        `stale_from`.

        Args:
            by_policy: As for `stale_from`, like `until`.
        """
        is_fixed = by_policy.stale or by_policy.keep_reason == "list_unread"
        if is_fixed or not by_policy.entries:  # as nearly all
            return
        known = {by_policy.invitation.key}
        for instant in sorted(self._changes(by_policy.all_entries)):
            if not self._now < instant <= until:
                continue
            for decision in self._invitations_at(instant, by_policy.all_entries):
                role = decision.invitation
                if decision.rule is None or role.source is not Source.USERS or role.key in known:
                    continue
                known.add(role.key)
                yield role, StaleFrom(instant, decision.rule)

    def _rule_at(self, instant: datetime, by_policy: Decision) -> str | None:
        """Return the rule that makes an invitation stale at an instant; None if it is kept."""
        named = by_policy.invitation
        if named.source.stands_for_itself:
            return self._selector.decide(named, instant).rule
        # At another instant its entries may be several invitations: that of the named one counts.
        invitations = self._invitations_at(instant, by_policy.all_entries)
        own = (invitation for invitation in invitations if named in invitation.all_entries)
        return next(own).rule

    def _invitations_at(
        self, instant: datetime, entries: Sequence[Invitation]
    ) -> tuple[Decision, ...]:
        """Return the invitations that the entries of a person are at another instant."""
        decisions = [self._selector.decide(entry, instant) for entry in entries]
        return combine(decisions, all_read=True)

    def _changes(self, entries: Sequence[Invitation]) -> list[datetime]:
        """Return when a key of the policy begins or ceases to match one of the entries."""
        changes = [*self._instants]
        for entry in entries:
            sent_at = entry.sent_at
            for span in self._spans_of_age:
                changes += _later(sent_at, span)
            if self._spans_of_end:
                ends_at = parse_timestamp(entry.expires_at)
                for span in self._spans_of_end:
                    changes += _later(ends_at, span)
        return changes


def _later(instant: datetime | None, span: timedelta) -> tuple[datetime, ...]:
    """Return the sum as the only item; nothing without an instant, or beyond the calendar."""
    if instant is None:
        return ()
    try:
        return (instant + span,)
    except OverflowError:
        return ()


def first_night(instant: datetime, now: datetime) -> int:
    """Return the number of the first sweep that is not before an instant; 0 is that of now."""
    return max(0, ceil((instant - now) / NIGHT))

"""The one date of each invitation: from when on it is stale.

It is found by deciding the invitation again at each instant at which a key of the policy begins or
ceases to match one of its entries. `explain`, `list` and the forecast of a plan all ask here; in
which night it goes follows from this date, the wait of `notice` and the limits (`plan.nights`).
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper.models import Invitation, parse_timestamp
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import keep_unrecordable

NIGHT: Final = timedelta(days=1)
"""Between two sweeps: what is foretold is foretold of a sweep at this hour each day."""

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
        self._policy = policy
        self._selector = selector
        self._now = now

    def stale_from(self, by_policy: Decision, until: datetime = FOREVER) -> StaleFrom | None:
        """Return since when the policy makes an invitation stale, or from when on.

        Args:
            by_policy: The decision about it, before the steps of a run.
            until: The last instant that is asked about; of what is kept now, nothing is decided
                at a later one.

        Returns:
            None where it is not stale by then, and where a list that was not read decides.
        """
        if by_policy.keep_reason == "list_unread":
            return None
        changes = self._instants(by_policy.all_entries)
        if not by_policy.stale:  # whether it ever was does not matter
            later = {instant for instant in changes if self._now < instant <= until}
            return self._first_stale(sorted(later), by_policy)
        instants = sorted({self._now, *changes})
        since: datetime | None = None
        for instant in instants:
            rule = self._rule_at(instant, by_policy)
            since = (since or instant) if rule is not None else None
            if instant >= self._now and since is not None and rule is not None:
                return StaleFrom(since, rule)
        return None

    def _first_stale(self, instants: Iterable[datetime], by_policy: Decision) -> StaleFrom | None:
        """Return the first of the instants at which an invitation is stale."""
        for instant in instants:
            if (rule := self._rule_at(instant, by_policy)) is not None:
                return StaleFrom(instant, rule)
        return None

    def _rule_at(self, instant: datetime, by_policy: Decision) -> str | None:
        """Return the rule that makes an invitation stale at an instant; None if it is kept."""
        entries = [
            keep_unrecordable(self._selector.decide(entry, instant))
            for entry in by_policy.all_entries
        ]
        if by_policy.invitation.source.stands_for_itself:
            return entries[0].rule
        combined = combine(entries, all_read=True)
        own = (each for each in combined if by_policy.invitation in each.all_entries)
        return next(own).rule

    def _instants(self, entries: Iterable[Invitation]) -> Iterator[datetime]:
        """Yield when a key of the policy begins or ceases to match one of the entries."""
        for part in (*self._policy.rules, *self._policy.keep):
            if isinstance(part, Keep) and part.until is not None:
                yield from _sum(datetime.combine(part.until, time(), UTC), NIGHT)
            has_end = part.expired is not None or part.expires_within is not None
            for entry in entries:
                yield from _sum(entry.sent_at, part.older_than)
                if has_end or part.statuses is not None:
                    ends_at = parse_timestamp(entry.expires_at)
                    yield from _sum(ends_at, timedelta())
                    yield from _sum(ends_at, -(part.expires_within or timedelta()))


def _sum(instant: datetime | None, span: timedelta | None) -> Iterator[datetime]:
    """Yield the sum; nothing without an instant or a span, or beyond the calendar."""
    if instant is not None and span is not None:
        with suppress(OverflowError):
            yield instant + span


def first_night(instant: datetime, now: datetime) -> int:
    """Return the number of the first sweep that is not before an instant; 0 is that of now."""
    return max(0, ceil((instant - now) / NIGHT))

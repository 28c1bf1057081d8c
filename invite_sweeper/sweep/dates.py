"""The one date of an invitation: from which day on a sweep may end it.

The sweeps to come are played for one person: at each instant at which a key of the policy begins or
ceases to match an entry, its entries are decided and combined anew, and announced where the policy
has a `notice`. So an entry that joins the invitation during a notice, or leaves it, counts as it
will. The limits are left out: they may make the date later, and never earlier.

`list`, `explain` and the forecast of a dry run ask here. Nothing is foretold of who will be
invited, accept or leave, nor of a list that was not read.

Last, what ends under every policy: lists that Atlas stops serving, secrets of accounts.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import Invitation, Source
from invite_sweeper.policy import Keep, Policy
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import Notice
from invite_sweeper.text import pluralize

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
_DAY: Final = timedelta(days=1)


class StaleFrom(NamedTuple):
    """Since when an invitation is stale, or from when on if nothing changes, by which rule."""

    instant: datetime
    rule: str


class Dates:
    """Finds the dates of invitations.

    Args:
        selector: For the organization of the invitations.
        now: The instant of the run.
        notice: With the announcements that hold; None without one, and where `goes_at` is not
            asked.
    """

    def __init__(
        self, policy: Policy, selector: Selector, now: datetime, notice: Notice | None = None
    ) -> None:
        self._selector = selector
        self._now = now
        self._notice = notice
        # When a key of the policy begins or ceases to match: at an instant that it names, so long
        # after an entry was sent, or so long after it expires. A negative span is before that.
        self._instants: set[datetime] = set()
        self._spans_after_sent = {timedelta()}  # before its date, an entry is kept
        self._spans_after_end: set[timedelta] = set()
        for entry in (*policy.rules, *policy.keep):
            if isinstance(entry, Keep) and entry.until is not None:
                last_day = datetime.combine(entry.until, time(), UTC)
                self._instants.update(_shifted(last_day, [_DAY]))
            if entry.older_than is not None:
                self._spans_after_sent.add(entry.older_than)
            if entry.expires_within is not None:
                self._spans_after_end |= {-entry.expires_within, timedelta()}
            if entry.expired is not None or entry.statuses is not None:
                self._spans_after_end.add(timedelta())
        # Nearly all policies: as time passes, rules begin to match, and nothing else changes.
        self._only_rules_age = not (self._instants or self._spans_after_end) and all(
            entry.older_than is None for entry in policy.keep
        )

    def stale_by(self, by_policy: Decision, until: datetime) -> datetime | None:
        """Return the first instant at which the policy makes a kept invitation stale.

        The count of a forecast is by the rules alone: whether the audit log can record the
        invitation is not asked.

        Args:
            by_policy: The decision about it, before the steps of a run.

        Returns:
            None where that is later than `until`, and where no date ends what keeps it now.
        """
        is_alone = not (by_policy.entries or by_policy.person)
        if not (self._only_rules_age and is_alone) or by_policy.keep_reason == "future_date":
            end = self._first_end(by_policy, None, until)
            return end.instant if end is not None else None
        age, sent_at = by_policy.stale_at_age, by_policy.invitation.sent_at
        if age is None or sent_at is None or until - sent_at < age:
            return None
        return sent_at + age

    def stale_from(self, by_policy: Decision) -> StaleFrom | None:
        """Return since when the policy makes an invitation stale, or from when on.

        The wait of `notice` is left out.

        Args:
            by_policy: The decision about it, before the steps of a run.

        Returns:
            None where no date ends what keeps it now.
        """
        if by_policy.stale:
            return self._stale_since(by_policy)
        return self._first_end(by_policy, None, _FOREVER)

    def goes_at(self, decision: Decision) -> datetime | None:
        """Return the first instant at which a sweep may end an invitation; None where none may.

        Args:
            decision: About it, after the steps of a run.
        """
        notice = self._notice
        # A wait that begins later than this is not over on the last day of the calendar.
        last = _FOREVER - notice.wait if notice is not None else _FOREVER
        end = self._first_end(decision, notice, last)
        return end.instant if end is not None else None

    def _stale_since(self, by_policy: Decision) -> StaleFrom | None:
        """Return the first instant from which on an invitation is stale without a break."""
        entries = by_policy.all_entries
        past = (instant for instant in self._changes(entries) if instant < self._now)
        since: datetime | None = None
        rule: str | None = None
        for instant in (*sorted(past), self._now):
            rule = next(
                decision.rule
                for decision in self._decisions_at(instant, entries)
                if by_policy.invitation in decision.all_entries
            )
            if rule is None:  # something keeps it again
                since = None
            elif since is None:
                since = instant
        return StaleFrom(since, rule) if since is not None and rule is not None else None

    def _first_end(
        self, decided: Decision, notice: Notice | None, until: datetime
    ) -> StaleFrom | None:
        """Return when a sweep first may end an invitation, and by which rule.

        The sweeps to come end what they may of a person, as if one ran at each instant.
        """
        if decided.keep_reason == "list_unread":  # no date ends that
            return None
        left = list(decided.person or decided.all_entries)
        if notice is not None:
            notice = notice.of(left)
        instants = {change for change in self._changes(left) if self._now < change <= until}
        if notice is not None or decided.stale or decided.person:  # else nothing happens now
            instants.add(self._now)
        while instants and left:
            instant = min(instants)
            instants.remove(instant)
            decisions = self._decisions_at(instant, left)
            if notice is not None:
                notice = structs.replace(notice, now=instant)
                decisions = tuple(map(notice, decisions))
                notice = notice.after(decisions)
                instants.update(_ends_of_waits(decisions))
            for decision in decisions:
                if decision.rule is None or decision.waits:
                    continue
                if decided.invitation in decision.all_entries:
                    return StaleFrom(instant, decision.rule)
                left = [entry for entry in left if entry not in decision.all_entries]
        return None

    def _decisions_at(self, instant: datetime, entries: Sequence[Invitation]) -> Iterable[Decision]:
        """Return the invitations that the entries of a person are at an instant."""
        decisions = [self._selector.decide(entry, instant) for entry in entries]
        # Nearly all people have one entry, which is an invitation by itself; one of `invites` is.
        return decisions if len(decisions) == 1 else combine(decisions)

    def _changes(self, entries: Iterable[Invitation]) -> Iterator[datetime]:
        """Yield when a key of the policy begins or ceases to match one of the entries."""
        yield from self._instants
        for entry in entries:
            yield from _shifted(entry.sent_at, self._spans_after_sent)
            if self._spans_after_end:
                yield from _shifted(parse_timestamp(entry.expires_at), self._spans_after_end)


def _ends_of_waits(decisions: Iterable[Decision]) -> Iterator[datetime]:
    """Yield when the notice of each invitation that waits is over."""
    for decision in decisions:
        announcement = decision.announcement
        if announcement is not None and announcement.deletable_from is not None:
            yield announcement.deletable_from


def _shifted(instant: datetime | None, spans: Iterable[timedelta]) -> Iterator[datetime]:
    """Yield the sums; none without an instant, and none beyond the calendar."""
    if instant is None:
        return
    for span in spans:
        try:
            yield instant + span
        except OverflowError:
            continue


LAST_KNOWN_ENDS: Final = {
    Source.INVITES: date(2027, 7, 1),
    Source.ORG_INVITES: date(2027, 7, 1),
}
"""The ends that Atlas had announced when this version was made.

Source: `x-sunset` in the OpenAPI document of 2026-08-21. The day has moved three times, so it
holds only where neither a `Sunset` header nor the audit log has another one.
"""
SUNSET_WARNING_DAYS: Final = 180
"""Runs warn this long before a list ends: time to change a policy and to watch the result."""
SUNSET_URGENT_DAYS: Final = 30


def sunset_warnings(
    sunsets: Mapping[Source, date], sources: Collection[Source], today: date
) -> Iterator[RunWarning]:
    """Warn about each list that Atlas will stop serving, from 180 days before.

    It is a remark for a policy that has nothing to change.

    Args:
        sunsets: The day that Atlas named, by source.
        sources: Of the policy.
        today: The day of the run.
    """
    for source, last_day in sorted(sunsets.items()):
        days_left = (last_day - today).days
        if days_left > SUNSET_WARNING_DAYS:
            continue
        text = f"Atlas announced {last_day} as the last day of the list {source}."
        if days_left > 0:
            in_days = f"in {pluralize(days_left, 'day')}"
            text = f"Atlas stops serving the list {source} on {last_day}, {in_days}."
        is_urgent = days_left <= SUNSET_URGENT_DAYS and not source.is_replaced_by(sources)
        level = WarningLevel.URGENT if is_urgent else WarningLevel.REMARK
        text = f"{text} {source.replacement_hint(sources)}"
        yield RunWarning(WarningCode.SUNSET, text, level)


SECRET_WARNING_DAYS: Final = 14
SECRET_URGENT_DAYS: Final = 3


def secret_warnings(ends: Sequence[datetime], now: datetime) -> Iterator[RunWarning]:
    """Warn about a secret that ends soon, from 14 days before; from 3 days before it is urgent.

    Args:
        ends: When each secret of the service account ends that has not ended yet, in this order.
            Where a secret has ended, the run uses another one.
        now: The instant of the run.

    Source: Atlas documentation of service accounts (read 2026-11).
    """
    if not ends:
        return
    first_end = ends[0]
    time_left = first_end - now
    # Whole days, rounded down: less than 15 days are 14.
    if time_left >= (SECRET_WARNING_DAYS + 1) * _DAY:
        return
    days = pluralize(time_left // _DAY, "day")
    is_urgent = time_left < SECRET_URGENT_DAYS * _DAY
    another = f"; another one ends on {ends[-1]:%Y-%m-%d}" if len(ends) > 1 else ""
    yield RunWarning(
        WarningCode.SECRET,
        f"A secret of the service account ends on {first_end:%Y-%m-%d}, in {days}{another}. A new "
        "secret leaves the old one at most 7 days. Atlas's own alert covers service accounts of "
        "an organization only.",
        WarningLevel.URGENT if is_urgent else WarningLevel.WARNING,
    )

"""What expires under every policy: lists that Atlas stops serving, secrets of accounts.

Runs warn from 180 and from 14 days before, and the warning becomes urgent near the end.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from invite_sweeper.audit.totals import RunWarning
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Source
from invite_sweeper.text import pluralize

_DAY: Final = timedelta(days=1)

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

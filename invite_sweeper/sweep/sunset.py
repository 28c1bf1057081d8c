"""What ends: a list, as Atlas announces it and as its 410 says, and the secret of an account."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Source, SourceRetired
from invite_sweeper.text import pluralize

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
    for source, day in sorted(sunsets.items()):
        left = (day - today).days
        if left > SUNSET_WARNING_DAYS:
            continue
        text = f"Atlas announced {day} as the last day of the list {source}."
        if left > 0:
            text = f"Atlas stops serving the list {source} on {day}, in {pluralize(left, 'day')}."
        is_urgent = left <= SUNSET_URGENT_DAYS and not source.is_replaced_by(sources)
        level = WarningLevel.URGENT if is_urgent else WarningLevel.REMARK
        text = f"{text} {source.replacement_hint(sources)}"
        yield RunWarning(WarningCode.SUNSET, text, level)


def has_ended(
    source: Source, recorded: Mapping[Source, date], sunsets: Mapping[Source, date], today: date
) -> bool:
    """Return whether the last day of a list has come, by the last announcement of it.

    Args:
        recorded: The days by earlier runs, in the audit log.
        sunsets: In the responses of this run.
        today: The day of the run.
    """
    day = {**LAST_KNOWN_ENDS, **recorded, **sunsets}.get(source)
    return day is not None and day <= today


def retired_warning(
    retired: SourceRetired, sources: Collection[Source], *, ended: bool
) -> RunWarning:
    """Warn that Atlas no longer serves a list, with the source that replaces it.

    After the announced day nothing is wrong, and the other lists of the policy go on.

    Args:
        sources: Of the policy.
        ended: Whether its announced last day has come.
    """
    when = "as announced" if ended else "before the day that was announced"
    return RunWarning(
        WarningCode.RETIRED_SOURCE,
        f"{retired.reason.removesuffix('.')}, {when}. {retired.source.replacement_hint(sources)}",
        WarningLevel.REMARK if ended else WarningLevel.URGENT,
    )


SECRET_WARNING_DAYS: Final = 14


def secret_warnings(expiries: Sequence[datetime], now: datetime) -> tuple[RunWarning, ...]:
    """Warn about a secret that ends soon, unless it has ended: then another one is in use.

    Args:
        expiries: When the secrets of the service account expire, the first one first.
        now: The instant of the run.

    Source: Atlas documentation of service accounts (read 2026-11).
    """
    live = [each for each in expiries if each > now]
    if not live or live[0] - now >= timedelta(days=SECRET_WARNING_DAYS + 1):
        return ()
    left = pluralize((live[0] - now) // timedelta(days=1), "day")
    other = f"; another one ends on {live[-1]:%Y-%m-%d}" if len(live) > 1 else ""
    return (
        RunWarning(
            WarningCode.SECRET,
            f"A secret of the service account ends on {live[0]:%Y-%m-%d}, in {left}{other}. "
            "A new secret leaves the old one at most 7 days. Atlas's own alert covers service "
            "accounts of an organization only.",
        ),
    )

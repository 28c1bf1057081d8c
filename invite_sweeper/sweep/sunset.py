"""What ends: a list, as Atlas announces it and as its 410 says, and the secret of an account."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Source, SourceRetired
from invite_sweeper.text import pluralize

_LAST_KNOWN_ENDS: Final = {
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
) -> tuple[RunWarning, ...]:
    """Warn about each list that Atlas will stop serving, from 180 days before.

    It is a remark for a policy that has nothing to change.

    Args:
        sunsets: The day that Atlas named, by source.
        sources: Of the policy.
        today: The day of the run.
    """
    return tuple(
        RunWarning(
            WarningCode.SUNSET,
            f"{_sunset_text(source, day, today)} {source.replacement_hint(sources)}",
            WarningLevel.URGENT
            if (day - today).days <= SUNSET_URGENT_DAYS and not source.is_replaced_by(sources)
            else WarningLevel.REMARK,
        )
        for source, day in sorted(sunsets.items())
        if (day - today).days <= SUNSET_WARNING_DAYS
    )


def announced_ends(
    recorded: Mapping[Source, date], sunsets: Mapping[Source, date]
) -> Mapping[Source, date]:
    """Return the last day of each list that has one, by the last announcement of it.

    Args:
        recorded: By earlier runs, in the audit log.
        sunsets: In the responses of this run.
    """
    return {**_LAST_KNOWN_ENDS, **recorded, **sunsets}


def ended_lists(ends: Mapping[Source, date], today: date) -> frozenset[Source]:
    """Return the lists whose last day has come.

    Args:
        ends: As `announced_ends`.
        today: The day of the run.
    """
    return frozenset(source for source, day in ends.items() if day <= today)


def retired_warning(
    retired: SourceRetired, sources: Collection[Source], *, has_ended: bool
) -> RunWarning:
    """Warn that Atlas no longer serves a list, with the source that replaces it.

    After the announced day nothing is wrong, and the other lists of the policy go on.

    Args:
        retired: The list.
        sources: Of the policy.
        has_ended: Whether its announced last day has come.
    """
    when = "as announced" if has_ended else "before the day that was announced"
    return RunWarning(
        WarningCode.RETIRED_SOURCE,
        f"{retired.reason.removesuffix('.')}, {when}. {retired.source.replacement_hint(sources)}",
        WarningLevel.REMARK if has_ended else WarningLevel.URGENT,
    )


def _sunset_text(source: Source, day: date, today: date) -> str:
    left = (day - today).days
    if left > 0:
        return f"Atlas stops serving the list {source} on {day}, in {pluralize(left, 'day')}."
    return f"Atlas announced {day} as the last day of the list {source}."


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

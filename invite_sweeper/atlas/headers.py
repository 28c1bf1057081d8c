"""What the headers of an answer say. Pure; a header that cannot be read is as if absent."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER_FLOOR_S: Final = 1.0
RETRY_AFTER_CAP_S: Final = 120.0
_MAX_DIGITS: Final = 9


def date_of(headers: Mapping[str, str], name: str) -> datetime | None:
    """Read a date header, aware and in UTC.

    Source:
        The recordings (read 2026-08): `Sunset: Thu, 1 Jul 2027 00:00:00 GMT` has a day
        without its zero, and `Deprecation` is such a date as well, not RFC 9745's number.
    """
    raw = headers.get(name)
    if not raw:
        return None
    try:
        moment = parsedate_to_datetime(raw)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def count_of(headers: Mapping[str, str], name: str) -> int | None:
    """Read a header that holds a number of requests, from 0."""
    raw = headers.get(name, "")
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Read `Retry-After`, in seconds from now, between the floor and the cap.

    None where the header is missing or says nothing: then the caller's own waiting holds.

    Source:
        RFC 9110, 10.2.3: seconds or a date. "Please retry after 0 seconds" has been seen.
    """
    raw = headers.get("Retry-After", "").strip()
    if not raw:
        return None
    try:
        wait_s = float(raw)
    except ValueError:
        moment = date_of(headers, "Retry-After")
        if moment is None:
            return None
        wait_s = (moment - clock()).total_seconds()
    return bounded_wait_s(wait_s)


def bounded_wait_s(wait_s: float) -> float | None:
    """Put a wait that Atlas asked for between the floor and the cap; None for no number."""
    if math.isnan(wait_s):
        return None
    return min(max(wait_s, RETRY_AFTER_FLOOR_S), RETRY_AFTER_CAP_S)

"""What response headers say: dates, numbers, waits, Atlas's clock and the end of an API version.

An unreadable header counts as missing. No input or output.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.rate_limits import clamp_wait_s

_MAX_DIGITS: Final = 9
_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""


def parse_date_header(headers: Mapping[str, str], name: str) -> datetime | None:
    """Parse a date header into UTC; None if it is missing or unreadable.

    Source:
        The recordings (read 2026-08): the day may have one digit (`Sunset: Thu, 1 Jul 2027
        00:00:00 GMT`).
    """
    return _parse_date(headers.get(name, ""))


@lru_cache(maxsize=64)
def _parse_date(raw: str) -> datetime | None:
    """Parse a date. Cached: most answers of one second have the same ones."""
    if not raw:
        return None
    try:
        timestamp = parsedate_to_datetime(raw)
        return timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    """Parse a header with a number of requests, from 0; None if missing or unreadable."""
    raw = headers.get(name, "")
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Parse `Retry-After` into seconds from now, between floor and cap.

    Returns None if the header is missing or unreadable; the caller then uses its own backoff.

    Source:
        RFC 9110, 10.2.3: seconds or a date. Atlas has sent "Please retry after 0 seconds".
    """
    raw = headers.get("Retry-After", "").strip()
    if not raw:
        return None
    try:
        wait_s = float(raw)
    except ValueError:
        timestamp = parse_date_header(headers, "Retry-After")
        if timestamp is None:
            return None
        wait_s = (timestamp - clock()).total_seconds()
    return clamp_wait_s(wait_s)


class ServerInfo:
    """Collected from every response.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        has_responded: Atlas has sent any response.
        authenticated: Atlas has sent a 2xx response, so it accepts the credentials.
        sunsets: The `Sunset` date of each endpoint: Atlas may remove it from then on.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.has_responded = False
        self.authenticated = False
        self.sunsets: dict[Endpoint | None, date] = {}

    def age_s(self, headers: Mapping[str, str], sent_at: datetime) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It tells by `Age`, or by a `Date` that Atlas's clock
        did not show between the request and now.

        Args:
            headers: Of the answer.
            sent_at: When the request was sent, by the local clock.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        theirs = parse_date_header(headers, "Date")
        if theirs is None or self.clock_skew_s is None:
            return age_s
        early_s = (sent_at - theirs).total_seconds() - self.clock_skew_s
        late_s = (theirs - self.clock()).total_seconds() + self.clock_skew_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(
        self, headers: Mapping[str, str], *, good: bool, operation: Endpoint | None = None
    ) -> None:
        """Record the headers of one response; `good` if its status was 2xx."""
        self.has_responded = True
        self.authenticated |= good
        if good and self.clock_skew_s is None and (theirs := parse_date_header(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        if moment := parse_date_header(headers, "Sunset"):
            self.sunsets[operation] = moment.date()

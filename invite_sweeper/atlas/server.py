"""What responses show of Atlas itself: its clock, the age of an answer, the end of its lists.

Atlas's `Date` is compared with the run's clock. A clock that is wrong shows in the first one, and
an answer out of a cache in each: it is older than it seems, so nothing may be deleted by it.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from invite_sweeper.atlas.endpoints import SOURCES, Endpoint
from invite_sweeper.atlas.http import parse_date, parse_int_header
from invite_sweeper.atlas.responses import Response
from invite_sweeper.models import Source

_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""

_SOURCE_OF: Final = {api.list: source for source, api in SOURCES.items()} | {
    api.delete: source for source, api in SOURCES.items()
}
"""The list that the `Sunset` header of an endpoint is about."""


class Times(NamedTuple):
    """When a response was made and received.

    Attributes:
        sent_at: When its request was sent, by the run's clock.
        received_at: By the same clock.
        dated: Its `Date`, by Atlas's clock; None if that is missing or unreadable.
    """

    sent_at: datetime
    received_at: datetime
    dated: datetime | None


class ServerInfo:
    """What the responses of a run have shown of Atlas so far.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        sunsets: The last `Sunset` date of each list: Atlas may remove it from then on.
        has_answered: There was a response, with any status.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.sunsets: dict[Source, date] = {}
        self.has_answered = False

    def age_s(self, headers: Mapping[str, str], times: Times) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It has an `Age`, or a `Date` that Atlas's clock did not
        show between request and answer.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        if times.dated is None or self.clock_skew_s is None:
            return age_s
        # `Date` is of Atlas's clock, and the other times are later by the skew.
        early_s = (times.sent_at - times.dated).total_seconds() - self.clock_skew_s
        late_s = (times.dated - times.received_at).total_seconds() + self.clock_skew_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, response: Response, times: Times, endpoint: Endpoint) -> None:
        """Record the headers of one response."""
        is_first = self.clock_skew_s is None and response.is_success
        if is_first and times.dated is not None:
            self.clock_skew_s = (times.received_at - times.dated).total_seconds()
        source = _SOURCE_OF.get(endpoint)
        sunset = parse_date(response.headers.get("Sunset", ""))
        if source is not None and sunset is not None:
            self.sunsets[source] = sunset.date()

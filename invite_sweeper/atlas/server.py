"""What responses show of Atlas itself: its clock, the age of an answer, the end of its lists.

Atlas's `Date` is compared with the run's clock: a machine that was paused, or a clock that is
wrong, shows in it, and so does an answer out of a cache. Both make what was read older than it
seems, so nothing may be deleted by it. A `Date` that is too early may be either: a stored answer
keeps its `Date`, however often it is requested, while that of Atlas goes on with the clock.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from invite_sweeper.atlas.endpoints import SOURCES, Endpoint
from invite_sweeper.atlas.http import Request, parse_date, parse_int_header
from invite_sweeper.atlas.responses import Response
from invite_sweeper.models import MAX_CLOCK_SKEW_S, Source

_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""
_DATE_STEP: Final = timedelta(seconds=1)
"""The smallest step of a `Date`, which has whole seconds."""

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


class _EarlyAnswer(NamedTuple):
    """An answer to a read whose `Date` is too early: it is from a cache, or the clocks differ."""

    sent_at: datetime
    dated: datetime


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
        self._early_answers: dict[tuple[str, str], _EarlyAnswer] = {}  # by path and query

    def moved_s(self, response: Response, times: Times, request: Request) -> float:
        """Return by how much the run's clock has moved away from Atlas's, if that is too much.

        0.0 within 5 minutes, and where the clock was off from the first response on, which the
        guard on the clock refuses. The machine was paused in a way that no clock of it shows, or
        its clock runs wrong: what was read is older than the run knows.

        Args:
            response: Only a GET may be answered from a cache, with an earlier `Date`.
            times: When the response was made and received.
            request: It may have been sent before, and will be again if its answer is too old.
        """
        was_right = self.clock_skew_s is not None and abs(self.clock_skew_s) <= MAX_CLOCK_SKEW_S
        if times.dated is None or not was_right:
            return 0.0
        late_s = (times.dated - times.received_at).total_seconds()
        early_s = (times.sent_at - times.dated).total_seconds()
        moved_s = max(late_s, early_s)
        if moved_s <= MAX_CLOCK_SKEW_S or not response.looks_like_atlas:
            return 0.0
        # A cache cannot have an answer of the future, and has none to a DELETE or POST.
        may_be_stored = late_s <= MAX_CLOCK_SKEW_S and request.endpoint.method == "GET"
        if may_be_stored and not self._keeps_pace(request, times.sent_at, times.dated):
            return 0.0
        return moved_s

    def _keeps_pace(self, request: Request, sent_at: datetime, dated: datetime) -> bool:
        """Return whether the early `Date` of a request kept pace with the clock since its last one.

        Then Atlas made both answers, and its clock and that of the run differ. A cache would have
        returned the same `Date`, or that of a new answer.
        """
        answer = _EarlyAnswer(sent_at, dated)
        key = (request.path, request.query)
        last = self._early_answers.setdefault(key, answer)
        clock_step = answer.sent_at - last.sent_at
        date_step = answer.dated - last.dated
        off_pace_s = abs((clock_step - date_step).total_seconds())
        if off_pace_s > _EARLY_TOLERANCE_S:
            self._early_answers[key] = answer
            return False
        return date_step >= _DATE_STEP

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

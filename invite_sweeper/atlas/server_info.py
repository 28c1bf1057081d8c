"""What response headers say about Atlas: its clock, and the end of the API version."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.responses import parse_date_header


class ServerInfo:
    """Collected from every response.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        has_responded: Atlas has sent any response.
        authenticated: Atlas has sent a 2xx response, so it accepts the credentials.
        warnings: Sentences for the operator.
        sunsets: The `Sunset` date of each endpoint: Atlas may remove it from then on.
        deprecations: The `Deprecation` date of each endpoint.

    Source:
        Recorded responses (read 2026-08): responses about invitations have both headers, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self._last_headers: dict[Endpoint | None, tuple[str | None, str | None]] = {}
        self.clock_skew_s: float | None = None
        self.has_responded = False
        self.authenticated = False
        self.warnings: list[str] = []
        self.sunsets: dict[Endpoint | None, date] = {}
        self.deprecations: dict[Endpoint | None, date] = {}

    @property
    def sunset(self) -> date | None:
        """The earliest sunset; None without any."""
        return min(self.sunsets.values(), default=None)

    @property
    def deprecation(self) -> date | None:
        """The earliest deprecation; None without any."""
        return min(self.deprecations.values(), default=None)

    def update(
        self, headers: Mapping[str, str], *, good: bool, operation: Endpoint | None = None
    ) -> None:
        """Record the headers of one response; `good` if its status was 2xx."""
        self.has_responded = True
        self.authenticated |= good
        if good and self.clock_skew_s is None and (theirs := parse_date_header(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        raw = headers.get("Sunset"), headers.get("Deprecation")  # parsed only when they change
        if raw == self._last_headers.get(operation):
            return
        self._last_headers[operation] = raw
        if moment := parse_date_header(headers, "Sunset"):
            self.sunsets[operation] = moment.date()
        if moment := parse_date_header(headers, "Deprecation"):
            self.deprecations[operation] = moment.date()

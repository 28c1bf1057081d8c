"""What the headers of every response say: Atlas's clock, and when the version ends."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.responses import parse_date_header


class ServerInfo:
    """Read from each answer; headers that stay the same are read once.

    Attributes:
        clock_skew_s: Our clock minus Atlas's at the first good answer with a `Date`, to the
            second; None until there was one.
        has_responded: There was any response.
        authenticated: There was a good one, so Atlas accepts the credentials.
        warnings: What the responses left open, as sentences for the operator.
        sunsets: The day from which Atlas may drop an operation, by what was asked.
        deprecations: The day from which it advises against it, likewise.

    Source:
        The recordings (read 2026-08): both headers come on the answers about invitations,
        on errors and on 204, and the sunset has moved three times.
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
        """The first of all sunsets; None where Atlas names none."""
        return min(self.sunsets.values(), default=None)

    @property
    def deprecation(self) -> date | None:
        """The first of all deprecations; None where Atlas names none."""
        return min(self.deprecations.values(), default=None)

    def update(
        self, headers: Mapping[str, str], *, good: bool, operation: Endpoint | None = None
    ) -> None:
        """Read one response's headers; `good` where its status was 2xx."""
        self.has_responded = True
        self.authenticated |= good
        if good and self.clock_skew_s is None and (theirs := parse_date_header(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        raw = headers.get("Sunset"), headers.get("Deprecation")
        if raw == self._last_headers.get(operation):
            return
        self._last_headers[operation] = raw
        if moment := parse_date_header(headers, "Sunset"):
            self.sunsets[operation] = moment.date()
        if moment := parse_date_header(headers, "Deprecation"):
            self.deprecations[operation] = moment.date()

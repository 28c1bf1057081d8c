"""What the answers tell on the side: Atlas's clock, and when the version ends."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from invite_sweeper.atlas.headers import date_of


class Observed:
    """Read from each answer; headers that stay the same are read once.

    Attributes:
        clock_skew_s: Our clock minus Atlas's at the first good answer with a `Date`, to the
            second; None until there was one.
        sunset: The day from which Atlas may drop the operation; None where it names none.
        deprecation: The day from which it advises against it.

    Source:
        The recordings (read 2026-08): both headers come on the answers about invitations,
        on errors and on 204, and the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self._raw_sunset: str | None = None
        self._raw_deprecation: str | None = None
        self.clock_skew_s: float | None = None
        self.sunset: date | None = None
        self.deprecation: date | None = None

    def take(self, headers: Mapping[str, str], *, good: bool) -> None:
        """Take note of one answer's headers; `good` where its status was 2xx."""
        if good and self.clock_skew_s is None and (theirs := date_of(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        raw = headers.get("Sunset")
        if raw is not None and raw != self._raw_sunset:
            self._raw_sunset = raw
            self.sunset = _day(headers, "Sunset") or self.sunset
        raw = headers.get("Deprecation")
        if raw is not None and raw != self._raw_deprecation:
            self._raw_deprecation = raw
            self.deprecation = _day(headers, "Deprecation") or self.deprecation


def _day(headers: Mapping[str, str], name: str) -> date | None:
    moment = date_of(headers, name)
    return moment.date() if moment else None

"""What the answers tell on the side: Atlas's clock, and when the version ends."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from invite_sweeper.atlas.headers import date_of
from invite_sweeper.atlas.operations import Operation


class Observed:
    """Read from each answer; headers that stay the same are read once.

    Attributes:
        clock_skew_s: Our clock minus Atlas's at the first good answer with a `Date`, to the
            second; None until there was one.
        heard: There was any answer, whatever it said.
        welcomed: There was a good one, so Atlas takes the credentials.
        remarks: Sentences for a person about what the answers left open.
        sunsets: The day from which Atlas may drop an operation, by what was asked.
        deprecations: The day from which it advises against it, likewise.

    Source:
        The recordings (read 2026-08): both headers come on the answers about invitations,
        on errors and on 204, and the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self._raw: dict[Operation | None, tuple[str | None, str | None]] = {}
        self.clock_skew_s: float | None = None
        self.heard = False
        self.welcomed = False
        self.remarks: list[str] = []
        self.sunsets: dict[Operation | None, date] = {}
        self.deprecations: dict[Operation | None, date] = {}

    @property
    def sunset(self) -> date | None:
        """The first of all sunsets; None where Atlas names none."""
        return min(self.sunsets.values(), default=None)

    @property
    def deprecation(self) -> date | None:
        """The first of all deprecations; None where Atlas names none."""
        return min(self.deprecations.values(), default=None)

    def take(
        self, headers: Mapping[str, str], *, good: bool, operation: Operation | None = None
    ) -> None:
        """Take note of one answer's headers; `good` where its status was 2xx."""
        self.heard = True
        self.welcomed |= good
        if good and self.clock_skew_s is None and (theirs := date_of(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        raw = headers.get("Sunset"), headers.get("Deprecation")
        if raw == self._raw.get(operation):
            return
        self._raw[operation] = raw
        if moment := date_of(headers, "Sunset"):
            self.sunsets[operation] = moment.date()
        if moment := date_of(headers, "Deprecation"):
            self.deprecations[operation] = moment.date()

"""How long a bucket waits after a 429, and who goes first afterwards. Pure."""

import math

WAIT_FLOOR_S, WAIT_CAP_S = 1.0, 120.0
"""What a `Retry-After` is held to: Atlas does send 0, and a huge one outlasts the run. No bucket
is waited for longer at a time, either."""
STEPS_S = (10.0, 20.0, 40.0)
"""After a second 429 and the next ones, without a success between.

Source: https://www.mongodb.com/docs/atlas/api/api-rate-limit (April 10, 2026).
"""
LOST_AFTER_S = 120.0
"""A request that was never settled is counted as spent and done after so long."""


class Penalty:
    """Nothing goes until `until_s`; then one request, and on its success the rest."""

    __slots__ = ("_began_s", "_probe_s", "_strikes", "pending", "until_s")

    def __init__(self) -> None:
        self.pending = False
        self.until_s = -math.inf
        self._began_s = -math.inf
        self._probe_s = -math.inf
        self._strikes = 0

    def begin(
        self, now_s: float, retry_after_s: float | None, *, jitter: float, sent_s: float
    ) -> None:
        """Start or lengthen the wait.

        Requests that were in flight when it began are refused with the first one: they are
        one event, and only a later one counts as a second.
        """
        if not self.pending or sent_s >= self._began_s:
            self._strikes += 1
            self._began_s = now_s
        wait_s = retry_after_s if retry_after_s is not None else 0.0
        if self._strikes > 1:
            step_s = STEPS_S[min(self._strikes - 2, len(STEPS_S) - 1)]
            wait_s = max(wait_s, step_s * (1 + jitter / 4))
        # `max` with the floor first, so that a NaN becomes the floor.
        wait_s = min(max(WAIT_FLOOR_S, wait_s), WAIT_CAP_S)
        self.until_s = max(self.until_s, now_s + wait_s)
        self.pending = True
        self._probe_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Give 0.0 when the probe may go; only asked while `pending`."""
        if now_s < self.until_s:
            return self.until_s - now_s
        out_s = now_s - self._probe_s
        # While the probe is out one asks again, now and then; its answer wakes who waits.
        return 0.0 if out_s > LOST_AFTER_S else min(max(out_s, 0.05), 1.0)

    def probe(self, now_s: float) -> None:
        """Note that the probe has gone."""
        self._probe_s = now_s

    def success(self, sent_s: float) -> bool:
        """End it if the request was sent after it began; tell whether that was so."""
        if not self.pending or sent_s < self._began_s:
            return False
        self.pending = False
        self._strikes = 0
        return True

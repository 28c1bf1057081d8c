"""How fast other programs spend from a bucket that we spend from, too. Pure."""


class Others:
    """Counts what the bucket lost beyond our own requests, while we were looking.

    Attributes:
        per_s: Tokens a second; never above half of what the bucket gets, for that much is
            ours: two clients that yield to each other must not both stand still.
        taken: What they took since the last tick; ours without an answer may be in it.
    """

    __slots__ = ("_fair_per_s", "_lost", "_period_s", "_shortest_s", "_watched_s", "per_s", "taken")

    def __init__(self, refill: float, period_s: float) -> None:
        self._lost = 0.0
        self._watched_s = 0.0
        self.per_s = self.taken = 0.0
        self.refilled_by(refill, period_s)

    def refilled_by(self, refill: float, period_s: float) -> None:
        """Take other figures of the bucket."""
        self._period_s = period_s
        self._fair_per_s = refill / period_s / 2
        self.per_s = min(self.per_s, self._fair_per_s)
        self._shortest_s = period_s / 32  # below it one foreign request looks like a flood

    def saw(self, lost: float, watched_s: float, out: int) -> None:
        """Add what one answer showed.

        Args:
            lost: By so much the counter fell beyond the one request answered; negative
                where answers overtook each other, so that the sum comes out right.
            watched_s: Since the answer before.
            out: Our requests without an answer; the counter may hold them already.
        """
        self._lost += lost
        self.taken += lost
        self._watched_s += watched_s
        if self._lost <= 1.0 and not self.per_s:  # nobody there, as almost always
            return
        watched_s = max(self._watched_s, self._shortest_s)
        # One token is what a lost answer looks like. Between the bounds nothing new is known.
        least = max(self._lost - out - 1.0, 0.0) / watched_s
        most = max(self._lost - 1.0, 0.0) / watched_s
        self.per_s = min(max(self.per_s, least), most, self._fair_per_s)

    def ahead(self, ahead_s: float, out: int) -> float:
        """Give how much they will still take in so many seconds, of their usual share."""
        share = self.per_s * self._period_s - max(0.0, self.taken - out)
        return max(0.0, min(self.per_s * ahead_s, share))

    def ticked(self) -> None:
        """Let the past count for half from now on."""
        self._lost = max(0.0, self._lost) / 2
        self._watched_s /= 2
        self.taken = 0.0

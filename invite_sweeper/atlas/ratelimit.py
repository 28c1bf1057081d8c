"""Waits for Atlas's token buckets, so that a 429 is almost never sent back to us.

One `Bucket` (pure) an endpoint set and scope; this module adds the clock, the queues and
the ceiling over all requests.

Each request takes its token first (`reserve` or `acquire`) and is settled once afterwards,
whatever became of it: by `throttled` when the answer was a 429, by `learn` in any other case
(no answer at all: `learn(key, limit=None, remaining=None)`). What answers tell is taken in when
somebody asks next, with the time at which it came: several at once cost less.
"""

import random as _random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from invite_sweeper.atlas.buckets import BucketKey, Buckets
from invite_sweeper.atlas.limits import Limit, RateLimit
from invite_sweeper.atlas.turns import Ceiling, Turns

_MOST_HEARD = 256


class _Heard(NamedTuple):
    key: BucketKey
    limit: int | None
    remaining: int | None
    sent_s: float | None
    now_s: float


class RateLimiter:
    """The buckets of one run, and the ceiling over all its requests.

    Attributes:
        blind: No answer had a RateLimit header so far, and `GET /rateLimits` told nothing:
            the documented figures and the 429s are all there is.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        *,
        reserve: float = 0.1,
        max_requests_per_second: float | None = None,
        random: Callable[[], float] = _random.random,
        shared_by: int = 1,
    ) -> None:
        """Start with every bucket full.

        Args:
            clock: Monotonic seconds.
            sleep: Waits for so many seconds; `asyncio.sleep` outside tests.
            reserve: The share of each bucket's capacity left to other programs.
            max_requests_per_second: The ceiling over all buckets; None for none.
            random: From 0 up to 1; jitter, so that two clients do not come back together.
            shared_by: So many shards run at once: each takes its part of the buckets that
                count a user or an organization. A project's bucket is one shard's alone.
        """
        self._clock = clock
        self._random = random
        self._buckets = Buckets(reserve, shared_by)
        self._heard: list[_Heard] = []
        self._turns = Turns(clock, sleep, self.reserve)
        self._ceiling = Ceiling(clock, sleep, max_requests_per_second)
        self.blind = True

    def reserve(self, key: BucketKey) -> float:
        """Take a token and give 0.0, or take nothing and give the seconds to wait."""
        if self._heard:
            self._take_in()
        now_s = self._clock()
        return self._buckets.open(key, now_s).try_take(now_s)

    async def acquire(self, key: BucketKey) -> None:
        """Take a token as soon as there is one; first come, first served for each bucket.

        Cancelled while it waits, it has taken nothing. Those who `reserve` meanwhile do not
        queue: they may come first.
        """
        await self._turns.take(key)

    @property
    def paced(self) -> bool:
        """Whether there is a ceiling over all requests."""
        return self._ceiling.gap_s > 0.0

    async def ceiling(self) -> None:
        """Wait for this request's turn under `max_requests_per_second`, evenly spaced."""
        await self._ceiling.take()

    def learn(
        self,
        key: BucketKey,
        *,
        limit: int | None,
        remaining: int | None,
        sent_s: float | None = None,
    ) -> None:
        """Settle one request that was no 429, and take the headers' word for the level.

        Args:
            key: The bucket that the request's token came from.
            limit: `RateLimit-Limit`; None where it is missing or no number.
            remaining: `RateLimit-Remaining`, likewise.
            sent_s: When the request went out, on the limiter's clock; where it is None,
                answers are taken to come in the order of their tokens.
        """
        if remaining is not None:
            self.blind = False
        self._heard.append(_Heard(key, limit, remaining, sent_s, self._clock()))
        if self._turns.anybody or len(self._heard) >= _MOST_HEARD:
            self._take_in()

    def _take_in(self) -> None:
        """Settle the requests of which `learn` was told, in the order of their answers."""
        heard, self._heard = self._heard, []
        for key, limit, remaining, sent_s, now_s in heard:
            bucket = self._buckets.open(key, now_s)
            part: float | None = limit
            rest: float | None = remaining
            if (parts := self._buckets.parts(key.endpoint_set)) > 1:
                part = limit / parts if limit is not None else None
                rest = remaining / parts if remaining is not None else None
            bucket.answered(now_s, limit=part, remaining=rest, sent_s=sent_s)
            if self._turns.anybody:
                self._turns.tell(key, bucket.wait_s, now_s)

    def throttled(
        self, key: BucketKey, retry_after_s: float | None, *, sent_s: float | None = None
    ) -> None:
        """Settle one request that was a 429: its bucket waits, no other does."""
        self._take_in()
        now_s = self._clock()
        bucket = self._buckets.open(key, now_s)
        bucket.refused(now_s, retry_after_s, jitter=self._random(), sent_s=sent_s)

    def learn_refill(self, key: BucketKey, capacity: int, refill: int, period_s: float) -> None:
        """Take a 429's own words for its bucket (`parameters[2:5]` of the body)."""
        self._take_in()
        now_s = self._clock()
        bucket = self._buckets.open(key, now_s)
        limit = Limit(capacity, refill, period_s)
        if limit.sane:
            bucket.relearn(limit.part(self._buckets.parts(key.endpoint_set)), now_s)
            self._turns.tell(key, bucket.wait_s, now_s)

    def seed(self, rate_limits: Iterable[RateLimit]) -> None:
        """Take the answer of `GET /rateLimits` for every bucket of those endpoint sets."""
        self._take_in()
        now_s = self._clock()
        for rate_limit in rate_limits:
            if self._buckets.seed(rate_limit, now_s):
                self.blind = False

    def unfamiliar(self, key: BucketKey) -> bool:
        """Tell whether a header named a capacity that no source gives a refill for.

        Then how fast the bucket is refilled has to be found out by looking. It is worth one
        `GET /rateLimits` for its scope, handed to `learn_refill`.
        """
        self._take_in()
        bucket = self._buckets.get(key)
        return bucket is not None and bucket.unfamiliar

    def expect(self, counts: Mapping[BucketKey, int]) -> None:
        """Say how many requests are still to come, so that none is held back for nothing.

        A bucket's last tokens are otherwise spent one by one, to see when more will come.
        """
        self._take_in()
        now_s = self._clock()
        for key, count in counts.items():
            bucket = self._buckets.look(key, now_s)
            if bucket.expect(count):
                self._buckets.keep(key, bucket)

    def estimate_s(self, counts: Mapping[BucketKey, int]) -> float:
        """Give the seconds that the buckets allow for so many requests each, from now."""
        self._take_in()
        now_s = self._clock()
        slowest_s = sum(counts.values()) * self._ceiling.gap_s
        for key, count in counts.items():
            slowest_s = max(slowest_s, self._buckets.look(key, now_s).estimate_s(now_s, count))
        return slowest_s

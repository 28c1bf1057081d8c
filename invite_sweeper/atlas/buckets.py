"""All buckets of a run, each opened when it is first drawn from. Pure: no clock of its own."""

from typing import NamedTuple

from invite_sweeper.atlas.bucket import Bucket
from invite_sweeper.atlas.limits import Limit, RateLimit, limit_of, ours

FORGET_ABOVE = 1024
"""So many buckets are kept before those that are as good as full are forgotten."""


class BucketKey(NamedTuple):
    """Which bucket: an endpoint set (the constants of `limits`) and whose requests it counts.

    A named tuple, as it is hashed for every request and that is the fastest there is.

    Attributes:
        scope_id: The project's or organization's id, or the credential's name.
    """

    endpoint_set: str
    scope_id: str


class Buckets:
    """The buckets that were drawn from, by key.

    Args:
        reserve: The share of each bucket's capacity left to other programs.
        shared_by: So many shards run at once; see `parts`.
    """

    def __init__(self, reserve: float, shared_by: int) -> None:
        self._reserve = reserve
        self._shared_by = shared_by
        self._open: dict[BucketKey, Bucket] = {}
        self._seeded: dict[str, Limit] = {}
        self._forget_above = FORGET_ABOVE

    def __len__(self) -> int:
        """Say how many are open."""
        return len(self._open)

    def get(self, key: BucketKey) -> Bucket | None:
        """Give a bucket that is open."""
        return self._open.get(key)

    def open(self, key: BucketKey, now_s: float) -> Bucket:
        """Give a bucket; one that nobody has drawn from is full."""
        bucket = self._open.get(key)
        if bucket is None:
            if len(self._open) >= self._forget_above:
                self._open = {k: b for k, b in self._open.items() if not b.idle(now_s)}
                self._forget_above = max(FORGET_ABOVE, 2 * len(self._open))
            bucket = self._open[key] = self._fresh(key, now_s)
        return bucket

    def look(self, key: BucketKey, now_s: float) -> Bucket:
        """Give a bucket to look at; one that nobody has drawn from is not kept."""
        return self._open.get(key) or self._fresh(key, now_s)

    def keep(self, key: BucketKey, bucket: Bucket) -> None:
        """Keep what `look` gave, as it has something to remember now."""
        self._open[key] = bucket

    def seed(self, rate_limit: RateLimit, now_s: float) -> bool:
        """Take an entry of `GET /rateLimits` for all buckets of its endpoint set.

        Returns:
            Whether it is one of ours, with figures that one can wait by.
        """
        endpoint_set = ours(rate_limit)
        if endpoint_set is None or not rate_limit.limit.sane:
            return False
        self._seeded[endpoint_set] = rate_limit.limit
        for key, bucket in self._open.items():
            if key.endpoint_set == endpoint_set:
                bucket.relearn(rate_limit.limit.part(self.parts(endpoint_set)), now_s)
        return True

    def parts(self, endpoint_set: str) -> int:
        """Into how many parts a bucket is divided: a project's is one shard's alone."""
        alone = self._shared_by == 1 or endpoint_set.endswith("_group")
        return 1 if alone else self._shared_by

    def _fresh(self, key: BucketKey, now_s: float) -> Bucket:
        limit = self._seeded.get(key.endpoint_set) or limit_of(key.endpoint_set)
        return Bucket(limit.part(self.parts(key.endpoint_set)), self._reserve, now_s)

"""Which bucket a request draws from, and what a 429 says."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Literal, TypeAlias

from invite_sweeper.simulator.answers import Answer, Rate, error
from invite_sweeper.simulator.buckets import Bucket, Limits
from invite_sweeper.simulator.endpoint_sets import EndpointSet

RetryAfter: TypeAlias = Literal["seconds", "missing", "zero", "huge", "date"]
_HUGE_S = 86_400


class Throttling:
    """All buckets, made when they are first drawn from.

    Attributes:
        headers: Whether answers carry `RateLimit-*` headers; the documentation says they may not.
        retry_after: What the `Retry-After` header of a 429 is.
        enforced: Whether an empty bucket refuses at all.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.headers = True
        self.retry_after: RetryAfter = "seconds"
        self.enforced = True
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._raised: dict[tuple[str, str], tuple[Limits, float | None]] = {}

    def set_bucket(
        self,
        endpoint_set: EndpointSet,
        scope_id: str | None,
        limits: Limits,
        anchor_s: float | None,
    ) -> None:
        """Give other figures to one scope, or with None to all of that set; they start full."""
        self._raised[endpoint_set.id, scope_id or ""] = (limits, anchor_s)
        for key in [key for key in self._buckets if key[0] == endpoint_set.id]:
            if scope_id is None or key[1] == scope_id:
                del self._buckets[key]

    def limits(self, endpoint_set: EndpointSet, scope_id: str) -> Limits:
        """The figures that hold for one scope."""
        return self._figures(endpoint_set, scope_id)[0]

    def bucket(self, endpoint_set: EndpointSet, scope_id: str) -> Bucket:
        """The bucket itself; its steps are counted from the first time it is asked for."""
        bucket = self._buckets.get((endpoint_set.id, scope_id))
        if bucket is None:
            limits, anchor_s = self._figures(endpoint_set, scope_id)
            bucket = Bucket(limits, self._monotonic() if anchor_s is None else anchor_s)
            self._buckets[endpoint_set.id, scope_id] = bucket
        return bucket

    def spend(self, endpoint_set: EndpointSet, scope_id: str, tokens: int) -> int:
        """Spend as another client would; gives how many tokens there were to spend."""
        return self.bucket(endpoint_set, scope_id).take(self._monotonic(), tokens)

    def take(self, endpoint_set: EndpointSet, scope_id: str) -> tuple[bool, Rate | None]:
        """One request: whether it may pass, and what the headers say."""
        bucket = self.bucket(endpoint_set, scope_id)
        allowed = bucket.take(self._monotonic()) == 1 or not self.enforced
        return allowed, Rate(bucket.limits.capacity, bucket.level) if self.headers else None

    def refusal(self, endpoint_set: EndpointSet, scope_id: str, path: str, now: datetime) -> Answer:
        """The 429, in the words of the documentation.

        Source: rate limit documentation and a log of 2026-09-29, in the fact sheet, section 4.
        """
        bucket = self.bucket(endpoint_set, scope_id)
        wait_s = self._told_wait_s(bucket)
        capacity, refill, period_s = bucket.limits
        resource = path.lstrip("/")
        answer = error(
            429,
            "RATE_LIMITED_TOKEN_BUCKET",
            f"Rate limit exceeded for {resource}. Please retry after {wait_s} seconds."
            f" Request capacity: {capacity}. Refill rate: {refill} per {period_s:g} seconds.",
            *(resource, wait_s, capacity, refill, round(period_s)),
        )
        extra = answer.extra + self._retry_after(wait_s, now)
        return Answer(answer.status, answer.body, answer.media, answer.style, extra)

    def _told_wait_s(self, bucket: Bucket) -> int:
        if self.retry_after == "zero":
            return 0
        return _HUGE_S if self.retry_after == "huge" else bucket.wait_s(self._monotonic())

    def _retry_after(self, wait_s: int, now: datetime) -> tuple[tuple[str, str], ...]:
        if self.retry_after == "missing":
            return ()
        if self.retry_after == "date":
            then = now + timedelta(seconds=wait_s)
            return (("Retry-After", format_datetime(then, usegmt=True)),)
        return (("Retry-After", str(wait_s)),)

    def _figures(self, endpoint_set: EndpointSet, scope_id: str) -> tuple[Limits, float | None]:
        own = self._raised.get((endpoint_set.id, scope_id))
        common = self._raised.get((endpoint_set.id, ""))
        documented = Limits(endpoint_set.capacity, endpoint_set.refill, endpoint_set.period_s)
        return own or common or (documented, None)

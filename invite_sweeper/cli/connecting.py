"""The connection as a run needs it: Atlas, and what its limits allow."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from functools import partial

from yarl import URL

from invite_sweeper.atlas import (
    Atlas,
    AtlasDeleter,
    AtlasReader,
    BucketKey,
    Credentials,
    RateLimiter,
    RetryPolicy,
    connect,
)
from invite_sweeper.atlas.limits import ours
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.atlas.transport import Log
from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Place, Source
from invite_sweeper.policy import Execution

_LIMITS_WITHIN_S = 3.0
_STRANGE_BUCKETS = 100
"""So many buckets of an unusual size are asked about at most; the others are found out by use."""


class Connected:
    """Atlas with its buckets; what `job.Connection` asks for."""

    def __init__(self, atlas: Atlas, limiter: RateLimiter) -> None:
        self.atlas = atlas
        self.limiter = limiter

    @property
    def reader(self) -> AtlasReader:
        """The part that reads."""
        return self.atlas.reader

    def deleter(self, sources: Iterable[Source]) -> AtlasDeleter:
        """The part that deletes, from these lists alone."""
        return self.atlas.deleter(sources)

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's."""
        return self.atlas.clock_skew_s

    @property
    def heard(self) -> bool:
        """Whether Atlas has answered anything."""
        return self.atlas.observed.heard

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the answers left open, for a person."""
        return tuple(self.atlas.observed.remarks)

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas stops serving what is in use."""
        return self.atlas.sunset

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The same for each source that Atlas names a day for."""
        return self.atlas.sunsets

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against what is in use."""
        return self.atlas.deprecation

    async def learn_limits(self) -> None:
        """Ask Atlas for its limits; where it does not tell them soon, the documented ones hold."""
        with suppress(TimeoutError, RunError):
            async with asyncio.timeout(_LIMITS_WITHIN_S):
                self.limiter.seed(await self.atlas.reader.rate_limits())

    async def expect(self, deletions: Mapping[Place, int]) -> None:
        """Prepare the buckets for what is to come: those of an unusual size are asked about."""
        counts = _turns(deletions)
        strange = [key for key in counts if self.limiter.unfamiliar(key)]
        for key in strange[:_STRANGE_BUCKETS]:
            with suppress(TimeoutError, RunError):
                async with asyncio.timeout(_LIMITS_WITHIN_S):
                    await self._ask_about(key)
        self.limiter.expect(counts)

    async def _ask_about(self, key: BucketKey) -> None:
        of_project = key.endpoint_set.endswith("_group")
        found = await self.atlas.reader.rate_limits(
            project_id=key.scope_id if of_project else None,
            org_id=None if of_project else key.scope_id,
        )
        for each in found:
            if ours(each) == key.endpoint_set:
                limit = each.limit
                self.limiter.learn_refill(
                    key, round(limit.capacity), round(limit.refill), limit.period_s
                )

    def estimate_s(self, deletions: Mapping[Place, int]) -> float:
        """The seconds that the buckets ask for so many deletions a list."""
        return self.limiter.estimate_s(_turns(deletions))


def _turns(deletions: Mapping[Place, int]) -> Counter[BucketKey]:
    """Give how many requests draw from each bucket."""
    counts: Counter[BucketKey] = Counter()
    for (project, source), deleted in deletions.items():
        for key in SOURCES[source].tokens_per_deletion(project.id, project.org_id):
            counts[key] += deleted
    return counts


@asynccontextmanager
async def connected(
    base_url: URL,
    credentials: Credentials,
    execution: Execution,
    *,
    deadline_s: float,
    shards: int,
    log: Log,
) -> AsyncIterator[Connected]:
    """Connect for one run.

    Args:
        deadline_s: On the monotonic clock; nothing waits beyond it.
        shards: So many runs share the buckets of the credentials.
    """
    limiter = RateLimiter(
        time.monotonic,
        asyncio.sleep,
        reserve=execution.reserve,
        max_requests_per_second=execution.max_requests_per_second,
        shared_by=shards,
    )
    async with connect(
        base_url,
        credentials,
        concurrency=execution.concurrency,
        retry_policy=RetryPolicy(execution.attempts, deadline_s),
        limiter=limiter,
        clock=partial(datetime.now, UTC),
        log=log,
    ) as atlas:
        yield Connected(atlas, limiter)

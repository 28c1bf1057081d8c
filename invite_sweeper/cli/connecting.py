"""The connection as a run needs it: Atlas, and what its limits allow."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial

from yarl import URL

from invite_sweeper.atlas import (
    Atlas,
    AtlasDeleter,
    AtlasReader,
    BucketKey,
    ClientOptions,
    Credentials,
    RateLimiter,
    connect,
)
from invite_sweeper.atlas.limits import PROJECTS_GROUP
from invite_sweeper.atlas.transport import Log
from invite_sweeper.policy import Execution


class Connected:
    """Atlas with its buckets; what `job.Connection` asks for."""

    def __init__(self, atlas: Atlas, limiter: RateLimiter) -> None:
        self.atlas = atlas
        self.limiter = limiter

    @property
    def reader(self) -> AtlasReader:
        """The part that reads."""
        return self.atlas.reader

    def deleter(self) -> AtlasDeleter:
        """The part that deletes."""
        return self.atlas.deleter()

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's."""
        return self.atlas.clock_skew_s

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas stops serving what is in use."""
        return self.atlas.sunset

    def estimate_s(self, deletions: Mapping[str, int]) -> float:
        """The seconds that the buckets ask for so many deletions a project."""
        counts = {BucketKey(PROJECTS_GROUP, project): n for project, n in deletions.items()}
        return self.limiter.estimate_s(counts)


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
    options = ClientOptions(
        concurrency=execution.concurrency, attempts=execution.attempts, deadline_s=deadline_s
    )
    async with connect(
        base_url,
        credentials,
        options=options,
        limiter=limiter,
        clock=partial(datetime.now, UTC),
        log=log,
    ) as atlas:
        yield Connected(atlas, limiter)

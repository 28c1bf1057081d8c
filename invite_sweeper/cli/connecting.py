"""Connects a command to Atlas: the policy's limits, the process's clocks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from structlog.typing import FilteringBoundLogger
from yarl import URL

from invite_sweeper.atlas import AtlasClient, Credentials, RateLimiter, RetryPolicy, connect
from invite_sweeper.policy import Execution


@asynccontextmanager
async def connected(
    base_url: URL,
    credentials: Credentials,
    execution: Execution,
    *,
    deadline_s: float,
    shards: int,
    log: FilteringBoundLogger,
) -> AsyncIterator[AtlasClient]:
    """Connect for one run.

    Args:
        deadline_s: On the monotonic clock; nothing waits beyond it.
        shards: The number of runs that share the buckets of the credentials.
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
        yield atlas

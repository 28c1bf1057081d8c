"""Client of the MongoDB Atlas Administration API: `connect` opens it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property

import aiohttp
from structlog.typing import FilteringBoundLogger
from yarl import URL

from invite_sweeper import clock as run_clock
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.credentials import Credentials
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.http import TIMEOUT, USER_AGENT, HttpSession, find_proxy, open_connector
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.models import Source
from invite_sweeper.policy import Execution


class AtlasClient(Client):
    """The client of one run. Code that asks it for no deleter or inviter can only read."""

    @cached_property
    def reader(self) -> AtlasReader:
        """Reads projects, invitations and users."""
        return AtlasReader(self)

    def deleter(self, sources: Iterable[Source]) -> AtlasDeleter:
        """Return a deleter for these lists only. A dry run never calls this."""
        return AtlasDeleter(self, sources)

    def inviter(self) -> AtlasInviter:
        """Return an inviter. Only `restore` calls this."""
        return AtlasInviter(self)


def open_limiter(execution: Execution) -> RateLimiter:
    """Return the rate limits of a run, which all its clients share."""
    return RateLimiter(
        run_clock.seconds,
        asyncio.sleep,
        reserve=execution.reserve,
        max_requests_per_second=execution.max_requests_per_second,
    )


@asynccontextmanager
async def connect(
    base_url: URL,
    credentials: Credentials,
    execution: Execution,
    *,
    clock: Callable[[], datetime],
    log: FilteringBoundLogger,
    retry_until_s: float = math.inf,
    answer_until_s: float = math.inf,
    read_again: Callable[[], Credentials] | None = None,
    halt: Callable[[str], object] | None = None,
    connector: aiohttp.BaseConnector | None = None,
    limiter: RateLimiter | None = None,
) -> AsyncIterator[AtlasClient]:
    """Open a client; nothing is sent before it is used.

    On exit, access tokens that were fetched are revoked.

    Args:
        clock: Current time in UTC; compared with Atlas's `Date` header.
        log: Each retry is logged at debug level, a long wait without a response at info level.
        retry_until_s: Nothing is retried after it, on the limiter's clock.
        answer_until_s: The same until there was a first response.
        read_again: Reads the credentials again after Atlas refused them.
        halt: Called with the reason when nothing more may be sent: the clock has moved.
        connector: Connections that clients share; stays open. None for some of its own.
        limiter: That of all clients of a run. None for one of its own, with the limits of the
            policy.
    """
    proxy, proxy_headers = find_proxy(base_url)
    async with aiohttp.ClientSession(
        connector=connector or open_connector(),
        connector_owner=connector is None,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        timeout=TIMEOUT,
    ) as session:
        client = AtlasClient(
            HttpSession(session, base_url, proxy_headers),
            credentials,
            limiter=limiter or open_limiter(execution),
            execution=execution,
            retry_until_s=retry_until_s,
            answer_until_s=answer_until_s,
            read_again=read_again,
            halt=halt,
            clock=clock,
            log=log,
        )
        try:
            yield client
        finally:
            await client.close()

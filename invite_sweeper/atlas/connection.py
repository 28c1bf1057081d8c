"""The connection of one set of credentials to Atlas: its client, reader, deleter and inviter."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime
from ssl import SSLContext
from typing import Final, TypeVar

import aiohttp
from structlog.typing import FilteringBoundLogger
from yarl import URL

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.credentials import Credentials
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.endpoints import SOURCES
from invite_sweeper.atlas.http import (
    MAX_BODY_BYTES,
    TIMEOUT,
    USER_AGENT,
    DaemonResolver,
    HttpSession,
    NoResendClientResponse,
    find_proxy,
)
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.errors import RunError
from invite_sweeper.models import RequestCounters, Source
from invite_sweeper.policy import Execution

T = TypeVar("T")
_OPTIONAL_TIMEOUT_S: Final = 3.0


class RateLimitedAtlasClient:
    """The client of one run.

    Attributes:
        client: Sends each request.
        reader: Reads projects, invitations and users.
        actor: The client id or public key of the credentials, or `token`.
        limiter: The rate limits of the credentials.
        counters: Requests sent so far.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reader = AtlasReader(client)
        self.actor = client.actor
        self.limiter = client.limiter
        self.counters = client.counters

    def deleter(self, sources: Iterable[Source]) -> AtlasDeleter:
        """Return a deleter for these lists only. A dry run never calls this."""
        return AtlasDeleter(self.client, sources)

    def inviter(self) -> AtlasInviter:
        """Return an inviter. Only `restore` calls this."""
        return AtlasInviter(self.client)

    @property
    def clock_skew_s(self) -> float | None:
        """Local clock minus Atlas's at the first 2xx response; None before that."""
        return self.client.server.clock_skew_s

    def sunset(self, sources: Collection[Source]) -> date | None:
        """Return the day from which Atlas may remove an endpoint that these sources need."""
        others = {api.list for source, api in SOURCES.items() if source not in sources}
        days = self.client.server.sunsets.items()
        return min((day for endpoint, day in days if endpoint not in others), default=None)

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The day from which Atlas may remove a list, for each source with an announcement."""
        announced = self.client.server.sunsets
        days = (
            (source, [announced[one] for one in (api.list, api.delete) if one in announced])
            for source, api in SOURCES.items()
        )
        return {source: min(named) for source, named in days if named}

    async def organization_names(self) -> Mapping[str, str]:
        """Return the names of the visible organizations, by id; empty if Atlas returns none.

        A role without access to the list and a slow response are not errors: outputs then show
        the ids alone.
        """
        return await _optional(self.reader.organizations()) or {}

    async def secret_expiries(self, org_id: str) -> tuple[datetime, ...]:
        """Return when the secrets of the service account expire, the first one first.

        Empty for other credentials, a role that may not read it and a slow response.
        """
        found = await _optional(self.reader.secret_expiries(org_id))
        return found if isinstance(found, tuple) else ()


async def _optional(reading: Awaitable[T]) -> T | None:
    """Return what is read, or None if that fails or takes long."""
    with suppress(TimeoutError, RunError):
        async with asyncio.timeout(_OPTIONAL_TIMEOUT_S):
            return await reading
    return None


def open_connector(ssl_context: SSLContext | None = None) -> aiohttp.TCPConnector:
    """Return connections to Atlas without a limit: the client limits the requests."""
    return aiohttp.TCPConnector(limit=0, ssl=ssl_context or True, resolver=DaemonResolver())


@asynccontextmanager
async def connect(
    base_url: URL,
    credentials: Credentials,
    execution: Execution,
    *,
    clock: Callable[[], datetime],
    log: FilteringBoundLogger,
    retry_until_s: float = math.inf,
    connector: aiohttp.BaseConnector | None = None,
    limiter: RateLimiter | None = None,
    http_timeout: aiohttp.ClientTimeout = TIMEOUT,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> AsyncIterator[RateLimitedAtlasClient]:
    """Open a client; nothing is sent before it is used.

    On exit, access tokens that were fetched are revoked.

    Args:
        base_url: As `parse_base_url` returns it.
        credentials: As `read_credentials` returns them.
        execution: The policy's limits.
        clock: Current time in UTC; compared with Atlas's `Date` header.
        log: Each retry is logged at debug level, a long wait without a response at info level.
        retry_until_s: Nothing is retried after it, on the limiter's clock.
        connector: Connections that clients share; stays open. None for some of its own.
        limiter: By default, one with the limits of the policy.
        http_timeout: Applies to each attempt.
        max_body_bytes: Longer responses, decompressed, are errors.
    """
    proxy, proxy_headers = find_proxy(base_url)
    async with aiohttp.ClientSession(
        connector=connector or open_connector(),
        connector_owner=connector is None,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        response_class=NoResendClientResponse,
        timeout=http_timeout,
    ) as session:
        client = Client(
            HttpSession(session, base_url, max_body_bytes, RequestCounters(), proxy_headers),
            credentials,
            limiter=limiter
            or RateLimiter(
                time.monotonic,
                asyncio.sleep,
                reserve=execution.reserve,
                max_requests_per_second=execution.max_requests_per_second,
            ),
            concurrency=execution.concurrency,
            attempts=execution.attempts,
            retry_until_s=retry_until_s,
            clock=clock,
            log=log,
        )
        try:
            yield RateLimitedAtlasClient(client)
        finally:
            await client.close()

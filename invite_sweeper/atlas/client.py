"""The client: opens one connection to Atlas for a run and closes it at its end."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from ssl import SSLContext
from typing import Final

import aiohttp
from yarl import URL

from invite_sweeper.atlas.authentication import (
    Authentication,
    BearerAuthentication,
    DigestAuthentication,
)
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.identity import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.line import USER_AGENT, HttpSession
from invite_sweeper.atlas.observed import Observed
from invite_sweeper.atlas.proxy import proxy_for
from invite_sweeper.atlas.ratelimit import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.atlas.response import Response
from invite_sweeper.atlas.retry import RetryPolicy
from invite_sweeper.atlas.roll import AtlasRoll
from invite_sweeper.atlas.slots import ConnectionSlot, RequestCounters, SlotPool
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.atlas.tokens import ServiceAccountAuthentication
from invite_sweeper.atlas.transport import Log, Transport
from invite_sweeper.inventory import Source

TIMEOUT: Final = aiohttp.ClientTimeout(total=120.0, connect=10.0)
"""Of one attempt. Real responses have taken 50 s and more; `connect` includes name and TLS."""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of one response, unpacked."""


class Atlas:
    """One run's connection.

    Attributes:
        reader: Reads.
        counters: What was sent so far.
        observed: What the answers told on the side.
    """

    def __init__(
        self, transport: Transport, actor: str, counters: RequestCounters, seen: Observed
    ) -> None:
        self.reader = AtlasReader(transport, actor)
        self.counters = counters
        self._transport = transport
        self.observed = seen

    def deleter(self, sources: Iterable[Source]) -> AtlasDeleter:
        """Make what can delete from these lists alone. A dry run never asks for it."""
        return AtlasDeleter(self._transport, sources)

    def inviter(self) -> AtlasInviter:
        """Make what can invite. `restore` alone asks for it."""
        return AtlasInviter(self._transport)

    def roll(self) -> AtlasRoll:
        """Make what reads who is there already."""
        return AtlasRoll(self._transport, self.reader)

    @property
    def clock_skew_s(self) -> float | None:
        """Our clock minus Atlas's, by its first good answer; None before that."""
        return self.observed.clock_skew_s

    @property
    def sunset(self) -> date | None:
        """The day from which Atlas may drop what is in use here; None where it names none."""
        return self.observed.sunset

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The day from which Atlas may drop a list, by source; those without one are left out."""
        told = self.observed.sunsets
        days = (
            (source, [told[each] for each in (api.list, api.delete) if each in told])
            for source, api in SOURCES.items()
        )
        return {source: min(named) for source, named in days if named}

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against it; None where it names none."""
        return self.observed.deprecation


@asynccontextmanager
async def connect(  # noqa: PLR0913 - the seven of a run, and three with defaults
    base_url: URL,
    credentials: Credentials,
    *,
    concurrency: int,
    retry_policy: RetryPolicy,
    limiter: RateLimiter,
    clock: Callable[[], datetime],
    log: Log,
    http_timeout: aiohttp.ClientTimeout = TIMEOUT,
    max_body_bytes: int = MAX_BODY_BYTES,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[Atlas]:
    """Open the connection for a run. Nothing is sent before it is used.

    At its end, however it comes, a token that was fetched is revoked.

    Args:
        base_url: As `parse_base_url` reads it.
        credentials: As `credentials.credentials_from` reads them.
        concurrency: Requests in flight.
        limiter: On the clock of `retry_policy.monotonic`.
        clock: Aware UTC; compared with Atlas's `Date`.
        log: Each retry is logged there, on the debug level.
        ssl_context: None for the certificate authorities of the system.
    """
    counters, observed = RequestCounters(), Observed(clock)
    proxy, proxy_headers = proxy_for(base_url)
    async with aiohttp.ClientSession(
        # `SlotPool` is the bound: a second one here could only make a request wait twice.
        connector=aiohttp.TCPConnector(limit=0, ssl=ssl_context or True),
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        response_class=Response,
        timeout=http_timeout,
    ) as session:
        http = HttpSession(session, base_url, max_body_bytes, counters, proxy_headers)
        authentication = _authentication(credentials, http, retry_policy, observed)

        def slot() -> ConnectionSlot:
            return ConnectionSlot(authentication.signer(), counters, max_body_bytes)

        transport = Transport(
            http,
            authentication,
            limiter,
            SlotPool(concurrency, slot),
            retry_policy=retry_policy,
            observed=observed,
            log=log,
        )
        try:
            yield Atlas(transport, credentials.actor, counters, observed)
        finally:
            await authentication.close()


def _authentication(
    credentials: Credentials, http: HttpSession, retry_policy: RetryPolicy, observed: Observed
) -> Authentication:
    match credentials:
        case BearerToken():
            return BearerAuthentication(credentials)
        case ApiKey():
            return DigestAuthentication(credentials)
        case _:
            return ServiceAccountAuthentication(credentials, http, retry_policy, observed)

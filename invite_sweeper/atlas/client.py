"""The way to Atlas: opens one connection for a run and closes it behind it."""

import asyncio
import random as random_module
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from invite_sweeper.atlas.retry import Persistence
from invite_sweeper.atlas.roll import AtlasRoll
from invite_sweeper.atlas.slots import ConnectionSlot, RequestCounters, SlotPool
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.atlas.tokens import ServiceAccountAuthentication
from invite_sweeper.atlas.transport import Log, Transport
from invite_sweeper.inventory import Source

_PATIENCE_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How the client goes about it.

    Attributes:
        concurrency: Requests in flight.
        attempts: Tries of a request, the first included.
        deadline_s: When to stop waiting for anything, on the clock of `monotonic`; None for
            an hour from the start.
        total_timeout_s: For one try. Real answers have been seen after 50 s and more.
        connect_timeout_s: For its name, connection and TLS together.
        max_body_bytes: Of one answer, unpacked.
        ssl_context: None for the system's authorities.
        sleep: Waits seconds.
        random: From 0 up to 1.
        monotonic: Seconds, rising; the clock that the limiter was made with.
    """

    concurrency: int = 20
    attempts: int = 5
    deadline_s: float | None = None
    total_timeout_s: float = 120.0
    connect_timeout_s: float = 10.0
    max_body_bytes: int = 64 * 1024 * 1024
    ssl_context: SSLContext | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random_module.random
    monotonic: Callable[[], float] = time.monotonic


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
async def connect(
    base_url: URL,
    credentials: Credentials,
    *,
    options: ClientOptions,
    limiter: RateLimiter,
    clock: Callable[[], datetime],
    log: Log,
) -> AsyncIterator[Atlas]:
    """Open the connection for a run. Nothing is sent before it is used.

    At its end, however it comes, a token that was fetched is revoked.

    Args:
        base_url: As `parse_base_url` reads it.
        credentials: As `credentials.credentials_from` reads them.
        limiter: On the clock of `options.monotonic`.
        clock: Aware UTC; compared with Atlas's `Date`.
        log: Told of each retry, for those who look closely.
    """
    counters, observed = RequestCounters(), Observed(clock)
    persistence = _persistence(options)
    proxy, proxy_headers = proxy_for(base_url)
    async with aiohttp.ClientSession(
        # `SlotPool` is the bound: a second one here could only make a request wait twice.
        connector=aiohttp.TCPConnector(limit=0, ssl=options.ssl_context or True),
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        response_class=Response,
        timeout=aiohttp.ClientTimeout(
            total=options.total_timeout_s, connect=options.connect_timeout_s
        ),
    ) as session:
        http = HttpSession(session, base_url, options.max_body_bytes, counters, proxy_headers)
        authentication = _authentication(credentials, http, persistence, observed)

        def slot() -> ConnectionSlot:
            return ConnectionSlot(authentication.signer(), counters, options.max_body_bytes)

        transport = Transport(
            http,
            authentication,
            limiter,
            SlotPool(options.concurrency, slot),
            persistence=persistence,
            observed=observed,
            log=log,
        )
        try:
            yield Atlas(transport, credentials.actor, counters, observed)
        finally:
            await authentication.close()


def _persistence(options: ClientOptions) -> Persistence:
    patience_s = options.monotonic() + _PATIENCE_S
    deadline_s = patience_s if options.deadline_s is None else options.deadline_s
    return Persistence(
        options.attempts, deadline_s, options.sleep, options.random, options.monotonic
    )


def _authentication(
    credentials: Credentials, http: HttpSession, persistence: Persistence, observed: Observed
) -> Authentication:
    match credentials:
        case BearerToken():
            return BearerAuthentication(credentials)
        case ApiKey():
            return DigestAuthentication(credentials)
        case _:
            return ServiceAccountAuthentication(credentials, http, persistence, observed)

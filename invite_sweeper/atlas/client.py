"""AtlasClient: connect; reader, deleter, inviter."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, timedelta
from ssl import SSLContext
from typing import Final

import aiohttp
from structlog.typing import FilteringBoundLogger
from yarl import URL

from invite_sweeper.atlas.auth import (
    Authenticator,
    BearerAuthenticator,
    DigestAuthenticator,
    ServiceAccountAuthenticator,
)
from invite_sweeper.atlas.credentials import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.http import (
    USER_AGENT,
    ConnectionSlot,
    HttpSession,
    NoResendClientResponse,
    RequestCounters,
    SlotPool,
    find_proxy,
)
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import BucketKey, endpoint_set_of
from invite_sweeper.atlas.reader import AtlasReader, MemberReader
from invite_sweeper.atlas.retry import RetryPolicy
from invite_sweeper.atlas.server_info import ServerInfo
from invite_sweeper.atlas.sources import SOURCES
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.errors import RunError
from invite_sweeper.models import ListRef, Source
from invite_sweeper.policy import Execution

# The client: opens one connection to Atlas for a run and closes it at its end.


TIMEOUT: Final = aiohttp.ClientTimeout(total=120.0, connect=10.0)
"""Of one attempt. Real responses have taken 50 s and more; `connect` includes name and TLS."""
_LIMITS_TIMEOUT_S: Final = 3.0
_MAX_UNUSUAL_BUCKETS: Final = 100
"""The number of buckets of an unusual size to ask about; the others are learnt by use."""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of one response, unpacked."""


class RateLimitedAtlasClient:
    """One run's connection.

    Attributes:
        reader: Reads.
        limiter: The buckets of the credentials.
        counters: What was sent so far.
    """

    def __init__(
        self, transport: Transport, actor: str, counters: RequestCounters, server: ServerInfo
    ) -> None:
        self.reader = AtlasReader(transport, actor)
        self.limiter = transport.limiter
        self.counters = counters
        self._transport = transport
        self._server = server

    def deleter(self, sources: Iterable[Source]) -> AtlasDeleter:
        """Return what can delete from these lists alone. A dry run never calls it."""
        return AtlasDeleter(self._transport, sources)

    def inviter(self) -> AtlasInviter:
        """Return what can invite. Only `restore` calls it."""
        return AtlasInviter(self._transport)

    def members(self) -> MemberReader:
        """Return what reads who is a member or invited already."""
        return MemberReader(self._transport, self.reader)

    @property
    def clock_skew_s(self) -> float | None:
        """Our clock minus Atlas's, by its first good response; None before that."""
        return self._server.clock_skew_s

    @property
    def has_responded(self) -> bool:
        """Whether Atlas has sent any response."""
        return self._server.has_responded

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the responses left open, as sentences for the operator."""
        return tuple(self._server.warnings)

    @property
    def sunset(self) -> date | None:
        """The day from which Atlas may drop what this run uses; None where it names none."""
        return self._server.sunset

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The day from which Atlas may drop a list, by source; those without one are left out."""
        announced = self._server.sunsets
        days = (
            (source, [announced[each] for each in (api.list, api.delete) if each in announced])
            for source, api in SOURCES.items()
        )
        return {source: min(named) for source, named in days if named}

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against it; None where it names none."""
        return self._server.deprecation

    async def fetch_limits(self) -> None:
        """Ask Atlas for its rate limits; without an answer in time the documented ones hold."""
        with suppress(TimeoutError, RunError):
            async with asyncio.timeout(_LIMITS_TIMEOUT_S):
                self.limiter.apply_advertised(await self.reader.rate_limits())

    async def prepare_for(self, deletions: Mapping[ListRef, int]) -> None:
        """Prepare the buckets for the deletions to come; ask about those of an unusual size."""
        tokens = _tokens_needed(deletions)
        unusual = [key for key in tokens if self.limiter.refill_unknown(key)]
        for key in unusual[:_MAX_UNUSUAL_BUCKETS]:
            with suppress(TimeoutError, RunError):
                async with asyncio.timeout(_LIMITS_TIMEOUT_S):
                    await self._fetch_limit(key)

    def estimate_s(self, deletions: Mapping[ListRef, int]) -> float:
        """Return the seconds that the rate limits require for the deletions of each list."""
        return self.limiter.estimate_s(_tokens_needed(deletions))

    async def _fetch_limit(self, key: BucketKey) -> None:
        of_project = key.endpoint_set.endswith("_group")
        found = await self.reader.rate_limits(
            project_id=key.scope_id if of_project else None,
            org_id=None if of_project else key.scope_id,
        )
        for each in found:
            if endpoint_set_of(each) == key.endpoint_set:
                self.limiter.set_limit(key, each.limit)


def _tokens_needed(deletions: Mapping[ListRef, int]) -> Counter[BucketKey]:
    """Return how many requests draw from each bucket."""
    counts: Counter[BucketKey] = Counter()
    for (project, source), deleted in deletions.items():
        for key in SOURCES[source].tokens_per_deletion(project.id, project.org_id):
            counts[key] += deleted
    return counts


@asynccontextmanager
async def connect(
    base_url: URL,
    credentials: Credentials,
    *,
    concurrency: int,
    retry_policy: RetryPolicy,
    limiter: RateLimiter,
    clock: Callable[[], datetime],
    log: FilteringBoundLogger,
    http_timeout: aiohttp.ClientTimeout = TIMEOUT,
    max_body_bytes: int = MAX_BODY_BYTES,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[RateLimitedAtlasClient]:
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
    counters, server = RequestCounters(), ServerInfo(clock)
    proxy, proxy_headers = find_proxy(base_url)
    async with aiohttp.ClientSession(
        # `SlotPool` is the bound: a second one here could only make a request wait twice.
        connector=aiohttp.TCPConnector(limit=0, ssl=ssl_context or True),
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        response_class=NoResendClientResponse,
        timeout=http_timeout,
    ) as session:
        http = HttpSession(session, base_url, max_body_bytes, counters, proxy_headers)
        authenticator = _authenticator(credentials, http, retry_policy, server)

        def slot() -> ConnectionSlot:
            return ConnectionSlot(authenticator.digest_middleware(), counters, max_body_bytes)

        transport = Transport(
            http,
            authenticator,
            limiter,
            SlotPool(concurrency, slot),
            retry_policy=retry_policy,
            server=server,
            log=log,
        )
        try:
            yield RateLimitedAtlasClient(transport, credentials.actor, counters, server)
        finally:
            await authenticator.close()


def _authenticator(
    credentials: Credentials, http: HttpSession, retry_policy: RetryPolicy, server: ServerInfo
) -> Authenticator:
    match credentials:
        case BearerToken():
            return BearerAuthenticator(credentials)
        case ApiKey():
            return DigestAuthenticator(credentials)
        case _:
            return ServiceAccountAuthenticator(credentials, http, retry_policy, server)


# Connects a command to Atlas: the policy's limits, the process's clocks.


@asynccontextmanager
async def connect_for_run(
    base_url: URL,
    credentials: Credentials,
    execution: Execution,
    *,
    now: datetime,
    started_s: float,
    deadline_s: float,
    shards: int,
    log: FilteringBoundLogger,
) -> AsyncIterator[RateLimitedAtlasClient]:
    """Connect for one run.

    Args:
        now: The instant from which the run counts ages. Atlas's `Date` is compared with it and
            the time since, so that a clock set meanwhile cannot hide that `now` was wrong.
        started_s: `now` on the monotonic clock.
        deadline_s: On the monotonic clock; nothing waits beyond it.
        shards: The number of runs that share the buckets of the credentials.
    """
    limiter = RateLimiter(
        time.monotonic,
        asyncio.sleep,
        reserve=execution.reserve,
        max_requests_per_second=execution.max_requests_per_second,
        shards=shards,
    )
    async with connect(
        base_url,
        credentials,
        concurrency=execution.concurrency,
        retry_policy=RetryPolicy(execution.attempts, deadline_s),
        limiter=limiter,
        clock=lambda: now + timedelta(seconds=time.monotonic() - started_s),
        log=log,
    ) as atlas:
        yield atlas

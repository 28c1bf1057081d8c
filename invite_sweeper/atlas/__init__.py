"""Client of the MongoDB Atlas Administration API, over what `open_http` opens."""

import asyncio
from collections.abc import AsyncIterator, Container, Iterable
from contextlib import asynccontextmanager
from functools import cached_property

import aiohttp
from yarl import URL

from invite_sweeper import clock as run_clock
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.http import TIMEOUT, USER_AGENT, HttpSession
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.network import find_proxy, open_connector
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.models import InvitationKey, Source
from invite_sweeper.policy import Execution


class AtlasClient(Client):
    """The client of one run. Code that takes no deleter or inviter from it can only read."""

    @cached_property
    def reader(self) -> AtlasReader:
        """Reads projects, invitations and users."""
        return AtlasReader(self)

    def deleter(
        self, sources: Iterable[Source], absent: Container[InvitationKey] = ()
    ) -> AtlasDeleter:
        """Return a deleter for these lists only. A dry run never calls this.

        Args:
            absent: As in `AtlasDeleter`.
        """
        return AtlasDeleter(self, sources, absent)

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
async def open_http(
    base_url: URL, connector: aiohttp.BaseConnector | None = None
) -> AsyncIterator[HttpSession]:
    """Open what sends the requests of one client, through the proxy of the environment.

    Args:
        connector: Connections that several clients share, and that stay open. None for connections
            of its own, which are closed at the end.
    """
    proxy = find_proxy(base_url)
    async with aiohttp.ClientSession(
        connector=connector or open_connector(),
        connector_owner=connector is None,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy.url,
        timeout=TIMEOUT,
    ) as session:
        yield HttpSession(session, base_url, proxy.headers)

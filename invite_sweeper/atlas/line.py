"""The connection to Atlas: one session, one address, and what each try on it is."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.faults import CalledOff, LinkCut, TooLong, Waits, broken
from invite_sweeper.atlas.slots import Counters, Slot, read_body

_WIRE_ERRORS: Final = (aiohttp.ClientError, OSError, LinkCut, CalledOff, TooLong)


@dataclass(frozen=True, slots=True)
class Line:
    """Where all requests go out.

    Attributes:
        base_url: The only address that anything is sent to.
        proxy_headers: How the proxy knows us; None where it need not.
    """

    session: aiohttp.ClientSession
    base_url: URL
    waits: Waits
    max_body_bytes: int
    counters: Counters
    proxy_headers: Mapping[str, str] | None = None

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], slot: Slot
    ) -> Result:
        """Send one request of `operations` and read its answer. Redirects are not followed."""
        opened = self.session.request(
            method,
            URL(f"{self.base_url}{path}", encoded=True),
            headers=headers,
            middlewares=slot.middlewares,
            allow_redirects=False,
            proxy_headers=self.proxy_headers,
        )
        return await self._answer(opened, slot, reads_body=method != "DELETE")

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Result:
        """Send one form to the token endpoint; it needs no place among the others."""
        slot = Slot(None, self.counters, self.max_body_bytes)
        opened = self.session.post(
            URL(f"{self.base_url}{path}", encoded=True),
            data=form,
            headers=headers,
            middlewares=slot.middlewares,
            allow_redirects=False,
            proxy_headers=self.proxy_headers,
        )
        return await self._answer(opened, slot, reads_body=True)

    async def _answer(
        self,
        opened: AbstractAsyncContextManager[aiohttp.ClientResponse],
        slot: Slot,
        *,
        reads_body: bool,
    ) -> Result:
        try:
            async with opened as response:
                # A DELETE that was done says all by its status, even if its body breaks off.
                reads = reads_body or response.status >= 300  # noqa: PLR2004
                body = await read_body(response, self.max_body_bytes) if reads else b""
                return Answer(response.status, response.headers, body or slot.refusal)
        except _WIRE_ERRORS as error:
            return broken(error, self.base_url.host or "", self.waits)

"""The connection to Atlas: one session, one address, and what each try on it is."""

import asyncio
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.base_url import target_url
from invite_sweeper.atlas.faults import NEVER_SENT, CalledOff, LinkCut, TooLong, Waits, broken
from invite_sweeper.atlas.response import read_body
from invite_sweeper.atlas.slots import Counters, Slot

USER_AGENT: Final = (
    f"invite-sweeper/{__version__} ({platform.system().lower()}; {platform.machine()})"
)
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
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        slot: Slot,
        form: Mapping[str, str] | bytes | None = None,
    ) -> Result:
        """Send one request and read its answer. Redirects are not followed."""
        signed = slot.middlewares is not None  # then the slot notes each time it goes out
        watched = slot.watch.task is not None
        try:
            if not signed:
                slot.goes_out()
            response = await self.session.request(
                method,
                target_url(self.base_url, path),
                data=form,
                headers=headers,
                middlewares=slot.middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # what its answer says stands in its head
                proxy_headers=self.proxy_headers,
                timeout=self.waits.timeout_if_watched if watched else self.waits.timeout,
            )
            if not signed:
                slot.answered(response.status)
            try:
                # A DELETE that was done says all by its status, even if its body breaks off.
                done = method == "DELETE" and response.status < 300  # noqa: PLR2004
                body = b"" if done else await read_body(response, self.max_body_bytes)
                return Answer(response.status, response.headers, body or slot.refusal)
            finally:
                if not response.closed:  # a head without a body has freed its connection
                    response.release()
        except asyncio.CancelledError:
            if not slot.watch.was_it():
                raise
            return broken(TimeoutError(), self.base_url.host or "", self.waits)
        except _WIRE_ERRORS as error:
            if not signed and isinstance(error, NEVER_SENT):
                slot.never_left()
            return broken(error, self.base_url.host or "", self.waits)

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Result:
        """Send one form to the token endpoint; it needs no place among the others."""
        slot = Slot(None, self.counters, self.max_body_bytes)
        return await self.exchange("POST", path, headers, slot, form)

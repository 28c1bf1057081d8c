"""The HTTP session with Atlas: one base URL, and one attempt of each request."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.answers import Answer, Result
from invite_sweeper.atlas.base_url import target_url
from invite_sweeper.atlas.faults import (
    NOT_SENT_ERRORS,
    BodyTooLarge,
    ConnectionLost,
    RequestCancelled,
    describe_error,
)
from invite_sweeper.atlas.response import read_body
from invite_sweeper.atlas.slots import ConnectionSlot, RequestCounters

USER_AGENT: Final = (
    f"invite-sweeper/{__version__} ({platform.system().lower()}; {platform.machine()})"
)
_NO_CONTENT: Final = 204
_TRANSPORT_ERRORS: Final = (
    aiohttp.ClientError,
    OSError,
    ConnectionLost,
    RequestCancelled,
    BodyTooLarge,
)


@dataclass(frozen=True, slots=True)
class HttpSession:
    """The session that sends every request.

    Attributes:
        session: Its timeout holds for each attempt.
        base_url: The only address that anything is sent to.
        proxy_headers: How the proxy knows us; None where it need not.
    """

    session: aiohttp.ClientSession
    base_url: URL
    max_body_bytes: int
    counters: RequestCounters
    proxy_headers: Mapping[str, str] | None = None

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        slot: ConnectionSlot,
        body: Mapping[str, str] | bytes | None = None,
    ) -> Result:
        """Send one request and read its response. Redirects are not followed."""
        signed = slot.middlewares is not None  # then the slot counts each request itself
        try:
            if not signed:
                slot.on_send()
            response = await self.session.request(
                method,
                target_url(self.base_url, path),
                data=body,
                headers=headers,
                middlewares=slot.middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # not for a body without a length
                proxy_headers=self.proxy_headers,
            )
            if not signed:
                slot.on_response(response.status)
            try:
                # A 204 has no body; one that is announced all the same is not waited for.
                done = method == "DELETE" and response.status == _NO_CONTENT
                content = b"" if done else await read_body(response, self.max_body_bytes)
                return Answer(response.status, response.headers, content or slot.last_401_body)
            finally:
                if not response.closed:  # a head without a body has freed its connection
                    response.release()
        except _TRANSPORT_ERRORS as error:
            if not signed and isinstance(error, NOT_SENT_ERRORS):
                slot.on_not_sent()
            return describe_error(error, self.base_url.host or "", self.session.timeout)

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Result:
        """Send one form to the token endpoint; it needs no slot of the pool."""
        slot = ConnectionSlot(None, self.counters, self.max_body_bytes)
        return await self.send("POST", path, headers, slot, form)

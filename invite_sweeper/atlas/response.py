"""An answer while it comes in, as the HTTP library sees it."""

import aiohttp
from aiohttp.connector import Connection
from typing_extensions import override

from invite_sweeper.atlas.faults import LinkCut, TooLong


class Response(aiohttp.ClientResponse):
    """An answer whose broken connection is no reason for the library to send once more."""

    @override
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for its head.

        Raises:
            LinkCut: The connection broke before.
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ServerDisconnectedError, OSError):
            raise LinkCut from None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body to its end, unpacked.

    Raises:
        TooLong: It is longer than `max_bytes`.
        aiohttp.ClientError: It was cut short.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise TooLong
        chunks.append(chunk)
    return b"".join(chunks)

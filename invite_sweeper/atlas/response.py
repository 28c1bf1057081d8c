"""A response while it is received, as the HTTP library sees it."""

import aiohttp
from aiohttp.connector import Connection
from typing_extensions import override

from invite_sweeper.atlas.faults import BodyTooLarge, ConnectionLost


class Response(aiohttp.ClientResponse):
    """A response whose broken connection does not make the library send again."""

    @override
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for its head.

        Raises:
            ConnectionLost: The connection broke before.
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ServerDisconnectedError, OSError):
            raise ConnectionLost from None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body to its end, unpacked.

    Raises:
        BodyTooLarge: It is longer than `max_bytes`.
        aiohttp.ClientError: It was cut short.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)

"""Resolve host names in threads that do not keep the process alive."""

import asyncio
import socket
import threading

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

_SCOPED_ADDRESS_PARTS = 4


class DaemonResolver(AbstractResolver):
    """A resolver of the system's kind that can be abandoned.

    A name server that does not answer blocks `getaddrinfo` for minutes, and neither asyncio nor
    uvloop ends its loop before such a call returns. A daemon thread does not delay the end.
    """

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: The name cannot be resolved.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[ResolveResult]] = loop.create_future()
        thread = threading.Thread(
            target=_resolve, args=(loop, future, host, port, family), name="resolver", daemon=True
        )
        thread.start()
        return await future

    @override
    async def close(self) -> None:
        """Do nothing: threads that are still waiting are abandoned."""


def _resolve(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[list[ResolveResult]]",
    host: str,
    port: int,
    family: socket.AddressFamily,
) -> None:
    found: list[ResolveResult] | OSError
    try:
        infos = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = [
            ResolveResult(
                hostname=host,
                host=_address_text(address),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in infos
        ]
    except (OSError, UnicodeError) as error:
        found = error if isinstance(error, OSError) else OSError(None, "not a valid host name")

    def deliver() -> None:
        if future.done():  # the caller gave up
            return
        if isinstance(found, OSError):
            future.set_exception(found)
        else:
            future.set_result(found)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:  # the loop has ended meanwhile
        return


def _address_text(address: tuple[object, ...]) -> str:
    """Return the address, with the zone of a link-local one."""
    host = str(address[0])
    scoped = len(address) == _SCOPED_ADDRESS_PARTS and address[3] and "%" not in host
    return f"{host}%{address[3]}" if scoped else host

"""Faults that tests inject into requests to a simulated Atlas, beside those of `simulate`.

Each is a `partial`, which pytest names by its number and not by a name that all of them share.
"""

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from random import Random

from invite_sweeper.simulator.faults import (  # noqa: F401 - tests take all from here
    Effect,
    Fault,
    Send,
    delay,
    effect,
)
from invite_sweeper.simulator.responses import (
    Call,
    Json,
    SimulatedResponse,
    api_error,
    missing_role,
)

UNANSWERED = SimulatedResponse(0)
"""What a fault returns that left its connection without a response; the server sends nothing."""


def written(response: SimulatedResponse) -> bytes:
    """Return the bytes of a response without a `Date`, for a fault that sends them itself."""
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    if response.media is not None:
        headers.append(("Content-Type", response.media))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    status = f"{response.status} {HTTPStatus(response.status).phrase}"
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + response.body


def respond_with(response: SimulatedResponse, *, late: bool = False) -> Fault:
    """Return a fault that sends this response; `late` after the request was executed."""

    async def answer(_call: Call, send: Send) -> SimulatedResponse:
        if late:  # Atlas did it, and its answer is lost
            await send()
        return response

    return partial(answer)


def fail_with(
    status: int = 500,
    code: str = "UNEXPECTED_ERROR",
    detail: str = "Unexpected error.",
    *parameters: Json,
    retry_after: str | None = None,
    late: bool = False,
) -> Fault:
    """Return a fault that answers with an `ApiError`; `late` as for `respond_with`."""
    response = api_error(status, code, detail, *parameters, retry_after=retry_after)
    return respond_with(response, late=late)


def reset(*, late: bool = False) -> Fault:
    """Return a fault that resets the connection; `late` as for `respond_with`."""

    async def answer(call, send):
        if late:
            await send()
        peer = call.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        call.transport.abort()
        return UNANSWERED

    return partial(answer)


def sometimes(fault: Fault, share: float) -> Fault:
    """Inject the fault into a random share, from 0 to 1, of the requests: each time the same."""
    rng = Random(0)
    return partial(lambda call, send: fault(call, send) if rng.random() < share else send())


def html(status: int = 502, *, retry_after: str | None = None) -> Fault:
    """Return the HTML page of a proxy, without `Date`, and close the connection.

    Source: recording of a 502.
    """
    line = f"{status} {HTTPStatus(status).phrase}"
    page = (
        f"<html>\n<head>\n    <title>{line}</title>\n</head>\n<body>\n    <h1>{line}</h1>\n"
        "    <p>HTTP/2 protocol error: Invalid input ConnectionInputs.RECV_HEADERS in state "
        "ConnectionState.CLOSED</p>\n</body>\n</html>"
    )
    headers = (("Connection", "close"), ("Server", "proxy"))
    headers += () if retry_after is None else (("Retry-After", retry_after),)
    response = SimulatedResponse(status, page.encode(), "text/html", headers)

    async def answer(call, _send):
        call.transport.write(written(response))
        call.transport.close()
        return response

    return partial(answer)


def empty(status: int) -> Fault:
    """Return no body and no `Content-Type`, like a recorded 405 and older 401."""
    return respond_with(SimulatedResponse(status))


def upgrade() -> Fault:
    """Return the temporary 405 of an Atlas upgrade.

    Source: Atlas documentation, API error codes; the detail is assumed.
    """
    detail = "Writes are not allowed during app upgrades."
    return fail_with(405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", detail)


def redirect(location: str) -> Fault:
    return respond_with(SimulatedResponse(302, headers=(("Location", location),)))


def address_refused() -> Fault:
    """Return the 403 of the access list. Source: issues of Atlas's clients that quote it."""
    detail = "IP address 127.0.0.1 is not allowed to access this resource."
    return fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", detail, "127.0.0.1")


def gone_as_400() -> Fault:
    """Return a 400 for an unknown invitation; it is not known which of the two Atlas sends."""
    detail = "The invitation does not exist or was already accepted."
    gone = api_error(400, "INVALID_INVITATION_ID", detail)
    return changed(lambda real: gone if b"RESOURCE_NOT_FOUND" in real.body else real)


def challenge() -> Fault:
    """Return Digest's first 401, as if the request came without its credentials."""
    return effect(lambda call: setattr(call, "headers", {}))


def role_missing(code: str = "USER_UNAUTHORIZED") -> Fault:
    """Return the 401 of a missing role, even if the roles suffice; Atlas does so at times."""
    return respond_with(missing_role(code))


def hang(*, late: bool = False) -> Fault:
    """Never respond; the connection stays open until the server stops."""

    async def answer(_call, send):
        if late:
            await send()
        await asyncio.Event().wait()

    return partial(answer)


def drip(interval_s: float = 0.5) -> Fault:
    """Send the real response byte by byte: each read succeeds, and the whole takes minutes."""

    async def answer(call, send):
        for byte in written(await send()):
            call.transport.write(bytes((byte,)))
            await asyncio.sleep(interval_s)
        call.transport.close()
        return UNANSWERED

    return partial(answer)


def truncated(response: SimulatedResponse | None = None) -> Fault:
    """Close the connection after half of the body, or of the headers without a body.

    It is the real response, or this one.
    """

    async def answer(call, send):
        real = await send()
        payload = written(response or real)
        head, end, body = payload.partition(b"\r\n\r\n")
        sent = len(head + end) + len(body) // 2 if body else len(head + end) // 2
        call.transport.write(payload[:sent])
        call.transport.close()
        return UNANSWERED

    return partial(answer)


def malformed(body: bytes = b'[{"id":"') -> Fault:
    """Return a body that is not JSON with a JSON `Content-Type`."""
    return altered(lambda _: body)


def changed(change: Callable[[SimulatedResponse], SimulatedResponse]) -> Fault:
    """Return another response for the real one."""

    async def answer(_call, send):
        return change(await send())

    return partial(answer)


def with_effect(fault: Fault, before: Effect) -> Fault:
    first = effect(before)
    return partial(lambda call, send: first(call, partial(fault, call, send)))


def after(change: Effect) -> Fault:
    """Change Atlas's data after the request."""

    async def answer(call, send):
        response = await send()
        change(call)
        return response

    return partial(answer)


def altered(alter: Callable[[bytes], bytes]) -> Fault:
    """Return the real response with an altered body."""

    def alter_body(response: SimulatedResponse) -> SimulatedResponse:
        # A 204 cannot have a body; other DELETEs of Atlas return 200.
        status = 200 if response.status == 204 else response.status
        return replace(response, body=alter(response.body), status=status)

    return changed(alter_body)


def compressed() -> Fault:
    """Return the real response compressed.

    Source: in the unmodified recordings exactly the successful responses to GET and POST are.
    """
    added = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    return changed(
        lambda real: replace(real, body=gzip.compress(real.body), headers=(*real.headers, *added))
    )


def without_rate_limits() -> Fault:
    """Return the real response without `RateLimit-*`. The documentation allows both."""
    return changed(
        lambda real: replace(
            real, headers=tuple(each for each in real.headers if "RateLimit" not in each[0])
        )
    )


def short_pages(size: int) -> Fault:
    """Send pages of at most `size` items.

    Source: the recordings, in which short pages with a `next` link occur.
    """
    return effect(lambda call: call.query.update(itemsPerPage=[str(size)]))

"""Faults that tests inject into requests to a simulated Atlas, beside those of `simulate`."""

import asyncio
import gzip
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from invite_sweeper.simulator.faults import (  # noqa: F401 - tests take all from here
    Fault,
    delay,
    effect,
    fail_with,
    reset,
    respond_with,
)
from invite_sweeper.simulator.responses import SimulatedResponse, missing_role, unauthorized


def html(status: int = 502, *, retry_after: str | None = None, late: bool = False) -> Fault:
    """Return the HTML page of a proxy, without `Date`, and close the connection.

    Source: recording of a 502.
    """
    line = f"{status} {HTTPStatus(status).phrase}"
    page = (
        f"<html>\n<head>\n    <title>{line}</title>\n</head>\n<body>\n    <h1>{line}</h1>\n"
        "    <p>upstream connect error</p>\n</body>\n</html>"
    )
    headers = [("Connection", "close"), ("Server", "proxy")]
    if retry_after is not None:
        headers.append(("Retry-After", retry_after))
    return respond_with(
        SimulatedResponse(status, page.encode(), "text/html", tuple(headers), dated=False),
        late=late,
    )


def empty(status: int) -> Fault:
    """Return no body and no `Content-Type`, like a recorded 405 and older 401."""
    return respond_with(SimulatedResponse(status))


def upgrade() -> Fault:
    """Return the temporary 405 of an Atlas upgrade.

    Source: list of errors in the fact sheet; the detail is assumed.
    """
    detail = "Writes are not allowed during app upgrades."
    return fail_with(405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", detail)


def redirect(location: str, status: int = 302) -> Fault:
    """Redirect the client."""
    return respond_with(SimulatedResponse(status, headers=(("Location", location),)))


def challenge() -> Fault:
    """Return Digest's first 401, even if the credentials are valid."""
    return Fault(instead=lambda sim: unauthorized(sim.digest.challenge()))


def role_missing(code: str = "USER_UNAUTHORIZED") -> Fault:
    """Return the 401 of a missing role, even if the roles suffice; Atlas does so at times."""
    return respond_with(missing_role(code))


def hang(*, late: bool = False) -> Fault:
    """Never respond; the connection stays open until the server stops."""

    async def deliver(delivery):
        await delivery.stopped.wait()
        delivery.reset()

    return Fault(deliver=deliver, late=late)


def drip(interval_s: float = 0.5) -> Fault:
    """Send the real response byte by byte: each read succeeds, and the whole takes minutes."""

    async def deliver(delivery):
        for byte in delivery.payload:
            await delivery.write(bytes((byte,)))
            with suppress(TimeoutError):
                await asyncio.wait_for(delivery.stopped.wait(), interval_s)
                return

    return Fault(deliver=deliver, late=True)


def truncated() -> Fault:
    """Close the connection after half of the body, or of the headers without a body."""

    async def deliver(delivery):
        head, end, body = delivery.payload.partition(b"\r\n\r\n")
        sent = len(head + end) + len(body) // 2 if body else len(head + end) // 2
        await delivery.write(delivery.payload[:sent])

    return Fault(deliver=deliver, late=True)


def malformed(body: bytes = b'[{"id":"') -> Fault:
    """Return a body that is not JSON with a JSON `Content-Type`."""
    return altered(lambda _: body)


def altered(alter: Callable[[bytes], bytes]) -> Fault:
    """Return the real response with an altered body."""

    def alter_body(response: SimulatedResponse) -> SimulatedResponse:
        # A 204 cannot have a body; other DELETEs of Atlas return 200.
        status = 200 if response.status == 204 else response.status
        return replace(response, body=alter(response.body), status=status)

    return Fault(alter=alter_body)


def mislabelled(media: str = "text/html") -> Fault:
    """Return the real response with another `Content-Type`."""
    return Fault(alter=lambda response: replace(response, media=media))


def compressed() -> Fault:
    """Return the real response compressed.

    Source: in the unmodified recordings exactly the successful responses to GET and POST are.
    """
    headers = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    return Fault(
        alter=lambda response: replace(
            response,
            body=gzip.compress(response.body),
            headers=(*response.headers, *headers),
        )
    )


def without_rate_limits() -> Fault:
    """Return the real response without `RateLimit-*`. The documentation allows both."""
    return Fault(
        alter=lambda response: replace(
            response,
            headers=tuple(each for each in response.headers if "RateLimit" not in each[0]),
        )
    )

"""What went wrong on the wire, in words for a person and without a library's class names.

An exception of the HTTP library carries the request's headers, and with them the
credentials: it is turned into text here and goes no further.
"""

from dataclasses import dataclass, field
from typing import Final

import aiohttp

from invite_sweeper.atlas.answers import CALLED_OFF, Broken

_WRONG_NAME: Final = frozenset({62, 64})
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({18, 19, 20, 21})
_PROXY_WANTS_PASSWORD: Final = 407

NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""Exceptions of a try for which there was no connection: no byte of it has left."""


class LinkCut(Exception):
    """The connection broke after the request may have gone out.

    It is no exception of the HTTP library on purpose: the library sends a DELETE a second
    time by itself when a kept connection breaks, uncounted and unaudited, unless it sees
    something else.
    """


class CalledOff(Exception):
    """Nothing more may be sent for this request; this try was not."""


class TooLong(Exception):
    """The body is longer than any answer of Atlas."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long one try may take.

    Attributes:
        timeout: Both, for the HTTP library.
        timeout_if_watched: The same where `overdue` watches the total.
    """

    total_s: float
    connect_s: float
    timeout: aiohttp.ClientTimeout = field(init=False)
    timeout_if_watched: aiohttp.ClientTimeout = field(init=False)

    def __post_init__(self) -> None:
        """Make the library's values once, not for every request."""
        both = aiohttp.ClientTimeout(total=self.total_s, connect=self.connect_s)
        object.__setattr__(self, "timeout", both)
        watched = aiohttp.ClientTimeout(total=None, connect=self.connect_s)
        object.__setattr__(self, "timeout_if_watched", watched)


_ALWAYS_THE_SAME: Final[tuple[tuple[tuple[type[Exception], ...], Broken], ...]] = (
    (
        (LinkCut, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError),
        Broken("the connection was cut before the answer was there"),
    ),
    ((CalledOff,), CALLED_OFF),
    ((TooLong,), Broken("the answer is longer than any of Atlas's", passing=False)),
    ((aiohttp.ClientPayloadError,), Broken("the answer was cut short")),
    ((aiohttp.ClientResponseError,), Broken("the answer is not HTTP")),
)


def broken(error: BaseException, host: str, waits: Waits) -> Broken:
    """Say what an exception of one try means."""
    if isinstance(error, NEVER_SENT):
        return _no_connection(error, host, waits)
    for kinds, saying in _ALWAYS_THE_SAME:
        if isinstance(error, kinds):
            return saying
    if isinstance(error, TimeoutError):
        return Broken(f"timed out after {waits.total_s:g} s")
    if isinstance(error, OSError):
        return Broken(f"the connection to {host} broke: {_system(error)}")
    # What is left is a challenge that the digest sign-in cannot answer.
    return Broken("the sign-in challenge cannot be answered", passing=False)


def _no_connection(error: BaseException, host: str, waits: Waits) -> Broken:
    match error:
        case aiohttp.ClientHttpProxyError():
            wants_password = error.status == _PROXY_WANTS_PASSWORD
            return Broken(f"the proxy answered {error.status}", passing=not wants_password)
        case aiohttp.ClientConnectorCertificateError():
            return Broken(_certificate(error.certificate_error, host), passing=False)
        case aiohttp.ClientConnectorDNSError():
            return Broken(f"name not found: {error.host}")
        case aiohttp.ClientSSLError():
            return Broken(f"no TLS connection to {host}")
        case aiohttp.ClientConnectorError():
            proxy = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return Broken(f"no connection to {proxy}{error.host}: {_system(error.os_error)}")
        case _:
            return Broken(f"no connection to {host} within {waits.connect_s:g} s")


def _certificate(error: Exception, host: str) -> str:
    code: object = getattr(error, "verify_code", None)
    if code in _WRONG_NAME:
        return f"certificate not valid for {host}"
    if code == _EXPIRED:
        return f"certificate of {host} has expired"
    if code in _UNKNOWN_ISSUER:
        return f"certificate of {host} is signed by an authority that is not known here"
    return f"certificate of {host} is refused"


def _system(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or "no reason given").lower()

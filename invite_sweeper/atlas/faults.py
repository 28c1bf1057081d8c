"""Describe transport errors as text, without the class names of a library.

An exception of the HTTP library carries the request's headers, and with them the
credentials: it is turned into text here and goes no further.
"""

from typing import Final

import aiohttp

from invite_sweeper.atlas.answers import CANCELLED, Broken

_WRONG_NAME: Final = frozenset({62, 64})
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({18, 19, 20, 21})
_PROXY_WANTS_PASSWORD: Final = 407

NOT_SENT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""Exceptions of an attempt without a connection: no byte of it was sent."""


class ConnectionLost(Exception):
    """The connection broke after the request may have been sent.

    On purpose not an exception of the HTTP library: the library itself sends a DELETE a second
    time, uncounted and unaudited, when a reused connection breaks with one of its own.
    """


class RequestCancelled(Exception):
    """Nothing more may be sent for this request; this attempt was not sent."""


class BodyTooLarge(Exception):
    """The body is longer than any response of Atlas."""


_FIXED_FAILURES: Final[tuple[tuple[tuple[type[Exception], ...], Broken], ...]] = (
    (
        (ConnectionLost, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError),
        Broken("the connection was cut before the answer was there"),
    ),
    ((RequestCancelled,), CANCELLED),
    ((BodyTooLarge,), Broken("the answer is longer than any of Atlas's", passing=False)),
    ((aiohttp.ClientPayloadError,), Broken("the answer was cut short")),
    ((aiohttp.ClientResponseError,), Broken("the answer is not HTTP")),
)


def describe_error(error: BaseException, host: str, timeout: aiohttp.ClientTimeout) -> Broken:
    """Return the failure that an exception of one attempt stands for."""
    if isinstance(error, NOT_SENT_ERRORS):
        return _no_connection(error, host, timeout)
    for kinds, failure in _FIXED_FAILURES:
        if isinstance(error, kinds):
            return failure
    if isinstance(error, TimeoutError):
        return Broken(f"timed out after {timeout.total:g} s")
    if isinstance(error, OSError):
        return Broken(f"the connection to {host} broke: {_system_error(error)}")
    # What is left is a challenge that the digest sign-in cannot answer.
    return Broken("the sign-in challenge cannot be answered", passing=False)


def _no_connection(error: BaseException, host: str, timeout: aiohttp.ClientTimeout) -> Broken:
    match error:
        case aiohttp.ClientHttpProxyError():
            wants_password = error.status == _PROXY_WANTS_PASSWORD
            return Broken(f"the proxy answered {error.status}", passing=not wants_password)
        case aiohttp.ClientConnectorCertificateError():
            return Broken(_certificate_error(error.certificate_error, host), passing=False)
        case aiohttp.ClientConnectorDNSError():
            return Broken(f"name not found: {error.host}")
        case aiohttp.ClientSSLError():
            return Broken(f"no TLS connection to {host}")
        case aiohttp.ClientConnectorError():
            proxy = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return Broken(f"no connection to {proxy}{error.host}: {_system_error(error.os_error)}")
        case _:
            return Broken(f"no connection to {host} within {timeout.connect:g} s")


def _certificate_error(error: Exception, host: str) -> str:
    code: object = getattr(error, "verify_code", None)
    if code in _WRONG_NAME:
        return f"certificate not valid for {host}"
    if code == _EXPIRED:
        return f"certificate of {host} has expired"
    if code in _UNKNOWN_ISSUER:
        return f"certificate of {host} is signed by an authority that is not known here"
    return f"certificate of {host} is refused"


def _system_error(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or "no reason given").lower()

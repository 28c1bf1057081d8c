"""Network errors of one attempt, as text without library class names.

Exceptions of the HTTP library carry the request's headers, and with them the credentials. They
are turned into text here and are not raised further.
"""

from dataclasses import replace
from typing import Final

import aiohttp

from invite_sweeper.atlas.responses import CANCELLED, RequestFailed

_HOSTNAME_MISMATCH_CODES: Final = frozenset({62, 64})
_CERTIFICATE_EXPIRED_CODE: Final = 10
_UNKNOWN_ISSUER_CODES: Final = frozenset({18, 19, 20, 21})
_PROXY_AUTHENTICATION_REQUIRED: Final = 407

NOT_SENT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""Exceptions raised before there was a connection: no byte of the request was sent."""


class ConnectionLost(Exception):
    """The connection broke after the request may have been sent.

    Deliberately not an aiohttp exception: when a reused connection breaks with one of those,
    aiohttp sends a DELETE a second time, which would be neither counted nor audited.
    """


class RequestCancelled(Exception):
    """The request was cancelled before this attempt was sent."""


class BodyTooLarge(Exception):
    """The response body is longer than `max_body_bytes`."""


TRANSPORT_ERRORS: Final = (
    aiohttp.ClientError,
    OSError,
    ConnectionLost,
    RequestCancelled,
    BodyTooLarge,
)
"""What `describe_error` describes."""
_FIXED_FAILURES: Final[tuple[tuple[tuple[type[Exception], ...], RequestFailed], ...]] = (
    (
        (ConnectionLost, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError),
        RequestFailed("connection lost before the response arrived"),
    ),
    ((RequestCancelled,), CANCELLED),
    ((BodyTooLarge,), RequestFailed("response body too large", retryable=False)),
    ((aiohttp.ClientPayloadError,), RequestFailed("incomplete response body")),
    ((aiohttp.ClientResponseError,), RequestFailed("response is not HTTP")),
)


def describe_error(
    error: BaseException, host: str, timeout: aiohttp.ClientTimeout
) -> RequestFailed:
    """Return an exception of one attempt as text without library class names."""
    if isinstance(error, NOT_SENT_ERRORS):
        return replace(_describe_connect_error(error, host, timeout), is_unsent=True)
    for kinds, failure in _FIXED_FAILURES:
        if isinstance(error, kinds):
            return failure
    if isinstance(error, TimeoutError):
        return RequestFailed(f"timed out after {timeout.total:g} s")
    if isinstance(error, OSError):
        return RequestFailed(f"connection to {host} failed: {_system_error(error)}")
    # Only the digest middleware raises anything else: it cannot answer the challenge.
    return RequestFailed("unsupported authentication challenge", retryable=False)


def _describe_connect_error(
    error: BaseException, host: str, timeout: aiohttp.ClientTimeout
) -> RequestFailed:
    match error:
        case aiohttp.ClientHttpProxyError():
            needs_password = error.status == _PROXY_AUTHENTICATION_REQUIRED
            return RequestFailed(
                f"proxy responded with HTTP {error.status}", retryable=not needs_password
            )
        case aiohttp.ClientConnectorCertificateError():
            return RequestFailed(_certificate_error(error.certificate_error, host), retryable=False)
        case aiohttp.ClientConnectorDNSError():
            return RequestFailed(f"name not found: {error.host}")
        case aiohttp.ClientSSLError():
            return RequestFailed(f"TLS handshake with {host} failed")
        case aiohttp.ClientConnectorError():
            proxy = "proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return RequestFailed(
                f"could not connect to {proxy}{error.host}: {_system_error(error.os_error)}"
            )
        case _:
            return RequestFailed(f"could not connect to {host} within {timeout.connect:g} s")


def _certificate_error(error: Exception, host: str) -> str:
    code: object = getattr(error, "verify_code", None)
    if code in _HOSTNAME_MISMATCH_CODES:
        return f"certificate not valid for {host}"
    if code == _CERTIFICATE_EXPIRED_CODE:
        return f"certificate of {host} has expired"
    if code in _UNKNOWN_ISSUER_CODES:
        return f"certificate of {host} is signed by an unknown authority"
    return f"certificate of {host} was rejected"


def _system_error(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or "unknown reason").lower()

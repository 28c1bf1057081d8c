"""Descriptions of connection errors that a local socket cannot produce."""

import errno
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from invite_sweeper.atlas.http import describe_error

HOST = "atlas.example.com"
KEY = ConnectionKey(HOST, 443, True, True, None, None, None)


def certificate_error(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return aiohttp.ClientConnectorCertificateError(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (certificate_error(10), "certificate of atlas.example.com has expired", False),
        (certificate_error(23), "certificate of atlas.example.com was rejected", False),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("odd")),
            "certificate of atlas.example.com was rejected",
            False,
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "No route to host")),
            "could not connect to atlas.example.com: no route to host",
            True,
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError()),
            "could not connect to atlas.example.com: unknown reason",
            True,
        ),
        (
            OSError(errno.EPIPE, "Broken pipe"),
            "connection to atlas.example.com failed: broken pipe",
            True,
        ),
        (TimeoutError(), "timed out after 120 s", True),
        (aiohttp.SocketTimeoutError(), "timed out after 120 s", True),
        (aiohttp.ClientError("odd"), "unsupported authentication challenge", False),
    ],
)
def test_transport_error_is_described(error, reason, retryable):
    found = describe_error(error, HOST, aiohttp.ClientTimeout(total=120.0, connect=10.0))

    assert (found.reason, found.retryable, found.http_status) == (reason, retryable, None)

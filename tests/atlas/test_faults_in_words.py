"""What people read when a connection fails, for what no socket of this machine does on its own."""

import errno
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from invite_sweeper.atlas.faults import Waits, broken

HOST = "atlas.example.com"
KEY = ConnectionKey(HOST, 443, True, True, None, None, None)


def verification(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return aiohttp.ClientConnectorCertificateError(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "passing"),
    [
        (verification(10), "certificate of atlas.example.com has expired", False),
        (verification(23), "certificate of atlas.example.com is refused", False),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("odd")),
            "certificate of atlas.example.com is refused",
            False,
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "No route to host")),
            "no connection to atlas.example.com: no route to host",
            True,
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError()),
            "no connection to atlas.example.com: no reason given",
            True,
        ),
        (
            OSError(errno.EPIPE, "Broken pipe"),
            "the connection to atlas.example.com broke: broken pipe",
            True,
        ),
        (TimeoutError(), "timed out after 120 s", True),
        (aiohttp.SocketTimeoutError(), "timed out after 120 s", True),
        (aiohttp.ClientError("odd"), "the sign-in challenge cannot be answered", False),
    ],
)
def test_a_fault_is_told_in_words(error, reason, passing):
    found = broken(error, HOST, Waits(120.0, 10.0))

    assert (found.reason, found.passing, found.http_status) == (reason, passing, None)

"""Headers, base URLs, and errors that a local socket cannot produce."""

import errno
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from reviewed import assert_reviewed

from invite_sweeper.atlas.endpoints import LIST_GROUPS
from invite_sweeper.atlas.http import describe_error, parse_base_url
from invite_sweeper.atlas.limits import ServerInfo, parse_date, parse_int_header, retry_after_s
from invite_sweeper.atlas.responses import Response
from invite_sweeper.errors import UsageError

NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)
JULY = datetime(2027, 7, 1, tzinfo=UTC)


def wait_of(raw):
    return retry_after_s({"Retry-After": raw}, lambda: NOW)


def count_of(raw):
    return parse_int_header({"RateLimit-Limit": raw}, "RateLimit-Limit")


HEADERS = [
    # Seconds from now.
    *((wait_of, raw, wait_s) for raw, wait_s in (("55", 55.0), ("0", 0.0))),
    (wait_of, "Wed, 25 Nov 2026 01:00:40 GMT", 40.0),
    (wait_of, "Tue, 24 Nov 2026 01:00:00 GMT", -86_400.0),
    *((wait_of, r, None) for r in ("-5", "2.5", "", "soon", "Wed, 99 Nov 2026 01:00:40 GMT")),
    # From 0 to 9 digits.
    *((count_of, raw, count) for raw, count in (("0", 0), ("1194", 1194), ("9" * 9, 999_999_999))),
    *((count_of, raw, None) for raw in ("", "-1", "1.5", "\u0661", "9" * 10)),
    # A timestamp in UTC.
    (parse_date, "Thu, 1 Jul 2027 00:00:00 GMT", JULY),
    (parse_date, "Thu, 01 Jul 2027 02:00:00 +0200", JULY),
    (parse_date, "Thu, 1 Jul 2027 00:00:00 -0000", JULY),
    *((parse_date, raw, None) for raw in ("@1688169599", "", "Fri, 31 Dec 9999 23:59:59 -1400")),
]


@pytest.mark.parametrize(("read", "raw", "value"), HEADERS)
def test_header_has_this_value_or_none(read, raw, value):
    assert read(raw) == value
    assert retry_after_s({}, lambda: NOW) is None


def update(server, status, headers, endpoint):
    server.update(Response(status, headers, b""), endpoint)


def test_clock_skew_is_from_the_first_successful_response_with_a_date():
    server = ServerInfo(lambda: NOW)

    update(server, 404, {"Date": "Wed, 25 Nov 2026 02:00:00 GMT"}, LIST_GROUPS)
    assert server.clock_skew_s is None
    update(server, 200, {}, LIST_GROUPS)
    update(server, 200, {"Date": "some day"}, LIST_GROUPS)
    assert server.clock_skew_s is None
    update(server, 200, {"Date": "Wed, 25 Nov 2026 00:54:59 GMT"}, LIST_GROUPS)
    update(server, 200, {"Date": "Wed, 25 Nov 2026 02:00:00 GMT"}, LIST_GROUPS)
    assert server.clock_skew_s == 301.0


# --- errors ----------------------------------------------------------------------------------

HOST = "atlas.example.com"
KEY = ConnectionKey(HOST, 443, True, True, None, None, None)


def certificate_error(**facts):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    vars(error).update(facts)
    return aiohttp.ClientConnectorCertificateError(KEY, error)


ERRORS = (
    certificate_error(verify_message="certificate has expired."),
    certificate_error(),
    aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "No route to host")),
    aiohttp.ClientConnectorError(KEY, OSError()),
    OSError(errno.EPIPE, "Broken pipe"),
    aiohttp.SocketTimeoutError(),
    aiohttp.ClientError("odd"),
)


def test_transport_errors_are_described_as_it_was_reviewed():
    limits = aiohttp.ClientTimeout(total=120.0, connect=10.0)
    found = [describe_error(error, HOST, limits) for error in ERRORS]
    lines = [f"{'again' if each.retryable else 'final'}: {each.reason}" for each in found]
    assert_reviewed("\n".join(lines), __file__, "transport.txt")


# --- base URLs -------------------------------------------------------------------------------

BASES = """
https://cloud.mongodbgov.com// https://gateway.example.com:8443/atlas/ http://127.9.9.9
http://[::1]:8080 http://LOCALHOST:1/
cloud.mongodb.com /api https:// https:///api ftp://cloud.mongodb.com file:///etc/passwd
http://cloud.mongodb.com http://localhost.example.com http://0.0.0.0 http://localhost.
http://[::2] http://10.0.0.1 http://127.0.0.1.example.com
https://cloud.mongodb.com?x=1 https://cloud.mongodb.com? https://cloud.mongodb.com#top
https://cloud.mongodb.com:0 https://cloud.mongodb.com:99999 https://[::1
https://ada:secret@example.com https://secret@example.com
"""


def test_base_url_is_https_or_loopback_and_no_other_is_accepted_or_shown_as_it_was_reviewed():
    text = ""
    for base in ("", " https://cloud.mongodb.com ", *BASES.split()):
        try:
            found = f"is {parse_base_url(base)}"
        except UsageError as error:
            found = str(error)
            assert "secret" not in found
        text += f"{base!r}: {found}\n"
    assert_reviewed(text, __file__, "base_urls.txt")

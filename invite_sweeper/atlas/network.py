"""The network: base URL, proxy, names of hosts, and what an exception of a request means.

Exceptions of the HTTP library carry the request's headers, and with them the credentials. They
are turned into text here and are not raised further.
"""

import asyncio
import ipaddress
import os
import socket
import threading
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from http.client import PROXY_AUTHENTICATION_REQUIRED
from typing import Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override
from yarl import URL

from invite_sweeper.atlas.responses import RequestFailed
from invite_sweeper.errors import UsageError
from invite_sweeper.redaction import SECRETS

NOT_SENT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""Exceptions raised before there was a connection: no byte of the request was sent."""


class AttemptFailed(Exception):
    """An attempt ended with a known failure.

    Deliberately not an aiohttp exception: when a reused connection breaks with one of those,
    aiohttp sends a DELETE a second time, which would be neither counted nor audited.
    """

    def __init__(self, failure: RequestFailed) -> None:
        super().__init__(failure.reason)
        self.failure = failure


LOST: Final = "connection lost before the response arrived"
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ClientHttpProxyError, "proxy responded with HTTP {error.status}"),
    (aiohttp.ClientConnectorCertificateError, "certificate of {host} rejected: {certificate}"),
    (aiohttp.ClientConnectorDNSError, "name not found: {error.host}"),
    (aiohttp.ClientSSLError, "TLS handshake with {host} failed"),
    (aiohttp.ClientProxyConnectionError, "could not connect to proxy {error.host}: {why}"),
    (aiohttp.ClientConnectorError, "could not connect to {error.host}: {why}"),
    (aiohttp.ConnectionTimeoutError, "could not connect to {host} within {timeout.connect:g} s"),
    (aiohttp.ServerDisconnectedError, LOST),
    (aiohttp.ClientConnectionResetError, LOST),
    (aiohttp.ClientPayloadError, "incomplete response body"),
    (aiohttp.ClientResponseError, "response is not HTTP"),
    (TimeoutError, "timed out after {timeout.total:g} s"),
    (OSError, "connection to {host} failed: {why}"),
    # Only the digest middleware raises anything else: it cannot answer the challenge.
    (Exception, "unsupported authentication challenge"),
)
"""What happened, by the type of an exception; the first row that matches holds."""
_PERMANENT: Final = frozenset({aiohttp.ClientConnectorCertificateError, Exception})
"""What a retry does not end: a rejected certificate, and the challenge of the last row."""


def describe_error(error: Exception, host: str, timeout: aiohttp.ClientTimeout) -> RequestFailed:
    """Return an exception of one attempt as text without library class names."""
    if isinstance(error, AttemptFailed):
        return error.failure
    error_type, reason = next(row for row in _REASONS if isinstance(error, row[0]))
    os_error: object = getattr(error, "os_error", error)
    why = getattr(os_error, "strerror", None) or "unknown reason"
    if isinstance(os_error, ConnectionRefusedError):
        why = "connection refused"  # asyncio has an address as its text
    certificate_error = getattr(error, "certificate_error", None)
    text = reason.format(
        error=error,
        host=host,
        timeout=timeout,
        why=why.lower(),
        certificate=getattr(certificate_error, "verify_message", "not valid").rstrip("."),
    )
    needs_proxy_password = getattr(error, "status", 0) == PROXY_AUTHENTICATION_REQUIRED
    is_permanent = error_type in _PERMANENT or needs_proxy_password
    return RequestFailed(
        text,
        retryable=not is_permanent,
        is_unsent=isinstance(error, NOT_SENT_ERRORS),
    )


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
        future: Future[list[ResolveResult]] = Future()
        future.set_running_or_notify_cancel()  # the thread alone ends it

        def run() -> None:
            try:
                future.set_result(_addresses(host, port, family))
            except UnicodeError:
                future.set_exception(OSError(None, "not a valid host name"))
            except OSError as error:
                future.set_exception(error)

        threading.Thread(target=run, name="resolver", daemon=True).start()
        return await asyncio.wrap_future(future)

    @override
    async def close(self) -> None:
        """Do nothing: threads that are still waiting are abandoned."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Return the addresses of a host, as aiohttp's own resolver returns them."""
    addresses = socket.getaddrinfo(
        host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=address_family,
            proto=proto,
            flags=numeric,
        )
        for address_family, _type, proto, _canonical_name, address in addresses
    ]


def open_connector() -> aiohttp.TCPConnector:
    """Return connections to Atlas without a limit: the client limits the requests."""
    return aiohttp.TCPConnector(limit=0, resolver=DaemonResolver())


def _parse_http_url(text: str) -> URL:
    """Return an HTTP URL; an empty one, without a host, if the text is not one."""
    try:
        url = URL(text)
        is_http = url.scheme in {"http", "https"} and url.port is not None
    except ValueError:
        return URL()
    return url if is_http else URL()


def parse_base_url(text: str) -> URL:
    """Return the base URL of Atlas, without trailing slashes.

    Raises:
        UsageError: It is not an `https` URL with a host (`http` is allowed for loopback), or
            it contains a user name, query or fragment. The message never repeats those.
    """
    hint = "Write it as https://cloud.mongodb.com."
    url = _parse_http_url(text.strip().rstrip("/"))
    host = url.host
    if not host or url.port == 0:
        raise UsageError("The base URL is not an HTTP URL with a host.", hint=hint)
    if url.raw_user is not None or url.raw_password is not None:
        raise UsageError("The base URL contains a user name or password.", hint=hint)
    if "?" in text or "#" in text:
        raise UsageError("The base URL contains a query or fragment.", hint=hint)
    if url.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"The base URL would send credentials to {host} unencrypted.",
            hint="Use https; http is allowed only for loopback addresses.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback, without a DNS lookup."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Proxy(NamedTuple):
    """The proxy for the requests to one host.

    Attributes:
        url: Without user information; None without a proxy.
        headers: Its credentials; None without any.
    """

    url: URL | None = None
    headers: Mapping[str, str] | None = None


def find_proxy(base_url: URL) -> Proxy:
    """Return the proxy of the environment; loopback never uses one.

    aiohttp's `trust_env` would read the environment for each request, in a thread, and would
    also send credentials from `.netrc`.

    Raises:
        UsageError: The variable does not contain an HTTP proxy URL.
    """
    host = base_url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return Proxy()
    address = urllib.request.getproxies().get(base_url.scheme)
    if not address:
        return Proxy()
    url = _parse_http_url(address)
    if not url.host:
        # `getproxies` prefers the variable in lower case, too.
        lower = f"{base_url.scheme}_proxy"
        variable = lower if os.environ.get(lower) else lower.upper()
        # The message does not repeat the value: it may contain a password.
        raise UsageError(
            f"The value of {variable} is not a valid proxy URL.",
            hint="Write it as http://HOST:PORT; other kinds of proxies are not supported.",
        )
    if url.user is None:
        return Proxy(url)
    SECRETS.add_user_info(address)
    login = aiohttp.encode_basic_auth(url.user, url.password or "")
    return Proxy(url.with_user(None), {"Proxy-Authorization": login})

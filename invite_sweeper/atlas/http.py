"""HTTP: one request and the body of its response; connections, the proxy, and what can fail.

An exception of the HTTP library is not raised further: `describe_error` turns it into text.
"""

import ipaddress
import os
import platform
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http.client import NO_CONTENT, PROXY_AUTHENTICATION_REQUIRED, UNAUTHORIZED
from typing import Final, NamedTuple, TypeAlias

import aiohttp
import msgspec
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Endpoint
from invite_sweeper.atlas.limits import TokenBucket
from invite_sweeper.atlas.responses import CANCELLED, RequestFailed, Response, ResponseOrFailure
from invite_sweeper.errors import UsageError
from invite_sweeper.outcomes import Sending
from invite_sweeper.redaction import SECRETS

USER_AGENT: Final = (
    f"invite-sweeper/{__version__} ({platform.system().lower()}; {platform.machine()})"
)
TIMEOUT: Final = aiohttp.ClientTimeout(total=120.0, connect=10.0)
"""The limits of one attempt. Some responses take more than 50 s; `connect` includes DNS and TLS."""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""The longest body of a response that is read, decompressed."""


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole response body, decompressed.

    Raises:
        AttemptFailed: It is longer than `MAX_BODY_BYTES`.
        aiohttp.ClientError: It is incomplete.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise AttemptFailed(RequestFailed("response body too large", retryable=False))
        chunks.append(chunk)
    return b"".join(chunks)


Body: TypeAlias = Mapping[str, str] | bytes
Authorization: TypeAlias = Secret | aiohttp.DigestAuthMiddleware


class Request(msgspec.Struct, frozen=True):
    """A request that `Client.request` made.

    Attributes:
        path: Encoded; the log names it.
        query: Encoded; "" without one. It may hold a name, so the log does not name it.
        parse: Converts the body of a 200. When it raises InvalidResponse, the request is retried.
        progress: Updated as the request is sent; None for a read.
        body: A form, or JSON; None without a body.
    """

    endpoint: Endpoint
    path: str
    query: str
    bucket: TokenBucket
    parse: Callable[[bytes], object] | None = None
    progress: Sending | None = None
    body: Body | None = None

    def is_cancelled(self) -> bool:
        """Return whether nothing more may be sent."""
        return self.progress is not None and self.progress.cancelled


class RequestCounters(msgspec.Struct):
    """What a client has sent so far, sign-in and answers to digest challenges included.

    The fields are those of `Counts`.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0


class HttpSession(msgspec.Struct):
    """Sends every request, to one base URL.

    Attributes:
        session: Its timeout applies to each attempt.
        base_url: What `parse_base_url` returned.
        proxy_headers: Credentials for the proxy, as `find_proxy` returns them.
        counters: What was sent so far.
        repeats: Requests that a digest middleware sent again, since the client last read it.
    """

    session: aiohttp.ClientSession
    base_url: URL
    proxy_headers: Mapping[str, str] | None = None
    counters: RequestCounters = msgspec.field(default_factory=RequestCounters)
    repeats: int = 0

    async def send(
        self,
        request: Request,
        authorization: Authorization,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send a request once and read its response; redirects are not followed.

        Args:
            request: Its `progress` records what was sent.
            authorization: The header, or what signs the request; for one at a time.
            connect_s: Without a connection after this time, by default the session's limit,
                the request is not sent.

        Returns:
            The response, with any status; the failure without one.
        """
        method = request.endpoint.method
        headers = request.endpoint.headers
        bodies_of_401: list[bytes] = []
        recording = self._recording(request.progress or Sending(), bodies_of_401)
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...]
        if isinstance(authorization, Secret):
            headers = {**headers, "Authorization": authorization.value}
            middlewares = (recording,)
        else:  # the outer one first: the request that it repeats is recorded as well
            middlewares = (authorization, recording)
        timeout = self.session.timeout
        if connect_s is not None:
            timeout = aiohttp.ClientTimeout(total=timeout.total, connect=connect_s)
        try:
            response = await self.session.request(
                method,
                URL(f"{self.base_url}{request.path}?{request.query}", encoded=True),
                data=request.body,
                headers=headers,
                middlewares=middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # its body may have no length
                proxy_headers=self.proxy_headers,
                timeout=timeout,
            )
            try:
                if method == "DELETE" and response.status == NO_CONTENT:
                    body = b""  # do not wait for one that its headers announce
                else:
                    body = await read_body(response)
                if response.status == UNAUTHORIZED and bodies_of_401:
                    body = bodies_of_401[-1]  # `_recording` has read it
                return Response(response.status, response.headers, body)
            finally:
                if not response.closed:  # without a body, the connection is released already
                    response.release()
        except (aiohttp.ClientError, OSError, AttemptFailed) as error:
            return describe_error(error, self.base_url.host or "", timeout)

    def _recording(
        self, progress: Sending, bodies_of_401: list[bytes]
    ) -> aiohttp.ClientMiddlewareType:
        """Return a middleware that records one attempt: what was sent, and the status.

        A digest middleware calls it twice where it repeats the request with the answer to a
        challenge: that is the same attempt. The body of each 401 is added to `bodies_of_401`.
        """
        sent = 0

        async def record(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            nonlocal sent
            if progress.cancelled:  # the last moment at which it can be
                raise AttemptFailed(CANCELLED)
            if sent == 0:
                progress.attempts += 1
            else:
                self.repeats += 1
            sent += 1
            was_pending = progress.response_pending
            progress.response_pending = True
            self.counters.requests += 1
            try:
                response = await handler(request)
            except NOT_SENT_ERRORS:  # as if the request had not been made
                self.counters.requests -= 1
                progress.response_pending = was_pending
                raise
            except TimeoutError:  # which is an OSError, too: `describe_error` has its reason
                raise
            except (aiohttp.ServerDisconnectedError, OSError):
                # After one of these two, aiohttp would send the request again by itself.
                raise AttemptFailed(RequestFailed(LOST)) from None
            progress.response_pending = False
            progress.http_status = response.status
            if response.status == UNAUTHORIZED:
                # Read here, to free the connection before the request is repeated.
                try:
                    bodies_of_401.append(await read_body(response))
                except BaseException:
                    response.close()
                    raise
            return response

        return record


@asynccontextmanager
async def open_http(
    base_url: URL, connector: aiohttp.BaseConnector | None = None
) -> AsyncIterator[HttpSession]:
    """Open what sends the requests of one client, through the proxy of the environment.

    Args:
        connector: Connections that several clients share, and that stay open. None for connections
            of its own, which are closed at the end.
    """
    proxy = find_proxy(base_url)
    async with aiohttp.ClientSession(
        connector=connector or open_connector(),
        connector_owner=connector is None,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy.url,
        timeout=TIMEOUT,
    ) as session:
        yield HttpSession(session, base_url, proxy.headers)


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


def open_connector() -> aiohttp.TCPConnector:
    """Return connections to Atlas without a limit: the client limits the requests."""
    return aiohttp.TCPConnector(limit=0)


def _parse_http_url(text: str) -> URL:
    """Return an HTTP URL; an empty one, without a host, if the text is not one."""
    try:
        url = URL(text)
        is_http = url.scheme in {"http", "https"} and url.port is not None
        (url.raw_host or "").encode("idna")  # as the resolver does, of a name that is too long, too
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

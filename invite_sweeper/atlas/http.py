"""The HTTP session with Atlas: base URL, proxy, connection slots and network errors.

Exceptions of the HTTP library carry the request's headers, and with them the credentials. They
are turned into text here and are not raised further.
"""

import asyncio
import ipaddress
import os
import platform
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from typing_extensions import override
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.responses import CANCELLED, RequestFailed, Response, ResponseOrFailure
from invite_sweeper.errors import UsageError
from invite_sweeper.models import DeletionProgress
from invite_sweeper.redaction import SECRETS

# Network errors.

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
        return _describe_connect_error(error, host, timeout)
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


class NoResendClientResponse(aiohttp.ClientResponse):
    """A response that prevents aiohttp from sending a request again on a broken connection."""

    @override
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the response headers.

        Raises:
            ConnectionLost: The connection broke before they arrived.
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ServerDisconnectedError, OSError):
            raise ConnectionLost from None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the whole response body, decompressed.

    Raises:
        BodyTooLarge: It is longer than `max_bytes`.
        aiohttp.ClientError: It is incomplete.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


# Connection slots.

_UNAUTHORIZED: Final = 401


@dataclass(slots=True)
class RequestCounters:
    """Request counts of a run; all include those to the token endpoint.

    Attributes:
        requests: Requests sent, including retries and those that a digest challenge repeats.
        retries: Attempts after the first of each request.
        rate_limited: Responses with status 429.
        responses: Complete responses of Atlas, in `response_s` seconds together.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    responses: int = 0
    response_s: float = 0.0


class ConnectionSlot:
    """A permit for one request in flight, with its own digest middleware for API keys.

    Attributes:
        middlewares: For one request at a time. The digest middleware is the outer one, so that
            the inner one also counts the request that it repeats. None without digest: then
            the caller calls `on_send`, `on_not_sent` and `on_response`.
        send_count: How often the current request was sent; 2 after a new digest challenge.
        last_401_body: Body of the last 401, read here to free the connection before the
            digest middleware sends the request again.
    """

    def __init__(
        self,
        digest_middleware: aiohttp.DigestAuthMiddleware | None,
        counters: RequestCounters,
        max_bytes: int,
    ) -> None:
        self._counters = counters
        self._max_bytes = max_bytes
        self._progress: DeletionProgress | None = None
        self._was_response_pending = False
        self.send_count = 0
        self.last_401_body = b""
        self.middlewares: Sequence[aiohttp.ClientMiddlewareType] | None = (
            (digest_middleware, self._send) if digest_middleware else None
        )

    def start(self, progress: DeletionProgress | None) -> None:
        """Start one request; `progress` records its state."""
        self._progress = progress
        self.send_count = 0
        self.last_401_body = b""

    def on_send(self) -> None:
        """Record that the request is about to be sent.

        Raises:
            RequestCancelled: The request was cancelled.
        """
        progress = self._progress
        if progress is not None:
            if progress.cancelled:
                raise RequestCancelled
            progress.attempts += self.send_count == 0  # a digest repeat is the same attempt
            self._was_response_pending = progress.response_pending
            progress.response_pending = True
        self.send_count += 1
        self._counters.requests += 1

    def on_not_sent(self) -> None:
        """Undo `on_send`: no byte was sent, because there was no connection."""
        self._counters.requests -= 1
        if self._progress is not None:
            self._progress.response_pending = self._was_response_pending

    def on_response(self, status: int) -> None:
        """Record the status of the response; its body is not read yet."""
        if self._progress is not None:
            self._progress.response_pending = False
            self._progress.http_status = status

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.on_send()
        try:
            response = await handler(request)
        except NOT_SENT_ERRORS:
            self.on_not_sent()
            raise
        self.on_response(response.status)
        if response.status == _UNAUTHORIZED:
            try:
                self.last_401_body = await read_body(response, self._max_bytes)
            except BaseException:
                response.close()
                raise
        return response


class SlotPool:
    """A fixed number of slots, which limits the requests in flight.

    The slot released last is used first, so that few digest middlewares need a challenge:
    the first request of each is answered with 401. A released slot goes directly to the first
    waiter, so no later caller can overtake it.
    """

    def __init__(self, size: int, create_slot: Callable[[], ConnectionSlot]) -> None:
        self._not_created = size
        self._free: list[ConnectionSlot] = []
        self._waiters: deque[asyncio.Future[ConnectionSlot]] = deque()
        self._create_slot = create_slot

    def acquire_nowait(self, progress: DeletionProgress | None) -> ConnectionSlot | None:
        """Return a free slot for one attempt; None if all are in use."""
        if self._free:
            slot = self._free.pop()
        elif self._not_created:
            self._not_created -= 1
            slot = self._create_slot()
        else:
            return None
        slot.start(progress)
        return slot

    async def acquire(self, progress: DeletionProgress | None) -> ConnectionSlot:
        """Wait for the next slot that is released, and return it."""
        waiter: asyncio.Future[ConnectionSlot] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            slot = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it has a slot already
                self.release(waiter.result())
            raise
        slot.start(progress)
        return slot

    def release(self, slot: ConnectionSlot) -> None:
        """Pass the slot to the first waiter; without waiters, it is free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # the waiter may have been cancelled
                waiter.set_result(slot)
                return
        self._free.append(slot)


# URLs.


def parse_base_url(text: str) -> URL:
    """Parse the base URL of Atlas; trailing slashes are removed.

    Raises:
        UsageError: It is not an `https` URL with a host (`http` is allowed for loopback), or
            it contains a user name, query or fragment. The message never repeats those.
    """
    hint = "Write it as https://cloud.mongodb.com."
    try:
        url = URL(text.strip().rstrip("/"))
        host, port = url.host, url.port
    except ValueError:
        host, port, url = None, None, URL()
    if not host or url.scheme not in {"http", "https"} or port == 0:
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


def absolute_url(base_url: URL, path: str) -> URL:
    """Return the URL of an encoded path, which may have a query.

    Without a query, as in every DELETE, `with_path` is three times as fast as parsing a URL.
    """
    if "?" in path:
        return URL(f"{base_url}{path}", encoded=True)
    base_path = base_url.raw_path
    return base_url.with_path(path if base_path == "/" else f"{base_path}{path}", encoded=True)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback, without a DNS lookup."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The session.

USER_AGENT: Final = (
    f"invite-sweeper/{__version__} ({platform.system().lower()}; {platform.machine()})"
)
_NO_CONTENT: Final = 204
_TRANSPORT_ERRORS: Final = (
    aiohttp.ClientError,
    OSError,
    ConnectionLost,
    RequestCancelled,
    BodyTooLarge,
)


@dataclass(frozen=True, slots=True)
class HttpSession:
    """Sends every request, to one base URL.

    Attributes:
        session: Its timeout applies to each attempt.
        base_url: As `parse_base_url` returns it.
        proxy_headers: Credentials for the proxy, as `find_proxy` returns them.
    """

    session: aiohttp.ClientSession
    base_url: URL
    max_body_bytes: int
    counters: RequestCounters
    proxy_headers: Mapping[str, str] | None = None

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        slot: ConnectionSlot,
        body: Mapping[str, str] | bytes | None = None,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send one request and read its response; redirects are not followed.

        Without a connection after `connect_s` (default: the session's limit), the request is not
        sent.
        """
        timeout = self.session.timeout
        if connect_s is not None:
            timeout = aiohttp.ClientTimeout(total=timeout.total, connect=connect_s)
        has_digest = slot.middlewares is not None  # then the slot counts each request itself
        try:
            if not has_digest:
                slot.on_send()
            response = await self.session.request(
                method,
                absolute_url(self.base_url, path),
                data=body,
                headers=headers,
                middlewares=slot.middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # its body may have no length
                proxy_headers=self.proxy_headers,
                timeout=timeout,
            )
            if not has_digest:
                slot.on_response(response.status)
            try:
                # A 204 has no body: do not wait for one that its headers announce.
                done = method == "DELETE" and response.status == _NO_CONTENT
                content = b"" if done else await read_body(response, self.max_body_bytes)
                return Response(response.status, response.headers, content or slot.last_401_body)
            finally:
                if not response.closed:  # without a body, the connection is released already
                    response.release()
        except _TRANSPORT_ERRORS as error:
            if not has_digest and isinstance(error, NOT_SENT_ERRORS):
                slot.on_not_sent()
            return describe_error(error, self.base_url.host or "", timeout)

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> ResponseOrFailure:
        """Send one form to the token endpoint, without a slot of the pool."""
        slot = ConnectionSlot(None, self.counters, self.max_body_bytes)
        return await self.send("POST", path, headers, slot, form)


# The proxy.

_SCHEMES: Final = frozenset({"http", "https"})


def find_proxy(base_url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    """Return the proxy of the environment and its headers; loopback never uses one.

    aiohttp's `trust_env` would read the environment for each request, in a thread, and would
    also send credentials from `.netrc`.

    Raises:
        UsageError: The variable does not contain an HTTP proxy URL.
    """
    host = base_url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None, None
    address = urllib.request.getproxies().get(base_url.scheme)
    if not address:
        return None, None
    proxy = _parse_proxy_url(address)
    if proxy is None:
        # The message does not repeat the value: it may contain a password.
        raise UsageError(
            f"The value of {_proxy_variable(base_url.scheme)} is not a valid proxy URL.",
            hint="Write it as http://HOST:PORT; other kinds of proxies are not supported.",
        )
    if proxy.user is None:
        return proxy, None
    SECRETS.add_user_info(address)
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return proxy.with_user(None), {"Proxy-Authorization": login}


def _parse_proxy_url(address: str) -> URL | None:
    try:
        proxy = URL(address)
    except ValueError:
        return None
    return proxy if proxy.scheme in _SCHEMES and proxy.host else None


def _proxy_variable(scheme: str) -> str:
    """Return the variable's name as it is set; the lower-case one has precedence."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else name.upper()

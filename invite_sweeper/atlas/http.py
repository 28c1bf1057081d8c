"""Session, connection slots, timeouts, proxy, network errors."""

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

# Describe transport errors as text, without the class names of a library.
#
# An exception of the HTTP library carries the request's headers, and with them the
# credentials: it is turned into text here and goes no further.


_HOSTNAME_MISMATCH_CODES: Final = frozenset({62, 64})
_CERTIFICATE_EXPIRED_CODE: Final = 10
_UNKNOWN_ISSUER_CODES: Final = frozenset({18, 19, 20, 21})
_PROXY_AUTHENTICATION_REQUIRED: Final = 407

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


_FIXED_FAILURES: Final[tuple[tuple[tuple[type[Exception], ...], RequestFailed], ...]] = (
    (
        (ConnectionLost, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError),
        RequestFailed("the connection was cut before the answer was there"),
    ),
    ((RequestCancelled,), CANCELLED),
    ((BodyTooLarge,), RequestFailed("the answer is longer than any of Atlas's", retryable=False)),
    ((aiohttp.ClientPayloadError,), RequestFailed("the answer was cut short")),
    ((aiohttp.ClientResponseError,), RequestFailed("the answer is not HTTP")),
)


def describe_error(
    error: BaseException, host: str, timeout: aiohttp.ClientTimeout
) -> RequestFailed:
    """Return the failure that an exception of one attempt stands for."""
    if isinstance(error, NOT_SENT_ERRORS):
        return _describe_connect_error(error, host, timeout)
    for kinds, failure in _FIXED_FAILURES:
        if isinstance(error, kinds):
            return failure
    if isinstance(error, TimeoutError):
        return RequestFailed(f"timed out after {timeout.total:g} s")
    if isinstance(error, OSError):
        return RequestFailed(f"the connection to {host} broke: {_system_error(error)}")
    # What is left is a challenge that the digest sign-in cannot answer.
    return RequestFailed("the sign-in challenge cannot be answered", retryable=False)


def _describe_connect_error(
    error: BaseException, host: str, timeout: aiohttp.ClientTimeout
) -> RequestFailed:
    match error:
        case aiohttp.ClientHttpProxyError():
            needs_password = error.status == _PROXY_AUTHENTICATION_REQUIRED
            return RequestFailed(f"the proxy answered {error.status}", retryable=not needs_password)
        case aiohttp.ClientConnectorCertificateError():
            return RequestFailed(_certificate_error(error.certificate_error, host), retryable=False)
        case aiohttp.ClientConnectorDNSError():
            return RequestFailed(f"name not found: {error.host}")
        case aiohttp.ClientSSLError():
            return RequestFailed(f"no TLS connection to {host}")
        case aiohttp.ClientConnectorError():
            proxy = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return RequestFailed(
                f"no connection to {proxy}{error.host}: {_system_error(error.os_error)}"
            )
        case _:
            return RequestFailed(f"no connection to {host} within {timeout.connect:g} s")


def _certificate_error(error: Exception, host: str) -> str:
    code: object = getattr(error, "verify_code", None)
    if code in _HOSTNAME_MISMATCH_CODES:
        return f"certificate not valid for {host}"
    if code == _CERTIFICATE_EXPIRED_CODE:
        return f"certificate of {host} has expired"
    if code in _UNKNOWN_ISSUER_CODES:
        return f"certificate of {host} is signed by an authority that is not known here"
    return f"certificate of {host} is refused"


def _system_error(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or "no reason given").lower()


# A response while it is received, as the HTTP library sees it.


class NoResendClientResponse(aiohttp.ClientResponse):
    """A response whose broken connection does not make the library send again."""

    @override
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for its head.

        Raises:
            ConnectionLost: The connection broke before.
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ServerDisconnectedError, OSError):
            raise ConnectionLost from None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body to its end, unpacked.

    Raises:
        BodyTooLarge: It is longer than `max_bytes`.
        aiohttp.ClientError: It was cut short.
    """
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


# Connection slots: how many requests are in flight, and what each one really sends.


_UNAUTHORIZED: Final = 401


@dataclass(slots=True)
class RequestCounters:
    """What was sent, over the whole run.

    Attributes:
        requests: All that were sent: unsigned first requests, token calls and retries too.
        retries: Attempts after the first of a request.
        rate_limited: Responses with 429, those to token calls too.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0


class ConnectionSlot:
    """Room for one request in flight, with a signer of its own where requests are signed.

    Attributes:
        middlewares: For one request at a time; the signer is outside, so that the inner one
            counts what the signer sends a second time, too. None where no request is signed:
            then the caller reports each request to the slot.
        sent: How often its request was sent; twice where the signer met a new challenge.
        last_401_body: Read here to free the connection before the signer sends again.
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

    def start(self, trail: DeletionProgress | None) -> None:
        """Begin one request; `trail` records what happens to it."""
        self._progress = trail
        self.send_count = 0
        self.last_401_body = b""

    def on_send(self) -> None:
        """Record that the request is about to be sent.

        Raises:
            RequestCancelled: It must not be sent.
        """
        trail = self._progress
        if trail is not None:
            if trail.cancelled:
                raise RequestCancelled
            trail.attempts += self.send_count == 0  # what a signer sends again is the same attempt
            self._was_response_pending = trail.response_pending
            trail.response_pending = True
        self.send_count += 1
        self._counters.requests += 1

    def on_not_sent(self) -> None:
        """Take that back: there was no connection, and no byte was sent."""
        self._counters.requests -= 1
        if self._progress is not None:
            self._progress.response_pending = self._was_response_pending

    def on_response(self, status: int) -> None:
        """Record that its response has begun."""
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
    """As many slots as requests may be in flight; the last one released is used first.

    So a run that needs few warms few: a signer's first request is refused on purpose. A
    waiter receives a slot directly, so no later caller can overtake it.
    """

    def __init__(self, size: int, create_slot: Callable[[], ConnectionSlot]) -> None:
        self._not_created = size
        self._free: list[ConnectionSlot] = []
        self._waiters: deque[asyncio.Future[ConnectionSlot]] = deque()
        self._create_slot = create_slot

    def acquire_nowait(self, trail: DeletionProgress | None) -> ConnectionSlot | None:
        """Return a free slot for one attempt; None where all are in use."""
        if self._free:
            slot = self._free.pop()
        elif self._not_created:
            self._not_created -= 1
            slot = self._create_slot()
        else:
            return None
        slot.start(trail)
        return slot

    async def acquire(self, trail: DeletionProgress | None) -> ConnectionSlot:
        """Wait for a slot, where none is free."""
        waiter: asyncio.Future[ConnectionSlot] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            slot = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was handed over meanwhile
                self.release(waiter.result())
            raise
        slot.start(trail)
        return slot

    def release(self, slot: ConnectionSlot) -> None:
        """Hand the slot to the first waiter, or keep it free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # the waiter may have been cancelled
                waiter.set_result(slot)
                return
        self._free.append(slot)


# Where Atlas is, read from what a person wrote.


def parse_base_url(text: str) -> URL:
    """Read the address of Atlas, without a slash at its end.

    Raises:
        UsageFault: No `https` address of a host (plain `http` is for loopback alone), or
            one with a user name, a query or a fragment. Never repeats a user name.
    """
    hint = "Write it as https://cloud.mongodb.com."
    try:
        url = URL(text.strip().rstrip("/"))
        host, port = url.host, url.port
    except ValueError:
        host, port, url = None, None, URL()
    if not host or url.scheme not in {"http", "https"} or port == 0:
        raise UsageError("The base URL is not an http address with a host.", hint=hint)
    if url.raw_user is not None or url.raw_password is not None:
        raise UsageError("The base URL holds a user name or password.", hint=hint)
    if "?" in text or "#" in text:
        raise UsageError("The base URL holds a query or a fragment.", hint=hint)
    if url.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"The base URL would send credentials to {host} unencrypted.",
            hint="Use https; http is for loopback addresses alone.",
        )
    return url


def absolute_url(base_url: URL, path: str) -> URL:
    """Give the address of a path, or of a path and a query, both encoded.

    Nothing but the path is new where there is no query, and yarl makes that three times as
    fast as an address that it has to take apart; every DELETE is such a one.
    """
    if "?" in path:
        return URL(f"{base_url}{path}", encoded=True)
    base_path = base_url.raw_path
    return base_url.with_path(path if base_path == "/" else f"{base_path}{path}", encoded=True)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its very name, without asking a resolver."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The HTTP session with Atlas: one base URL, and one attempt of each request.


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
    """The session that sends every request.

    Attributes:
        session: Its timeout holds for each attempt.
        base_url: The only address that anything is sent to.
        proxy_headers: How the proxy knows us; None where it need not.
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
    ) -> ResponseOrFailure:
        """Send one request and read its response. Redirects are not followed."""
        signed = slot.middlewares is not None  # then the slot counts each request itself
        try:
            if not signed:
                slot.on_send()
            response = await self.session.request(
                method,
                absolute_url(self.base_url, path),
                data=body,
                headers=headers,
                middlewares=slot.middlewares,
                allow_redirects=False,
                read_until_eof=method != "DELETE",  # not for a body without a length
                proxy_headers=self.proxy_headers,
            )
            if not signed:
                slot.on_response(response.status)
            try:
                # A 204 has no body; one that is announced all the same is not waited for.
                done = method == "DELETE" and response.status == _NO_CONTENT
                content = b"" if done else await read_body(response, self.max_body_bytes)
                return Response(response.status, response.headers, content or slot.last_401_body)
            finally:
                if not response.closed:  # a head without a body has freed its connection
                    response.release()
        except _TRANSPORT_ERRORS as error:
            if not signed and isinstance(error, NOT_SENT_ERRORS):
                slot.on_not_sent()
            return describe_error(error, self.base_url.host or "", self.session.timeout)

    async def post_form(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> ResponseOrFailure:
        """Send one form to the token endpoint; it needs no slot of the pool."""
        slot = ConnectionSlot(None, self.counters, self.max_body_bytes)
        return await self.send("POST", path, headers, slot, form)


# The proxy on the way to Atlas, as the environment names it.


_SCHEMES: Final = frozenset({"http", "https"})


def find_proxy(base_url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    """Find the proxy that the environment names, once; loopback has none.

    The library's own look at the environment would be repeated for each request, in a
    thread, and would take credentials from a `.netrc` beside ours.

    Raises:
        UsageFault: What is named there is no proxy's address. Atlas was not called.
    """
    host = base_url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None, None
    address = urllib.request.getproxies().get(base_url.scheme)
    if not address:
        return None, None
    proxy = _parse_proxy_url(address)
    if proxy is None:
        # It is not repeated: there may be a password in it.
        raise UsageError(
            f"What {_proxy_variable(base_url.scheme)} holds is no proxy's address.",
            hint="Write it as http://HOST:PORT; proxies of other kinds are not spoken to.",
        )
    if proxy.user is None:
        return proxy, None
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return proxy.with_user(None), {"Proxy-Authorization": login}


def _parse_proxy_url(address: str) -> URL | None:
    try:
        proxy = URL(address)
    except ValueError:
        return None
    return proxy if proxy.scheme in _SCHEMES and proxy.host else None


def _proxy_variable(scheme: str) -> str:
    """Name the variable as it is written in the environment; the lower case one goes first."""
    name = f"{scheme}_proxy"
    return name if os.environ.get(name) else name.upper()

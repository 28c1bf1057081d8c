"""HTTP: a request, one send with its counters, the body of its response, what its headers show.

An exception of the HTTP library is not raised further: `network` turns it into text.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.client import NO_CONTENT, UNAUTHORIZED
from typing import Final, NamedTuple, TypeAlias

import aiohttp
import msgspec
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import SOURCES, Endpoint
from invite_sweeper.atlas.limits import TokenBucket
from invite_sweeper.atlas.network import LOST, NOT_SENT_ERRORS, AttemptFailed, describe_error
from invite_sweeper.atlas.responses import CANCELLED, RequestFailed, Response, ResponseOrFailure
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Sending

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


class Request(NamedTuple):
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


@dataclass(slots=True)
class HttpSession:
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
    counters: RequestCounters = field(default_factory=RequestCounters)
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
            headers = {**headers, "Authorization": authorization.get_secret_value()}
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
            if progress.cancelled:
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


_MAX_DIGITS: Final = 9
"""The most digits of a number in a header; a longer one counts no seconds or requests."""


@lru_cache(maxsize=64)
def parse_date(raw: str) -> datetime | None:
    """Return the date of a header in UTC; None if it is unreadable.

    Cached: every response about invitations has the same `Sunset`.

    Source:
        The recordings (read 2026-08): the day may have one digit (`Sunset: Thu, 1 Jul 2027
        00:00:00 GMT`).
    """
    try:
        moment = parsedate_to_datetime(raw)
        if moment.tzinfo is None:  # without a zone, or with `-0000`
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    """Return the number of a header that has a whole one from 0; None if missing or unreadable."""
    raw = headers.get(name, "")
    is_number = raw.isascii() and raw.isdigit() and len(raw) <= _MAX_DIGITS
    return int(raw) if is_number else None


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], datetime]) -> float | None:
    """Return the seconds from now to `Retry-After`; None if it is missing or unreadable.

    Source: RFC 9110, 10.2.3: seconds or a date.
    """
    wait_s = parse_int_header(headers, "Retry-After")
    if wait_s is not None:
        return wait_s
    moment = parse_date(headers.get("Retry-After", ""))
    return None if moment is None else (moment - clock()).total_seconds()


_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""
_SOURCE_OF: Final = {api.list: source for source, api in SOURCES.items()} | {
    api.delete: source for source, api in SOURCES.items()
}
"""The list that the `Sunset` header of an endpoint is about."""


class ServerInfo:
    """What the responses of a run have shown of Atlas so far.

    Its `Date` is compared with the run's clock. A clock that is wrong shows in the first one, and
    an answer out of a cache in each: it is older than it seems, so nothing may be deleted by it.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        sunsets: The last `Sunset` date of each list: Atlas may remove it from then on.
        has_answered: There was a response, with any status.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.sunsets: dict[Source, date] = {}
        self.has_answered = False

    def age_s(self, headers: Mapping[str, str], took_s: float) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It has an `Age`, or a `Date` that Atlas's clock did not
        show between request and answer.

        Args:
            headers: Of an answer that has just arrived.
            took_s: The time since its request was sent.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        dated = parse_date(headers.get("Date", ""))
        if dated is None or self.clock_skew_s is None:
            return age_s
        # `Date` is of Atlas's clock, and that of the run is later by the skew.
        since_s = (self.clock() - dated).total_seconds() - self.clock_skew_s
        early_s, late_s = since_s - took_s, -since_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, response: Response, endpoint: Endpoint) -> None:
        """Record the headers of a response that was received now."""
        if self.clock_skew_s is None and response.is_success:
            dated = parse_date(response.headers.get("Date", ""))
            if dated is not None:
                self.clock_skew_s = (self.clock() - dated).total_seconds()
        source = _SOURCE_OF.get(endpoint)
        sunset = parse_date(response.headers.get("Sunset", ""))
        if source is not None and sunset is not None:
            self.sunsets[source] = sunset.date()

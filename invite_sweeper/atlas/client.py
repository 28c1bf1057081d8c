"""One call to Atlas: path, rate-limit token, connection slot, credentials, send, retries."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

import aiohttp
from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import Authenticator
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Endpoint, build_path
from invite_sweeper.atlas.http import HttpSession, parse_date, parse_int_header, retry_after_s
from invite_sweeper.atlas.limiter import RateLimiter
from invite_sweeper.atlas.limits import BucketKey
from invite_sweeper.atlas.responses import (
    CANCELLED,
    NO_CONTENT,
    OK,
    REDIRECT,
    TOO_MANY_REQUESTS,
    InvalidResponse,
    RequestFailed,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    is_unauthenticated,
    is_unprocessed,
    parse_error,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import Attempt, RetryPolicy, retry
from invite_sweeper.models import DeletionProgress, RequestCounters

T = TypeVar("T")
_BACK_OFF_STATUSES: Final = frozenset({TOO_MANY_REQUESTS, 503})

MAX_LOOK_AGE_S: Final = 1.0
"""Of the look that a request depends on when the request is sent, counted from its start."""
_MAX_LOOKS: Final = 3
"""Per attempt, if the looks take too long."""
_EARLY_TOLERANCE_S: Final = 5.0
"""`Date` has no fraction, and the servers behind one address may differ."""
_LATE_TOLERANCE_S: Final = 120.0
"""The known skew contains the duration of the first response."""


class ServerInfo:
    """Collected from every response.

    Attributes:
        clock_skew_s: Local clock minus Atlas's at the first 2xx response with a `Date` header,
            to the second; None before that.
        authenticated: Atlas has sent a 2xx response, so it accepts the credentials.
        sunsets: The `Sunset` date of each endpoint: Atlas may remove it from then on.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.authenticated = False
        self.sunsets: dict[Endpoint, date] = {}

    def age_s(self, headers: Mapping[str, str], sent_at: datetime) -> float:
        """Return how long before its request an answer was made; 0.0 for one that is fresh.

        Only a cache returns an older one. It tells by `Age`, or by a `Date` that Atlas's clock
        did not show between the request and now.

        Args:
            headers: Of the answer.
            sent_at: When the request was sent, by the local clock.
        """
        age_s = float(parse_int_header(headers, "Age") or 0)
        theirs = parse_date(headers.get("Date", ""))
        if theirs is None or self.clock_skew_s is None:
            return age_s
        early_s = (sent_at - theirs).total_seconds() - self.clock_skew_s
        late_s = (theirs - self.clock()).total_seconds() + self.clock_skew_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, headers: Mapping[str, str], endpoint: Endpoint, *, good: bool) -> None:
        """Record the headers of one response; `good` if its status was 2xx."""
        self.authenticated |= good
        if good and self.clock_skew_s is None and (theirs := parse_date(headers.get("Date", ""))):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        if moment := parse_date(headers.get("Sunset", "")):
            self.sunsets[endpoint] = moment.date()


class Request(NamedTuple):
    """A request that `Client.request` made. A named tuple, because a run creates many.

    Attributes:
        key: The bucket that its tokens are taken from.
        parse: Converts the body of a 200. When it raises InvalidResponse, the request is retried.
        progress: Updated as the request is sent; None for a read.
        body: JSON; None without a body.
    """

    endpoint: Endpoint
    path: str
    key: BucketKey
    parse: Callable[[bytes], object] | None = None
    progress: DeletionProgress | None = None
    body: bytes | None = None

    def is_cancelled(self) -> bool:
        """Return whether its deletion was cancelled, so that nothing more may be sent."""
        return self.progress is not None and self.progress.cancelled


class LookAndAnswer(NamedTuple):
    """The results of `Client.call_after`.

    Attributes:
        answer: None if the request was not sent after this look.
    """

    look: ResponseOrFailure
    answer: ResponseOrFailure | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether nothing can have happened yet."""
        return self.answer is None or is_unprocessed(self.answer)


class _Slot(NamedTuple):
    """What a request needs in order to be sent at once.

    Attributes:
        header: The `Authorization` header; None if `digest` signs the requests.
        tokens: The buckets of acquired tokens; each request uses the last one.
    """

    header: Secret | None
    digest: aiohttp.DigestAuthMiddleware | None
    tokens: list[BucketKey]


class Client:
    """Sends requests with one set of credentials, and retries them until the result is final.

    Attributes:
        actor: The name of the credentials.
        limiter: Their rate limits.
        server: What the responses showed of Atlas.
        counters: Requests sent so far.
    """

    def __init__(
        self,
        http: HttpSession,
        authenticator: Authenticator,
        *,
        actor: str,
        limiter: RateLimiter,
        concurrency: int,
        retry_policy: RetryPolicy,
        clock: Callable[[], datetime],
        log: FilteringBoundLogger,
    ) -> None:
        self.actor = actor
        self.limiter = limiter
        self.server = ServerInfo(clock)
        self.counters: RequestCounters = http.counters
        self._http = http
        self._authenticator = authenticator
        self._slots = asyncio.Semaphore(concurrency)
        self._digests: list[aiohttp.DigestAuthMiddleware] = []
        self._retry_policy = retry_policy
        self._log = log

    def request(
        self,
        endpoint: Endpoint,
        *ids: str,
        page: int | None = None,
        since: datetime | None = None,
        parse: Callable[[bytes], object] | None = None,
        progress: DeletionProgress | None = None,
        body: bytes | None = None,
    ) -> Request:
        """Return a request; see `call`.

        Raises:
            InvalidRequest: As for `build_path`.
        """
        path = build_path(endpoint, *ids, page=page, since=since)
        scope_id = self.actor if endpoint.scope is None else ids[endpoint.scope]
        key = BucketKey(endpoint.endpoint_set, scope_id)
        return Request(endpoint, path, key, parse, progress, body)

    async def call(
        self,
        endpoint: Endpoint,
        *ids: str,
        page: int | None = None,
        since: datetime | None = None,
        parse: Callable[[bytes], object] | None = None,
        progress: DeletionProgress | None = None,
        token_taken: bool = False,
    ) -> ResponseOrFailure:
        """Send a request, retry it as the retry policy allows, and return the last result.

        Args:
            endpoint: One of `ENDPOINTS`.
            ids: One for each `{}` of its template, in order.
            page: From 1; only for a paged endpoint.
            since: Aware UTC; only for a dated endpoint.
            parse: Converts the body of a 200. If it raises InvalidResponse, the request is
                retried.
            progress: Updated as the request is sent; None for a read.
            token_taken: The caller has acquired the rate-limit token of the first attempt.

        Raises:
            RunError: No access token is available.
            InvalidRequest: As for `build_path`. Nothing was sent.
        """
        request = self.request(
            endpoint, *ids, page=page, since=since, parse=parse, progress=progress
        )
        if not token_taken:
            await self.limiter.acquire(request.key)
        send = partial(self._send, request)
        first = await self._in_slot(send, request.key)
        if classify(first.result) is RetryDecision.DONE:
            return first.result
        return (await self._retry(request, first, send, (request.key,))).result

    async def call_once(
        self, endpoint: Endpoint, *ids: str, progress: DeletionProgress, body: bytes
    ) -> ResponseOrFailure:
        """Send a request that is not idempotent: only a 401 is retried, once.

        Raises:
            RunError: No access token is available.
            InvalidRequest: As for `build_path`. Nothing was sent.
        """
        request = self.request(endpoint, *ids, progress=progress, body=body)
        await self.limiter.acquire(request.key)
        send = partial(self._send, request)
        first = await self._in_slot(send, request.key)
        if not is_unauthenticated(first.result) or self._retry_policy.attempts == 1:
            return first.result
        await self._authenticator.refresh(first.header)
        await self._acquire_for_retry(request, 1)
        self.counters.retries += 1
        return (await self._in_slot(send, request.key)).result

    async def call_after(
        self, look: Request, may_send: Callable[[ResponseOrFailure], bool], request: Request
    ) -> LookAndAnswer:
        """Send a request at most once, directly after a look that allows it.

        Both are repeated, from the look on, only while nothing can have happened: the look failed,
        or the request was not processed (`is_unprocessed`).

        Args:
            look: Sent when nothing is left that the request could wait for.
            may_send: Whether the request may be sent after this result of the look.
            request: The caller has acquired one token of its bucket for it and one for the look.

        Raises:
            RunError: No access token is available.
        """
        last = LookAndAnswer(CANCELLED)

        async def send(slot: _Slot) -> Attempt:
            nonlocal last
            last = await self._send_after(look, may_send, request, slot)
            return Attempt(last.look if last.answer is None else last.answer, slot.header)

        def decide(result: ResponseOrFailure) -> RetryDecision:
            return classify(result) if last.may_repeat else RetryDecision.DONE

        keys = (look.key, request.key)
        first = await self._in_slot(send, *keys)
        if decide(first.result) is not RetryDecision.DONE:
            final = await self._retry(request, first, send, keys, decide)
            if final.result is CANCELLED:  # before another attempt
                return last._replace(answer=CANCELLED)
        return last

    async def _retry(
        self,
        request: Request,
        first: Attempt,
        send: Callable[[_Slot], Awaitable[Attempt]],
        keys: tuple[BucketKey, ...],
        decide: Callable[[ResponseOrFailure], RetryDecision] = classify,
    ) -> Attempt:
        last, progress = first, request.progress

        async def again() -> Attempt:
            nonlocal last
            if is_unauthenticated(last.result):
                await self._authenticator.refresh(last.header)
            if await self._acquire_for_retry(request, len(keys)):
                self.counters.retries += 1
                last = await self._in_slot(send, *keys)
            else:
                last = Attempt(CANCELLED, last.header)
            return last

        def on_wait(result: ResponseOrFailure, wait_s: float) -> None:
            why = result.reason if isinstance(result, RequestFailed) else result.status
            self._log.debug("retrying", path=request.path, wait_s=round(wait_s, 3), why=why)
            if progress is not None and progress.on_backoff is not None:
                progress.on_backoff()

        last, cut_short = await retry(
            first,
            again,
            self._retry_policy,
            clock=self.server.clock,
            blocked_s=partial(self.limiter.blocked_s, request.key),
            on_wait=on_wait,
            cancelled=request.is_cancelled if progress is not None else None,
            decide=decide,
        )
        if progress is not None:
            progress.retries_cut_short |= cut_short
        if is_unauthenticated(last.result) and not cut_short:
            # Later requests need a token that works.
            await self._authenticator.refresh(last.header)
        return last

    async def _acquire_for_retry(self, request: Request, tokens: int) -> bool:
        """Acquire the tokens of a retry; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        is_cancelled = request.is_cancelled if request.progress is not None else None
        for acquired in range(tokens):
            while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
                await self._retry_policy.wait(wait_s, is_cancelled)
                if request.is_cancelled():
                    self.limiter.release([request.key] * acquired)
                    return False
        return True

    async def _in_slot(self, send: Callable[[_Slot], Awaitable[T]], *keys: BucketKey) -> T:
        """Wait for all that can take time, then send: nothing waits between requests of `send`.

        Args:
            send: Sends requests; tokens that it has not used are released.
            keys: The buckets of acquired tokens.
        """
        tokens = list(keys)
        try:
            if self.limiter.is_spaced:
                for _ in keys:
                    await self._wait_for_spacing()
            async with self._slots:
                authenticator = self._authenticator
                header = authenticator.cached_header() or await authenticator.header()
                # The middleware released last is used first, so that few need a challenge.
                digest = self._digests.pop() if self._digests else authenticator.new_digest()
                try:
                    return await send(_Slot(header, digest, tokens))
                finally:
                    if digest is not None:
                        self._digests.append(digest)
        finally:
            if tokens:
                self.limiter.release(tokens)

    async def _send_after(
        self,
        look: Request,
        may_send: Callable[[ResponseOrFailure], bool],
        request: Request,
        slot: _Slot,
    ) -> LookAndAnswer:
        """Send a look, and the request if the look allows it and is recent."""
        for number in range(_MAX_LOOKS):
            if request.is_cancelled():
                return LookAndAnswer(CANCELLED, CANCELLED)
            if number:
                await self.limiter.acquire(look.key)
                slot.tokens.append(look.key)
                await self._wait_for_spacing()
            started_s = self._retry_policy.monotonic()
            seen = (await self._send(look, slot)).result
            if not may_send(seen):
                return LookAndAnswer(seen)
            left_s = started_s + MAX_LOOK_AGE_S - self._retry_policy.monotonic()
            if left_s > 0:
                return LookAndAnswer(seen, (await self._send(request, slot, left_s)).result)
        reason = f"reading the user took longer than {MAX_LOOK_AGE_S:g} s"
        return LookAndAnswer(RequestFailed(reason))

    async def _send(self, request: Request, slot: _Slot, connect_s: float | None = None) -> Attempt:
        """Send a request without any wait before, and process its response.

        Args:
            request: Completes the last token of the slot.
            slot: Where it is sent.
            connect_s: As for `HttpSession.send`.
        """
        endpoint, headers = request.endpoint, dict(request.endpoint.headers)
        if slot.header is not None:
            headers["Authorization"] = slot.header.get_secret_value()
        slot.tokens.pop()
        sent_s = self._retry_policy.monotonic()
        sent_at = self.server.clock() if endpoint.method == "GET" else None
        result = await self._http.send(
            endpoint.method,
            request.path,
            headers,
            body=request.body,
            progress=request.progress,
            digest=slot.digest,
            connect_s=connect_s,
        )
        if not isinstance(result, Response):
            self.limiter.on_response(request.key, limit=None, remaining=None, sent_s=sent_s)
            return Attempt(result, slot.header)
        if result.status not in _BACK_OFF_STATUSES or not self._back_off(request, result, sent_s):
            limit = parse_int_header(result.headers, "RateLimit-Limit")
            remaining = parse_int_header(result.headers, "RateLimit-Remaining")
            self.limiter.on_response(request.key, limit=limit, remaining=remaining, sent_s=sent_s)
        age_s = 0.0 if sent_at is None else self.server.age_s(result.headers, sent_at)
        if age_s > endpoint.max_age_s:
            reason = f"the response is from a cache, {age_s:.0f} s off the time of its request"
            return Attempt(RequestFailed(reason, http_status=result.status), slot.header)
        self.server.update(result.headers, endpoint, good=result.status < REDIRECT)
        if request.progress is not None:
            is_explained = result.status != NO_CONTENT
            request.progress.error_code = parse_error(result).code if is_explained else None
        if result.status == OK and request.parse is not None:
            return Attempt(_parsed(result, request.parse), slot.header)
        return Attempt(result, slot.header)

    async def _wait_for_spacing(self) -> None:
        """Wait for `max_requests_per_second`, outside of the request's timeout.

        A request that a digest middleware repeated is accounted for before the next one.
        """
        if not self.limiter.is_spaced:
            return
        await self.limiter.wait_for_spacing()
        while self._http.repeats:
            self._http.repeats -= 1
            await self.limiter.wait_for_spacing()

    def _back_off(self, request: Request, response: Response, sent_s: float) -> bool:
        """Apply a 429, or a 503 with `Retry-After`, to the bucket; return whether it was one."""
        requested_s = retry_after_s(response.headers, self.server.clock)
        if response.status == TOO_MANY_REQUESTS:
            self.counters.rate_limited += 1
            wait_s, limit = parse_rate_limit_error(response)
            if limit is not None:
                self.limiter.set_limit(request.key, limit)
            requested_s = requested_s or wait_s
        elif requested_s is None:
            return False
        self.limiter.on_429(request.key, requested_s, sent_s=sent_s)
        return True


def _parsed(response: Response, parse: Callable[[bytes], object]) -> ResponseOrFailure:
    try:
        return response._replace(value=parse(response.body))
    except InvalidResponse as error:
        reason = f"unexpected response from Atlas: {error}"
        return RequestFailed(reason, http_status=response.status)

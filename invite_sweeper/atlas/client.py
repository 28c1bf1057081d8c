"""One call to Atlas: path, rate-limit token, connection slot, credentials, send, retries."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from functools import partial
from typing import Final, NamedTuple

import aiohttp
from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import Authenticator
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Endpoint, Request, build_path
from invite_sweeper.atlas.http import (
    HttpSession,
    parse_date_header,
    parse_int_header,
    retry_after_s,
)
from invite_sweeper.atlas.limiter import RateLimiter
from invite_sweeper.atlas.limits import BucketKey, BucketLimit
from invite_sweeper.atlas.responses import (
    CANCELLED,
    InvalidResponse,
    RequestFailed,
    Response,
    ResponseOrFailure,
    is_unauthenticated,
    is_unprocessed,
    parse_error,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import Attempt, RetryDecision, RetryPolicy, classify, retry
from invite_sweeper.models import DeletionProgress, RequestCounters

_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY_REQUESTS: Final = 429
_BACK_OFF_STATUSES: Final = frozenset({_TOO_MANY_REQUESTS, 503})

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
        has_responded: Atlas has sent any response.
        authenticated: Atlas has sent a 2xx response, so it accepts the credentials.
        sunsets: The `Sunset` date of each endpoint: Atlas may remove it from then on.

    Source:
        Recorded responses (read 2026-08): responses about invitations have the header, also
        errors and 204; the sunset has moved three times.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.clock_skew_s: float | None = None
        self.has_responded = False
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
        theirs = parse_date_header(headers, "Date")
        if theirs is None or self.clock_skew_s is None:
            return age_s
        early_s = (sent_at - theirs).total_seconds() - self.clock_skew_s
        late_s = (theirs - self.clock()).total_seconds() + self.clock_skew_s
        is_off = early_s > _EARLY_TOLERANCE_S or late_s > _LATE_TOLERANCE_S
        return max(age_s, early_s, late_s) if is_off else age_s

    def update(self, headers: Mapping[str, str], endpoint: Endpoint, *, good: bool) -> None:
        """Record the headers of one response; `good` if its status was 2xx."""
        self.has_responded = True
        self.authenticated |= good
        if good and self.clock_skew_s is None and (theirs := parse_date_header(headers, "Date")):
            self.clock_skew_s = (self.clock() - theirs).total_seconds()
        if moment := parse_date_header(headers, "Sunset"):
            self.sunsets[endpoint] = moment.date()


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


class _Ready(NamedTuple):
    """What an attempt needs in order to send at once.

    Attributes:
        header: The `Authorization` header; None if `digest` signs the requests.
    """

    header: Secret | None
    digest: aiohttp.DigestAuthMiddleware | None


class Client:
    """Sends requests with one set of credentials, and retries them until the result is final.

    Attributes:
        actor: The name of the credentials.
        limiter: Their rate limits.
        server: What the responses showed of Atlas.
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
        self._http = http
        self._authenticator = authenticator
        self._slots = asyncio.Semaphore(concurrency)
        self._digests: list[aiohttp.DigestAuthMiddleware] = []
        self._retry_policy = retry_policy
        self._log = log

    @property
    def counters(self) -> RequestCounters:
        """Requests sent so far."""
        return self._http.counters

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
        first = await self._attempt(request)
        if classify(first.result) is RetryDecision.DONE:
            return first.result
        again = partial(self._attempt, request, is_retry=True)
        return (await self._retry(request, first, again)).result

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
        first = await self._attempt(request)
        if not is_unauthenticated(first.result) or self._retry_policy.attempts == 1:
            return first.result
        await self._authenticator.refresh(first.header)
        await self._acquire_for_retry(request)
        return (await self._attempt(request, is_retry=True)).result

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
        last: LookAndAnswer

        async def attempt(*, is_retry: bool = False) -> Attempt:
            nonlocal last
            last, header = await self._attempt_after(look, may_send, request, is_retry=is_retry)
            return Attempt(last.look if last.answer is None else last.answer, header)

        def decide(result: ResponseOrFailure) -> RetryDecision:
            return classify(result) if last.may_repeat else RetryDecision.DONE

        first = await attempt()
        if decide(first.result) is not RetryDecision.DONE:
            again = partial(attempt, is_retry=True)
            final = await self._retry(request, first, again, tokens=2, decide=decide)
            if final.result is CANCELLED:  # before another attempt
                return last._replace(answer=CANCELLED)
        return last

    async def _retry(
        self,
        request: Request,
        first: Attempt,
        attempt: Callable[[], Awaitable[Attempt]],
        *,
        tokens: int = 1,
        decide: Callable[[ResponseOrFailure], RetryDecision] = classify,
    ) -> Attempt:
        last = first

        async def again() -> Attempt:
            nonlocal last
            if is_unauthenticated(last.result):
                await self._authenticator.refresh(last.header)
            if await self._acquire_for_retry(request, tokens):
                last = await attempt()
            else:
                last = Attempt(CANCELLED, last.header)
            return last

        progress = request.progress
        last, cut_short = await retry(
            first,
            again,
            self._retry_policy,
            clock=self.server.clock,
            blocked_s=partial(self.limiter.blocked_s, request.key),
            on_wait=partial(self._report_wait, request),
            cancelled=request.is_cancelled if progress is not None else None,
            decide=decide,
        )
        if progress is not None:
            progress.retries_cut_short |= cut_short
        if is_unauthenticated(last.result) and not cut_short:
            # Later requests need a token that works.
            await self._authenticator.refresh(last.header)
        return last

    def _report_wait(self, request: Request, result: ResponseOrFailure, wait_s: float) -> None:
        why = result.reason if isinstance(result, RequestFailed) else result.status
        self._log.debug("retrying", path=request.path, wait_s=round(wait_s, 3), why=why)
        if request.progress is not None and request.progress.on_backoff is not None:
            request.progress.on_backoff()

    async def _acquire_for_retry(self, request: Request, tokens: int = 1) -> bool:
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

    async def _attempt(self, request: Request, *, is_retry: bool = False) -> Attempt:
        """Send a request once. Its token is acquired already."""
        tokens = [request.key]
        async with self._ready(tokens) as ready:
            self.counters.retries += is_retry
            return Attempt(await self._exchange(ready, tokens, request), ready.header)

    async def _attempt_after(
        self,
        look: Request,
        may_send: Callable[[ResponseOrFailure], bool],
        request: Request,
        *,
        is_retry: bool,
    ) -> tuple[LookAndAnswer, Secret | None]:
        """Send a look, and the request if the look allows it and is recent. Tokens are acquired."""
        tokens = [look.key, request.key]
        async with self._ready(tokens) as ready:
            self.counters.retries += is_retry
            for number in range(_MAX_LOOKS):
                if request.is_cancelled():
                    return LookAndAnswer(CANCELLED, CANCELLED), ready.header
                if number:
                    await self.limiter.acquire(look.key)
                    tokens.append(look.key)
                    await self._wait_for_spacing()
                started_s = self._retry_policy.monotonic()
                seen = await self._exchange(ready, tokens, look)
                if not may_send(seen):
                    return LookAndAnswer(seen), ready.header
                left_s = started_s + MAX_LOOK_AGE_S - self._retry_policy.monotonic()
                if left_s > 0:
                    answer = await self._exchange(ready, tokens, request, left_s)
                    return LookAndAnswer(seen, answer), ready.header
            reason = f"reading the user took longer than {MAX_LOOK_AGE_S:g} s"
            return LookAndAnswer(RequestFailed(reason)), ready.header

    @asynccontextmanager
    async def _ready(self, tokens: list[BucketKey]) -> AsyncIterator[_Ready]:
        """Wait for all that can take time; then requests can be sent at once.

        Args:
            tokens: The buckets of acquired tokens; those that no request has used are released.
        """
        try:
            if self.limiter.is_spaced:
                for _ in tokens:
                    await self._wait_for_spacing()
            async with self._slots:
                authenticator = self._authenticator
                header = authenticator.cached_header() or await authenticator.header()
                # The middleware released last is used first, so that few need a challenge.
                digest = self._digests.pop() if self._digests else authenticator.new_digest()
                try:
                    yield _Ready(header, digest)
                finally:
                    if digest is not None:
                        self._digests.append(digest)
        finally:
            self.limiter.release(tokens)

    async def _exchange(
        self,
        ready: _Ready,
        tokens: list[BucketKey],
        request: Request,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send a request without any wait before, and process its response.

        Args:
            tokens: The buckets of acquired tokens; one is removed.
            connect_s: As for `HttpSession.send`.
        """
        endpoint = request.endpoint
        headers = {"Accept": endpoint.media_type}
        is_read = endpoint.method == "GET"
        if is_read:
            headers["Cache-Control"] = "no-cache"
        if request.body is not None:
            headers["Content-Type"] = endpoint.media_type
        if ready.header is not None:
            headers["Authorization"] = ready.header.get_secret_value()
        tokens.pop()  # the response completes it
        sent_s = self._retry_policy.monotonic()
        sent_at = self.server.clock() if is_read else None
        result = await self._http.send(
            endpoint.method,
            request.path,
            headers,
            body=request.body,
            progress=request.progress,
            digest=ready.digest,
            connect_s=connect_s,
        )
        self._update_limiter(request.key, result, sent_s)
        if not isinstance(result, Response):
            return result
        age_s = self.server.age_s(result.headers, sent_at) if sent_at is not None else 0.0
        if age_s > endpoint.max_age_s:
            reason = f"the response is from a cache, {age_s:.0f} s off the time of its request"
            return RequestFailed(reason, http_status=result.status)
        return self._parse(request, result)

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

    def _update_limiter(self, key: BucketKey, result: ResponseOrFailure, sent_s: float) -> None:
        """Complete the request's token with the rate-limit headers of its response."""
        if not isinstance(result, Response):
            self.limiter.on_response(key, limit=None, remaining=None, sent_s=sent_s)
        elif result.status not in _BACK_OFF_STATUSES or not self._back_off(key, result, sent_s):
            limit = parse_int_header(result.headers, "RateLimit-Limit")
            remaining = parse_int_header(result.headers, "RateLimit-Remaining")
            self.limiter.on_response(key, limit=limit, remaining=remaining, sent_s=sent_s)

    def _back_off(self, key: BucketKey, response: Response, sent_s: float) -> bool:
        """Apply a 429, or a 503 with `Retry-After`, to the bucket; return whether it was one."""
        requested_s = retry_after_s(response.headers, self.server.clock)
        if response.status == _TOO_MANY_REQUESTS:
            self.counters.rate_limited += 1
            details = parse_rate_limit_error(response)
            if details.refill is not None:
                self.limiter.set_limit(key, BucketLimit(*details.refill))
            requested_s = requested_s or details.wait_s
        elif requested_s is None:
            return False
        self.limiter.on_429(key, requested_s, sent_s=sent_s)
        return True

    def _parse(self, request: Request, response: Response) -> ResponseOrFailure:
        """Record the response's headers and error code, and parse its body."""
        status, succeeded = response.status, response.status < 300  # noqa: PLR2004
        self.server.update(response.headers, request.endpoint, good=succeeded)
        if request.progress is not None:
            request.progress.error_code = (
                parse_error(response).code if status != _NO_CONTENT else None
            )
        if status != _OK or request.parse is None:
            return response
        try:
            return response._replace(value=request.parse(response.body))
        except InvalidResponse as error:
            return RequestFailed(f"unexpected response from Atlas: {error}", http_status=status)

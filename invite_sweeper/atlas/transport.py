"""Sends one request: rate limit, connection slot, authentication and retries."""

from functools import partial
from typing import Final

from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import Authenticator
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Request, check_request
from invite_sweeper.atlas.http import HttpSession, SlotPool
from invite_sweeper.atlas.parsing import InvalidResponse
from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import BucketKey, BucketLimit
from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    ResponseOrFailure,
    is_unauthenticated,
    parse_error,
    parse_int_header,
    parse_rate_limit_error,
    retry_after_s,
)
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify
from invite_sweeper.atlas.server_info import ServerInfo

_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY_REQUESTS: Final = 429
_BACK_OFF_STATUSES: Final = frozenset({_TOO_MANY_REQUESTS, 503})


class Transport:
    """Sends requests and retries them until the result is final."""

    def __init__(
        self,
        http: HttpSession,
        authenticator: Authenticator,
        limiter: RateLimiter,
        slot_pool: SlotPool,
        *,
        retry_policy: RetryPolicy,
        server: ServerInfo,
        log: FilteringBoundLogger,
    ) -> None:
        self._http = http
        self._authenticator = authenticator
        self._slot_pool = slot_pool
        self._retry_policy = retry_policy
        self.server = server
        self._log = log
        self._unspaced = 0
        self.limiter = limiter

    async def send(self, request: Request, *, token_taken: bool = False) -> ResponseOrFailure:
        """Send a request, retry it as the retry policy allows, and return the last result.

        Args:
            request: As `build_request` returns it.
            token_taken: The caller has acquired the rate-limit token of the first attempt.

        Raises:
            RunError: No access token is available.
            InvalidRequest: The path does not match the endpoint. Nothing was sent.
        """
        check_request(request)
        if not token_taken:
            if request.parent is None:
                await self.limiter.acquire(request.key)
            elif not await self._acquire_for_retry(request):  # a read before a DELETE is retried
                return CANCELLED
        used_header = self._authenticator.cached_header() or await self._authenticator.header()
        result = await self._attempt(request, used_header)
        is_done = classify(result) is RetryDecision.DONE
        return result if is_done else await self._retry(request, result, used_header)

    async def send_once(self, request: Request) -> ResponseOrFailure:
        """Send a request that is not idempotent: only a 401 is retried, once.

        Raises:
            RunError: No access token is available.
            InvalidRequest: The path does not match the endpoint. Nothing was sent.
        """
        check_request(request)
        await self.limiter.acquire(request.key)
        used_header = await self._authenticator.header()
        result = await self._attempt(request, used_header)
        if not is_unauthenticated(result) or self._retry_policy.attempts == 1:
            return result
        await self._authenticator.refresh(used_header)
        await self._acquire_for_retry(request)
        return await self._attempt(request, await self._authenticator.header(), is_retry=True)

    async def _retry(
        self, request: Request, first: ResponseOrFailure, used_header: Secret | None
    ) -> ResponseOrFailure:
        last, refreshed = first, False

        async def retry() -> ResponseOrFailure:
            nonlocal last, used_header, refreshed
            if is_unauthenticated(last):
                await self._authenticator.refresh(used_header)
            if not await self._acquire_for_retry(request):
                last = CANCELLED
                return last
            previous, used_header = used_header, await self._authenticator.header()
            if used_header is not previous and not refreshed:  # the 401 was for the old token
                refreshed, retry_loop.unauthorized = True, 0
            final = await request.before_retry() if request.before_retry else None
            last = final or await self._attempt(request, used_header, is_retry=True)
            return last

        is_cancelled = request.is_cancelled if request.can_be_cancelled else None
        retry_loop = RetryLoop(
            self._retry_policy,
            self.server.clock,
            partial(self._report_retry, request),
            is_cancelled,
        )
        result = await retry_loop.run(first, retry)
        if request.owner_progress is not None:
            request.owner_progress.retries_cut_short |= retry_loop.retries_cut_short
        if is_unauthenticated(result) and not retry_loop.retries_cut_short:
            # Later requests need a token that works.
            await self._authenticator.refresh(used_header)
        return result

    def _report_retry(self, request: Request, result: ResponseOrFailure, wait_s: float) -> None:
        why = result.reason if isinstance(result, RequestFailed) else result.status
        self._log.debug("retrying", path=request.path, wait_s=round(wait_s, 3), why=why)
        if (owner := request.owner_progress) is not None and owner.on_backoff is not None:
            owner.on_backoff()

    async def _acquire_for_retry(self, request: Request) -> bool:
        """Acquire a token for a retry; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        is_cancelled = request.is_cancelled if request.can_be_cancelled else None
        while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
            await self._retry_policy.wait(wait_s, is_cancelled)
            if request.is_cancelled():
                return False
        return True

    async def _attempt(
        self, request: Request, auth_header: Secret | None, *, is_retry: bool = False
    ) -> ResponseOrFailure:
        """Send a request once and release its slot."""
        http, endpoint, progress = self._http, request.endpoint, request.progress
        headers = {"Accept": endpoint.media_type}
        if request.body is not None:
            headers["Content-Type"] = endpoint.media_type
        if auth_header is not None:
            headers["Authorization"] = auth_header.get_secret_value()
        if self.limiter.is_spaced:
            await self._wait_for_spacing()
        slot = self._slot_pool.acquire_nowait(progress) or await self._slot_pool.acquire(progress)
        sent_s = self._retry_policy.monotonic()
        try:
            result = await http.send(endpoint.method, request.path, headers, slot, request.body)
        finally:
            if slot.send_count > 1:
                self._unspaced += slot.send_count - 1
            if is_retry and slot.send_count:
                http.counters.retries += 1
            self._slot_pool.release(slot)
        self._update_limiter(request.key, result, sent_s)
        return self._parse(request, result) if isinstance(result, Response) else result

    async def _wait_for_spacing(self) -> None:
        """Wait for `max_requests_per_second`, outside of the request's timeout.

        A request that a digest middleware repeated is accounted for before the next one.
        """
        await self.limiter.wait_for_spacing()
        while self._unspaced:
            self._unspaced -= 1
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
            self._http.counters.rate_limited += 1
            details = parse_rate_limit_error(response)
            if details.refill is not None:
                self.limiter.set_limit(key, BucketLimit(*details.refill))
            self.limiter.on_429(key, requested_s or details.wait_s, sent_s=sent_s)
            return True
        if requested_s is not None:
            self.limiter.on_429(key, requested_s, sent_s=sent_s)
        return requested_s is not None

    def _parse(self, request: Request, response: Response) -> ResponseOrFailure:
        """Record the response's headers and error code, and parse its body."""
        status, succeeded = response.status, response.status < 300  # noqa: PLR2004
        self.server.update(response.headers, good=succeeded, operation=request.endpoint)
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

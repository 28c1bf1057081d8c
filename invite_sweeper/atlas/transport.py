"""One request to Atlas: its bucket, its place on the wire, its tries."""

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
    """Sends requests and goes on until a result stands."""

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
        """Send a request, whose first turn is taken where it was `admitted`, until it stands.

        Raises:
            RunError: No token can be had.
            UnsendableError: It is none that `target.target` makes. Nothing was sent.
        """
        check_request(request)
        if not token_taken:
            if request.parent is None:
                await self.limiter.acquire(request.key)
            elif not await self._acquire_for_retry(request):  # a read before one more DELETE
                return CANCELLED
        used_header = self._authenticator.cached_header() or await self._authenticator.header()
        result = await self._attempt(request, used_header)
        is_done = classify(result) is RetryDecision.DONE
        return result if is_done else await self._retry(request, result, used_header)

    async def send_once(self, request: Request) -> ResponseOrFailure:
        """Send what must not be done twice: one try, and another (if any) only after a 401.

        Raises:
            RunError: No token can be had.
            UnsendableError: It is none that `target.target` makes. Nothing was sent.
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
        last, renewed = first, False

        async def again() -> ResponseOrFailure:
            nonlocal last, used_header, renewed
            if is_unauthenticated(last):
                await self._authenticator.refresh(used_header)
            if not await self._acquire_for_retry(request):
                last = CANCELLED
                return last
            before, used_header = used_header, await self._authenticator.header()
            if used_header is not before and not renewed:  # the 401 was about another token
                renewed, retry_loop.refused = True, 0
            stopped = await request.before_retry() if request.before_retry else None
            last = stopped or await self._attempt(request, used_header, is_retry=True)
            return last

        is_cancelled = request.is_cancelled if request.can_be_cancelled else None
        retry_loop = RetryLoop(
            self._retry_policy,
            self.server.clock,
            partial(self._report_retry, request),
            is_cancelled,
        )
        result = await retry_loop.run(first, again)
        if request.owner_progress is not None:
            request.owner_progress.retries_cut_short |= retry_loop.retries_cut_short
        if (
            is_unauthenticated(result) and not retry_loop.retries_cut_short
        ):  # what follows needs a good token
            await self._authenticator.refresh(used_header)
        return result

    def _report_retry(self, request: Request, result: ResponseOrFailure, wait_s: float) -> None:
        why = result.reason if isinstance(result, RequestFailed) else result.status
        self._log.debug("trying again", path=request.path, wait_s=round(wait_s, 3), why=why)
        if (owner := request.owner_progress) is not None and owner.on_backoff is not None:
            owner.on_backoff()

    async def _acquire_for_retry(self, request: Request) -> bool:
        """Take a token for one more try; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        called_off = request.is_cancelled if request.can_be_cancelled else None
        while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
            await self._retry_policy.wait(wait_s, called_off)
            if request.is_cancelled():
                return False
        return True

    async def _attempt(
        self, request: Request, auth_header: Secret | None, *, is_retry: bool = False
    ) -> ResponseOrFailure:
        """Send a request once; the place on the wire is given back with the answer."""
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
        """Wait for a turn under the overall ceiling, outside of the request's own timeout.

        What a signer sent a second time within a request is paid for by the next one.
        """
        await self.limiter.wait_for_spacing()
        while self._unspaced:
            self._unspaced -= 1
            await self.limiter.wait_for_spacing()

    def _update_limiter(self, key: BucketKey, result: ResponseOrFailure, sent_s: float) -> None:
        """Tell the bucket what became of its token."""
        if not isinstance(result, Response):
            self.limiter.on_response(key, limit=None, remaining=None, sent_s=sent_s)
        elif result.status not in _BACK_OFF_STATUSES or not self._back_off(key, result, sent_s):
            limit = parse_int_header(result.headers, "RateLimit-Limit")
            remaining = parse_int_header(result.headers, "RateLimit-Remaining")
            self.limiter.on_response(key, limit=limit, remaining=remaining, sent_s=sent_s)

    def _back_off(self, key: BucketKey, response: Response, sent_s: float) -> bool:
        """Let the bucket wait where the answer asks for it; whether it did."""
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
        """Take what the answer tells on the side, and read its body."""
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
            return RequestFailed(f"Atlas answered nonsense: {error}", http_status=status)

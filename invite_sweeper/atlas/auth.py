"""What authorizes the requests of a client.

A service account (OAuth 2.0 client credentials) gets one access token a run: refreshed before it
expires and after a 401, revoked at the end. A ready token is itself the header, and an API key
signs each request (HTTP Digest).
"""

import asyncio
import base64
import math
from collections.abc import Awaitable, Callable, Mapping
from http.client import OK, UNAUTHORIZED
from typing import Annotated, Final, NamedTuple, TypeAlias

import aiohttp
import msgspec

from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret
from invite_sweeper.atlas.endpoints import FETCH_TOKEN, REVOKE_TOKEN, Endpoint
from invite_sweeper.atlas.http import Authorization
from invite_sweeper.atlas.responses import (
    Decide,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    connection_hint,
    describe,
)
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused

_REFRESH_MARGIN_S: Final = 600.0
"""A token is refreshed so long before it expires, and after 80 % of its life if that is later."""
_REFRESH_MARGIN_SHARE: Final = 0.2
_REFRESH_RETRY_S: Final = 30.0
"""After a refresh that failed, as long as the previous token is valid."""
_REFRESH_COOLDOWN_S: Final = 60.0
"""Between refreshes after a 401. Atlas allows 100 live tokens an account."""
_REVOKE_TIMEOUT_S: Final = 2.0
_REVOKE_ON_CANCEL_S: Final = 1.0
_REJECTED_STATUSES: Final = frozenset({400, 401, 403})
"""With which the token endpoint refuses an account."""
_TOO_MANY_TOKENS_HINT: Final = (
    "The service account may have 100 active tokens, the most that Atlas allows. They expire "
    "after an hour: run the command again later, or use another service account."
)
"""Source: https://www.mongodb.com/docs/manual/reference/limits (read 2026-08)."""
_ACCOUNT_HINT: Final = (
    "Check the client ID and secret of the service account, and that it still exists."
)


class _TokenResponse(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]
    expires_in: Annotated[float, msgspec.Meta(gt=0)] = 3600.0


class _Token(NamedTuple):
    """An access token, its `Authorization` header, and when it is refreshed and expires."""

    token: Secret
    header: Secret
    refresh_at_s: float
    expires_at_s: float


CallForTokens: TypeAlias = Callable[
    [Secret, Endpoint, Mapping[str, str], Decide], Awaitable[ResponseOrFailure]
]
"""Sends a form: the `Authorization` header, where to, the fields, and what is retried."""


class RequestSigner:
    """Authorizes requests with one set of credentials.

    Concurrent requests share the access token of a service account, and each refresh of it. Each
    request in flight has a digest middleware of its own: a middleware reuses a challenge with a
    nonce count that must increase. Shared by concurrent requests, the counts would arrive out of
    order, and a strict server rejects them.

    Args:
        call: Sends the requests about tokens, which need no token themselves.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        credentials: Credentials,
        call: CallForTokens,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._call = call
        self._clock = clock
        self._uses_tokens = credentials.kind is CredentialsKind.SERVICE_ACCOUNT
        self._token: _Token | None = None
        self._issued: list[_Token] = []
        self._refresh_task: asyncio.Task[_Token] | None = None
        self._refreshed_after_401_s = -math.inf
        self._credentials = credentials
        self._idle_digests: list[aiohttp.DigestAuthMiddleware] = []
        self._bearer: Secret | None = None
        if credentials.kind is CredentialsKind.ACCESS_TOKEN:
            self._bearer = _bearer_header(credentials.secret)

    async def authorization(self) -> Authorization:
        """Return what authorizes the next request, until `release`.

        Raises:
            CredentialsRefused: Atlas rejected the client ID or secret.
            AtlasUnavailable: The token endpoint is not reachable or its response is invalid.
        """
        if self._uses_tokens:
            token = self._token
            if token is None or self._clock() >= token.refresh_at_s:
                token = await self._refresh()
            return token.header
        if self._bearer is not None:
            return self._bearer
        # The middleware that returned last is used first, so that few need a challenge.
        return self._idle_digests.pop() if self._idle_digests else self._new_digest()

    def release(self, authorization: Authorization) -> None:
        """Allow the next request to use what authorized one."""
        if not isinstance(authorization, Secret):
            self._idle_digests.append(authorization)

    async def renew(self, rejected: Authorization) -> None:
        """Use another token, if there are tokens: Atlas refused what authorized a request.

        A token is refreshed if the rejected one is still in use, once for all its requests, and
        at most once a minute: a project that answers every token with 401 must not use one per
        request.

        Args:
            rejected: What authorized the request.

        Raises:
            RunError: As `authorization`.
        """
        if not self._uses_tokens:
            return
        if self._token is not None and self._token.header is rejected:
            now_s = self._clock()
            if now_s - self._refreshed_after_401_s < _REFRESH_COOLDOWN_S:
                return
            self._token = None
            self._refreshed_after_401_s = now_s
        if self._token is None:
            await self._refresh()

    async def close(self) -> None:
        """Revoke all tokens of this run, within seconds. Raises only when cancelled meanwhile."""
        revocation = asyncio.create_task(self._revoke())
        try:
            await asyncio.wait({revocation}, timeout=_REVOKE_TIMEOUT_S)
        except asyncio.CancelledError:
            await asyncio.wait({revocation}, timeout=_REVOKE_ON_CANCEL_S)
            raise
        finally:
            revocation.cancel()

    def _new_digest(self) -> aiohttp.DigestAuthMiddleware:
        """Return a middleware that signs for the API key."""
        # The challenge names the algorithm: MD5, or SHA-256 on the Government host.
        return aiohttp.DigestAuthMiddleware(self._credentials.actor, self._credentials.secret.value)

    async def _refresh(self) -> _Token:
        """Return a new token; callers at the same time share one request for it."""
        if self._refresh_task is None:
            self._refresh_task = asyncio.create_task(self._fetch())
            # Retrieved, so that asyncio does not warn when no caller is left to await it.
            self._refresh_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: a cancelled caller must not cancel the refresh that others wait for, and
        # `close` must know a token that is still being fetched, to revoke it.
        return await asyncio.shield(self._refresh_task)

    async def _fetch(self) -> _Token:
        """Return a new token, or the previous one while none can be fetched and it is valid."""
        previous = self._token
        try:
            body = {"grant_type": "client_credentials"}
            header = _basic_header(self._credentials)
            result = await self._call(header, FETCH_TOKEN, body, _decide_for_token)
            token = _token_from(result, self._clock())
            self._issued.append(token)
        except AtlasUnavailable:
            # The previous token is still valid, and the endpoint may recover.
            now_s = self._clock()
            if previous is None or now_s >= previous.expires_at_s:
                raise
            token = previous._replace(refresh_at_s=now_s + _REFRESH_RETRY_S)
        finally:
            self._refresh_task = None
        self._token = token
        return token

    async def _revoke(self) -> None:
        """Revoke all tokens of this run, also one that is being fetched."""
        if self._refresh_task is not None:
            await asyncio.wait({self._refresh_task}, timeout=_REVOKE_ON_CANCEL_S)
            if self._refresh_task is not None:  # `_fetch` sets it to None at its end
                self._refresh_task.cancel()
        for token in self._issued:
            if self._clock() < token.expires_at_s:
                # Best effort: a token that is not revoked expires within the hour.
                body = {"token": token.token.value, "token_type_hint": "access_token"}
                await self._call(
                    _basic_header(self._credentials),
                    REVOKE_TOKEN,
                    body,
                    lambda _: RetryDecision.DONE,
                )


def _token_from(result: ResponseOrFailure, now_s: float) -> _Token:
    """Return the token in a response of the token endpoint.

    Raises:
        CredentialsRefused: Atlas rejected the client ID or secret.
        AtlasUnavailable: There is no response, or it has no token.
    """
    if isinstance(result, Response) and result.status in _REJECTED_STATUSES:
        may_have_too_many = result.code == "access_denied"
        raise CredentialsRefused(
            f"Could not get an access token: {describe(result)}.",
            hint=_TOO_MANY_TOKENS_HINT if may_have_too_many else _ACCOUNT_HINT,
        )
    if not isinstance(result, Response) or result.status != OK:
        raise AtlasUnavailable(
            f"Could not get an access token: {describe(result)}.", hint=connection_hint(result)
        )
    try:
        answer = msgspec.json.decode(result.body, type=_TokenResponse)
    except (ValueError, RecursionError):  # not shown: it may contain a token
        answer = None
    if answer is None:
        raise AtlasUnavailable(
            "Could not get an access token: the response contains no valid bearer token."
        )
    secret = Secret(answer.access_token)
    expires_at_s = now_s + answer.expires_in
    margin_s = min(_REFRESH_MARGIN_S, _REFRESH_MARGIN_SHARE * answer.expires_in)
    return _Token(secret, _bearer_header(secret), expires_at_s - margin_s, expires_at_s)


def _bearer_header(token: Secret) -> Secret:
    """Return the `Authorization` header of a bearer token."""
    return Secret(f"Bearer {token.value}")


def _basic_header(account: Credentials) -> Secret:
    """Return the `Authorization` header of a service account: RFC 6749, section 2.3.1."""
    pair = f"{account.actor}:{account.secret.value}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")


def _decide_for_token(result: ResponseOrFailure) -> RetryDecision:
    """Return what to do with a response of the token endpoint: a 401 is about the secret."""
    is_refused = isinstance(result, Response) and result.status == UNAUTHORIZED
    return RetryDecision.DONE if is_refused else classify(result)

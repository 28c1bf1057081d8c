"""What authorizes the requests of a client, also after its credentials were changed.

A service account has access tokens, a ready token is itself the header, and an API key signs each
request (HTTP Digest).
"""

from collections.abc import Callable

import aiohttp
from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import AccessTokens, CallForTokens, bearer_header
from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret
from invite_sweeper.atlas.http import Authorization
from invite_sweeper.errors import UsageError


class RequestSigner:
    """Authorizes requests with one set of credentials.

    Each request in flight has a digest middleware of its own: a middleware reuses a challenge with
    a nonce count that must increase. Shared by concurrent requests, the counts would arrive out of
    order, and a strict server rejects them.

    Args:
        call_for_tokens: As in `AccessTokens`.
        clock: Monotonic seconds.
        log: A change of the credentials is logged.
        read_again: Reads the credentials again after Atlas refused them; None if it cannot.
    """

    def __init__(
        self,
        credentials: Credentials,
        call_for_tokens: CallForTokens,
        *,
        clock: Callable[[], float],
        log: FilteringBoundLogger,
        read_again: Callable[[], Credentials] | None = None,
    ) -> None:
        self._log = log
        self._read_again = read_again
        self._use(credentials)
        self._tokens: AccessTokens | None = None
        if credentials.kind is CredentialsKind.SERVICE_ACCOUNT:
            self._tokens = AccessTokens(
                credentials, call_for_tokens, clock, self._changed_credentials
            )

    async def close(self) -> None:
        """Revoke the access tokens that were fetched."""
        if self._tokens is not None:
            await self._tokens.close()

    async def authorization(self) -> Authorization:
        """Return what authorizes the next request, until `release`.

        Raises:
            RunError: An access token could not be fetched.
        """
        if self._tokens is not None:
            return await self._tokens.header()
        if self._bearer is not None:
            return self._bearer
        # The middleware that returned last is used first, so that few need a challenge.
        digest = self._idle_digests.pop() if self._idle_digests else self._new_digest()
        self._digests_in_use.add(digest)
        return digest

    def release(self, authorization: Authorization) -> None:
        """Allow the next request to use what authorized one."""
        # A middleware of earlier credentials is not in use any more.
        if not isinstance(authorization, Secret) and authorization in self._digests_in_use:
            self._digests_in_use.remove(authorization)
            self._idle_digests.append(authorization)

    async def renew(self, rejected: Authorization) -> None:
        """Use another token, or the credentials that are mounted now: Atlas refused these.

        Args:
            rejected: What authorized the request.
        """
        if self._tokens is not None:
            await self._tokens.refresh(rejected)
            return
        changed = self._changed_credentials()
        if changed is not None:
            self._use(changed)

    def _new_digest(self) -> aiohttp.DigestAuthMiddleware:
        """Return a middleware that signs for the API key."""
        # The challenge names the algorithm: MD5, or SHA-256 on the Government host.
        private_key = self._credentials.secret.get_secret_value()
        return aiohttp.DigestAuthMiddleware(self._credentials.actor, private_key)

    def _use(self, credentials: Credentials) -> None:
        """Use these credentials for what is sent from now on."""
        self._credentials = credentials
        self._idle_digests: list[aiohttp.DigestAuthMiddleware] = []
        self._digests_in_use: set[aiohttp.DigestAuthMiddleware] = set()
        self._bearer: Secret | None = None
        if credentials.kind is CredentialsKind.ACCESS_TOKEN:
            self._bearer = bearer_header(credentials.secret)

    def _changed_credentials(self) -> Credentials | None:
        """Return the credentials that are mounted now, once; None if they have not changed.

        A secret may be rotated while a run is at work, and the earlier one revoked. Credentials of
        another kind are not used: `AccessTokens` are there from the start, or never.
        """
        if self._read_again is None:
            return None
        try:
            mounted = self._read_again()
        except UsageError:  # such as a file that is being replaced
            return None
        if mounted.kind is not self._credentials.kind or mounted == self._credentials:
            return None
        self._credentials = mounted
        self._log.info("credentials were refused and have changed: using the new ones")
        return mounted

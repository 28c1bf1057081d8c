"""How a request proves who sends it: a bearer token, or HTTP Digest."""

from typing import Protocol

import aiohttp

from invite_sweeper.atlas.identity import ApiKey, BearerToken, Secret


class Authentication(Protocol):
    """What the transport needs of a kind of credentials."""

    def at_hand(self) -> Secret | None:
        """Give the header where that takes no wait; None where it does, or where there is none."""

    async def authorization(self) -> Secret | None:
        """Give the `Authorization` header; None where a middleware signs each request.

        Raises:
            RunError: Atlas refuses a token, or none can be fetched.
        """

    async def renew(self, used: Secret | None) -> None:
        """Renew what a 401 refused, once for all requests that it refused.

        Args:
            used: The header that was refused; one that is no longer in use changes nothing.

        Raises:
            RunError: As `authorization`.
        """

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """Make what signs the requests of one slot; None where the header does."""

    async def close(self) -> None:
        """Give back what Atlas keeps for this run. Never raises but when cancelled."""


class BearerAuthentication:
    """A token that was given ready-made."""

    def __init__(self, credentials: BearerToken) -> None:
        self._header = bearer(credentials.token)

    def at_hand(self) -> Secret | None:
        """Give the header."""
        return self._header

    async def authorization(self) -> Secret | None:
        """Give the header."""
        return self._header

    async def renew(self, used: Secret | None) -> None:
        """Do nothing: it cannot be renewed here."""

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """None: the header is all."""
        return None

    async def close(self) -> None:
        """Do nothing: whoever fetched it may still use it."""


class DigestAuthentication:
    """An API key. Each slot has its own signer.

    A signer re-uses the challenge with a counter that must rise. One signer for many
    requests at a time sends its counters out of order, which a strict server refuses.
    """

    def __init__(self, credentials: ApiKey) -> None:
        self._credentials = credentials

    def at_hand(self) -> Secret | None:
        """None: there is no header."""
        return None

    async def authorization(self) -> Secret | None:
        """None: the slot's signer writes the header."""
        return None

    async def renew(self, used: Secret | None) -> None:
        """Do nothing: a signer takes a new challenge from the 401 itself."""

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """Make a signer; MD5 for the commercial host, SHA-256 for Government, as asked."""
        key = self._credentials
        return aiohttp.DigestAuthMiddleware(key.public_key, key.private_key.reveal())

    async def close(self) -> None:
        """Do nothing: a key has no session."""


def bearer(token: Secret) -> Secret:
    """Write the header's value for a token."""
    return Secret(f"Bearer {token.reveal()}")

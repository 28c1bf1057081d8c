"""HTTP Digest as Atlas asks for it, each reply really checked."""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from re import compile as pattern
from typing import Final, Literal, TypeAlias

Algorithm: TypeAlias = Literal["MD5", "SHA-256"]
REALM: Final = "MMS Public API"
_FIELD: Final = pattern(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_NONCES_KEPT: Final = 10_000


@dataclass(slots=True)
class _Nonce:
    born_s: float
    uses: int = 0
    last_count: int = 0


class DigestDesk:
    """Makes challenges and checks replies.

    Attributes:
        algorithm: MD5 on the commercial host, SHA-256 for Government.
        nonce_life_s: How long a nonce is good.
        nonce_uses: How many replies a nonce is good for; None for any number.
        rising_counts: Whether `nc` must rise from reply to reply, strictly, within a nonce.

    Source: challenges in the recordings; the Government documentation for SHA-256.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.algorithm: Algorithm = "MD5"
        self.nonce_life_s = 300.0
        self.nonce_uses: int | None = None
        self.rising_counts = False
        self._monotonic = monotonic
        self._nonces: dict[str, _Nonce] = {}

    def challenge(self) -> str:
        """The `Www-Authenticate` header, with a new nonce of 32 base64 characters."""
        nonce = base64.b64encode(secrets.token_bytes(24)).decode()
        self._nonces[nonce] = _Nonce(self._monotonic())
        if len(self._nonces) > _NONCES_KEPT:
            del self._nonces[next(iter(self._nonces))]
        return (
            f'Digest realm="{REALM}", domain="", nonce="{nonce}", '
            f'algorithm={self.algorithm}, qop="auth", stale=false'
        )

    def forget_nonces(self) -> None:
        """No nonce given out before is good any more."""
        self._nonces.clear()

    def fields(self, header: str) -> dict[str, str]:
        """The fields of an `Authorization` header, by their names."""
        return {name: quoted or plain for name, quoted, plain in _FIELD.findall(header)}

    def holds(self, reply: dict[str, str], password: str, method: str, uri: str) -> bool:
        """Whether the reply was made with that password, for this request and now.

        A reply that holds uses its nonce up by one.
        """
        if reply.get("realm") != REALM or reply.get("qop") != "auth" or reply.get("uri") != uri:
            return False
        if reply.get("algorithm", "MD5") != self.algorithm:
            return False
        expected = self._response(reply, password, method)
        if not secrets.compare_digest(expected, reply.get("response", "")):
            return False
        return self._count(reply)

    def _response(self, reply: dict[str, str], password: str, method: str) -> str:
        ha1 = self._hash(f"{reply.get('username', '')}:{REALM}:{password}")
        ha2 = self._hash(f"{method}:{reply['uri']}")
        middle = ":".join(reply.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return self._hash(f"{ha1}:{middle}:{ha2}")

    def _hash(self, text: str) -> str:
        if self.algorithm == "MD5":
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return hashlib.sha256(text.encode()).hexdigest()

    def _count(self, reply: dict[str, str]) -> bool:
        nonce = self._nonces.get(reply.get("nonce", ""))
        try:
            count = int(reply.get("nc", ""), 16)
        except ValueError:
            return False
        if nonce is None or self._monotonic() - nonce.born_s > self.nonce_life_s:
            return False
        if self.nonce_uses is not None and nonce.uses >= self.nonce_uses:
            return False
        if self.rising_counts and count <= nonce.last_count:
            return False
        nonce.uses += 1
        nonce.last_count = max(nonce.last_count, count)
        return True

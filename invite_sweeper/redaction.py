"""Redaction: no output shows a known secret, or the user information of a URL.

`SECRETS` is the registry of the process: `atlas.credentials.Secret` and the commands fill it,
and standard output, standard error, the audit log and every other output pass through it.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"
MIN_SECRET_LENGTH: Final = 8
"""A shorter value would be found everywhere; as part of a URL it is removed all the same."""

_USER_INFO: Final = re.compile(r"""(?<=://)[^\s/?#"'<>\\|]*@""")
_AUTHORIZATION: Final = re.compile(
    r"\b(basic|bearer)(?:\s+|%20|\+)[\w+/=.~%-]{16,}"
    r"|\b(response(?:=|%3D)(?:\\*\"|&quot;|&\#34;|%22)?)[0-9a-f]{32,128}",
    re.IGNORECASE | re.ASCII,
)
"""Credentials of an echoed `Authorization` header. A Digest response is not known in advance."""


class Redactor:
    """A registry of secrets, and the text without them."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def add(self, *secrets: str) -> None:
        """Register secrets; values under 8 characters are ignored."""
        forms = {form for secret in secrets for form in _forms(_without_scheme(secret))}
        # The longest first, so that a secret that contains another one is replaced whole.
        self._forms = tuple(sorted({*self._forms, *forms}, key=len, reverse=True))

    def add_url(self, url: str) -> None:
        """Register a URL that is itself a secret: the whole, its user information and tokens."""
        _host, *tokens = re.split(r"[/?&=#]", url.partition("://")[2])
        self.add(url, *(token for token in tokens if len(token) >= _MIN_TOKEN_LENGTH))
        self.add_user_info(url)

    def add_user_info(self, url: str) -> None:
        """Register the user information of a URL; the rest of the URL is not secret."""
        user_info, at, _ = url.partition("://")[2].rpartition("@")
        if at:
            password = user_info.partition(":")[2] or user_info
            self.add(user_info, unquote(user_info), password, unquote(password))

    def clear(self) -> None:
        """Forget all secrets."""
        self._forms = ()

    def redact(self, text: str) -> str:
        """Return the text with secrets replaced, and URLs without user information.

        A text without either is returned as the same object.
        """
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if "@" in text and "://" in text:
            text = _USER_INFO.sub("", text)
        lower = text.lower()
        if "basic" in lower or "bearer" in lower or "response" in lower:
            text = _AUTHORIZATION.sub(_mask_authorization, text)
        return text

    def redact_bytes(self, data: bytes) -> bytes:
        """Return UTF-8 data, redacted as text; bytes of other encodings stay as they are."""
        text = data.decode(errors="surrogateescape")
        redacted = self.redact(text)
        return data if redacted == text else redacted.encode(errors="surrogateescape")


SECRETS: Final = Redactor()
"""The secrets of this process."""

_MIN_TOKEN_LENGTH: Final = 16


def _without_scheme(secret: str) -> str:
    return secret.removeprefix("Bearer ").removeprefix("Basic ")


def _forms(secret: str) -> Iterator[str]:
    """Yield the secret as it is, as JSON and URLs escape it, and in Base64."""
    if len(secret) < MIN_SECRET_LENGTH:
        return
    yield secret
    yield quote(secret, safe="", errors="replace")
    yield quote_plus(secret, errors="replace")
    data = secret.encode(errors="surrogateescape")
    yield json.dumps(data.decode(errors="replace"), ensure_ascii=False)[1:-1]
    for start in range(3):
        yield from _base64_forms(data, start)


def _base64_forms(data: bytes, start: int) -> Iterator[str]:
    """Yield the characters that encode the data, whatever stands around it in the encoded text.

    Args:
        start: Bytes of other text, modulo 3, before the data: `user:password` in Basic.
    """
    padded = bytes(start) + data
    first = -(-start * 8 // 6)  # the characters before it depend on the other text as well
    last = len(padded) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(padded)[first:last].decode()


def _mask_authorization(found: re.Match[str]) -> str:
    scheme, response = found.groups()
    return f"{scheme} {MASK}" if scheme else f"{response}{MASK}"

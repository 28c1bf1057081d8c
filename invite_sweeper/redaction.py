"""Redaction: no output shows a known secret, or the user information of a URL.

`SECRETS` is the registry of the process: `atlas.credentials.Secret` and the commands fill it,
and standard output, standard error, the audit log and every other output pass through it.

A text is searched as it is and decoded (percent, HTML entities, quoted-printable, escapes of
JSON; up to `_MAX_DECODINGS` inside one another), without regard to case, white space and
invisible characters, for each secret as text, in hex and in Base64. What is found is replaced in
the text as it was.
"""

import base64
import html
import json
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

MASK: Final = "***"
MIN_SECRET_LENGTH: Final = 8
"""A shorter value would be found everywhere; as part of a URL it is removed all the same."""
MAX_RESPONSES: Final = 500
"""Digest responses that are known at a time: more than requests in flight and their answers."""

_MIN_TOKEN_LENGTH: Final = 16
_MAX_DECODINGS: Final = 3
_USER_INFO: Final = re.compile(r"""(?<=://)(?!USER:PASSWORD@)[^\s/?#"'<>\\|]*@""")
"""In a URL; but for the words with which help and hints show where to write it."""
_AUTHORIZATION: Final = re.compile(
    r"\b(basic|bearer)(?:\s+|%20|\+)[\w+/=.~%-]{16,}"
    r"|\b(response(?:=|%3D)(?:\\*\"|&quot;|&\#34;|%22)?)[0-9a-f]{32,128}",
    re.IGNORECASE | re.ASCII,
)
"""Credentials of an echoed `Authorization` header, of this run or another."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SURE_ESCAPES: Final = (
    r"(?P<percent>(?:%[0-9a-f]{2})+)"
    r"|&(?:\#[0-9]{1,8}|\#x[0-9a-f]{1,7}|[a-z][a-z0-9]{1,30});"
    r"|(?P<units>(?:\\u[0-9a-f]{4})+)"
    r"|\\x(?P<code>[0-9a-f]{2})"
    r"|\[u\+(?P<shown>[0-9a-f]{4,5})\]"
)
"""Percent encoding, HTML entities, code points of JSON and of programming languages, and those
of `text.escape_unprintable`."""
_ESCAPE: Final = re.compile(
    rf"(?=[%&\\=[])(?:{_SURE_ESCAPES}"
    r"|\\(?P<letter>[bfnrt\"'/\\])"
    r"|(?P<quoted>(?:=[0-9a-f]{2})+))",
    re.IGNORECASE,
)
"""These, letters after a backslash, and quoted-printable."""
_SURE_ESCAPE: Final = re.compile(rf"(?=[%&\\[])(?:{_SURE_ESCAPES})", re.IGNORECASE)
"""In `key=ab%2Fc` the characters after `=` are of the value."""
_BLANK: Final = re.compile(r"[\s\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")
"""White space and invisible characters."""
_SOFT_BREAK: Final = re.compile(r"=\r?\n")
"""Of quoted-printable. A secret that ends in `=`, at the end of a line, looks the same."""
_RARE_ESCAPE: Final = re.compile(r"=(?:[0-9a-f]{2}|\r?\n)|\[u\+", re.IGNORECASE)
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BLOCK: Final = 16
"""Characters of the blocks into which a text is cut to find out whether to search it."""
_RESPONSE_LENGTH: Final = 32
"""Characters of the shortest digest response (MD5); its other forms are longer."""
_LONG_RUN: Final = re.compile(rf"[0-9a-z+/_=-]{{{_RESPONSE_LENGTH},}}")

Span: TypeAlias = tuple[int, int]


class Redactor:
    """A registry of secrets, and the text without them."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._short_forms: set[str] = set()
        self._blocks: set[str] = set()
        self._min_length = sys.maxsize
        self._responses: deque[str] = deque(maxlen=MAX_RESPONSES)
        self._response_forms: dict[str, str] = {}

    def add(self, *secrets: str) -> None:
        """Register secrets; values under 8 characters are ignored."""
        forms = {form for secret in secrets for form in _forms(_without_scheme(secret))}
        # The longest first, so that a secret that contains another one is replaced whole.
        self._forms = tuple(sorted({*self._forms, *forms}, key=len, reverse=True))
        for form in forms:
            if len(form) < 2 * _BLOCK:
                self._short_forms.add(form)
            else:
                self._blocks.update(form[start : start + _BLOCK] for start in range(_BLOCK))
        self._min_length = min(self._min_length, *map(len, forms), sys.maxsize)

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

    def add_response(self, authorization: str) -> None:
        """Register the response of an HTTP Digest header; the oldest is forgotten for it."""
        found = re.search(r'\bresponse="?([0-9a-f]{32,128})', authorization)
        if found is None:
            return
        if len(self._responses) == MAX_RESPONSES:
            for form in _forms(self._responses[0]):
                self._response_forms.pop(form[:_RESPONSE_LENGTH], None)
        self._responses.append(found[1])
        self._min_length = min(self._min_length, _RESPONSE_LENGTH)
        for form in _forms(found[1]):
            self._response_forms[form[:_RESPONSE_LENGTH]] = form

    def clear(self) -> None:
        """Forget all secrets."""
        self._forms = ()
        self._short_forms.clear()
        self._blocks.clear()
        self._min_length = sys.maxsize
        self._responses.clear()
        self._response_forms.clear()

    def redact(self, text: str) -> str:
        """Return the text with secrets replaced, and URLs without user information.

        A text without either is returned as the same object.
        """
        folded = _fold(text)
        # Decoding makes no text longer.
        if len(text) >= self._min_length and self._may_contain_secret(folded):
            text = self._mask_secrets(text)
        if "@" in text and "://" in text:
            text = _USER_INFO.sub("", text)
        if "basic" in folded or "bearer" in folded or "response" in folded:
            text = _AUTHORIZATION.sub(_mask_authorization, text)
        return text

    def redact_bytes(self, data: bytes) -> bytes:
        """Return UTF-8 data, redacted as text; bytes of other encodings stay as they are."""
        text = data.decode(errors="surrogateescape")
        redacted = self.redact(text)
        return data if redacted == text else redacted.encode(errors="surrogateescape")

    def _may_contain_secret(self, folded: str) -> bool:
        """Return whether a text must be searched; most lines of the log need not.

        Wherever a secret begins, one of its first blocks is a whole block of the text. So the
        time does not depend on the number of secrets.
        """
        if _may_be_encoded(folded):
            return True
        dense = _without_blanks(folded)
        blocks = [dense[start : start + _BLOCK] for start in range(0, len(dense), _BLOCK)]
        if not self._blocks.isdisjoint(blocks):
            return True
        if any(map(dense.__contains__, self._short_forms)):
            return True
        return bool(self._response_forms) and _LONG_RUN.search(dense) is not None

    def _mask_secrets(self, text: str) -> str:
        found = set(self._find_encoded(text, _ESCAPE, _BLANK))
        if "=" in text or "\\" in text:
            found |= set(self._find_encoded(text, _SURE_ESCAPE, _BLANK))
        if "=" in text:
            found |= set(self._find_encoded(text, _ESCAPE, _SOFT_BREAK, _BLANK))
        return _mask(text, found)

    def _find_encoded(
        self, text: str, escape: re.Pattern[str], *removed: re.Pattern[str]
    ) -> Iterator[Span]:
        """Yield where secrets stand in the text, as it is and decoded up to three times.

        Args:
            escape: What is decoded.
            removed: What is removed before and after each decoding, in this order.
        """
        steps, view = removed, _remove(removed, text)
        for _ in range(_MAX_DECODINGS + 1):
            if spans := tuple(self._find(_fold(view))):
                origins = _origins(text, steps)
                yield from ((origins[start][0], origins[end - 1][1]) for start, end in spans)
            if not _may_be_encoded(view):
                return
            before, view = view, _remove(removed, escape.sub(_decode, view))
            if view == before:
                return
            steps += (escape, *removed)

    def _find(self, folded: str) -> Iterator[Span]:
        """Yield where secrets stand; spans may overlap."""
        for form in self._forms:
            start = folded.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = folded.find(form, start + len(form))
        if not self._response_forms:
            return
        for run in _LONG_RUN.finditer(folded):
            for start in range(run.start(), run.end() - _RESPONSE_LENGTH + 1):
                response = self._response_forms.get(folded[start : start + _RESPONSE_LENGTH])
                if response is not None and folded.startswith(response, start):
                    yield start, start + len(response)


SECRETS: Final = Redactor()
"""The secrets of this process."""


def _without_scheme(secret: str) -> str:
    return secret.removeprefix("Bearer ").removeprefix("Basic ")


def _forms(secret: str) -> Iterator[str]:
    """Yield the spellings of a secret that decoding does not undo, as `_fold` returns them."""
    if len(secret) < MIN_SECRET_LENGTH:
        return
    if _UUID.fullmatch(secret):
        yield from _forms(secret.replace("-", ""))
    data = secret.encode(errors="surrogateescape")
    spellings = {
        secret,
        secret.replace(" ", "+"),
        # As they stand: what precedes them may change how they are decoded.
        quote(secret, safe="", errors="replace"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        secret.encode(errors="replace").decode(),
        data.decode(errors="replace"),
        data.hex(),
    }
    for start in range(3):
        spellings.update(_base64_forms(data, start))
    decoded = secret  # of a secret with escapes, decoding a text leaves this
    for _ in range(_MAX_DECODINGS):
        spellings.add(decoded := _ESCAPE.sub(_decode, _without_blanks(decoded)))
    yield from (
        _fold(_without_blanks(each)) for each in spellings if len(each) >= MIN_SECRET_LENGTH
    )


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


def _fold(text: str) -> str:
    """Return the text in lower case, of the same length, so that positions stay."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _decode(escape: re.Match[str]) -> str:
    kind, value = escape.lastgroup, escape[escape.lastindex or 0]
    match kind:
        case "percent" | "quoted":
            data = bytes.fromhex(re.sub("[%=]", "", value))
            return data.decode(errors="surrogateescape")
        case "units":
            data = bytes.fromhex(re.sub(r"\\u", "", value, flags=re.IGNORECASE))
            return data.decode("utf-16-be", "surrogatepass")
        case "code" | "shown":
            return chr(int(value, 16))
        case "letter":
            return _LETTERS.get(value, value)
        case _:
            return html.unescape(value)


def _may_be_encoded(text: str) -> bool:
    if "%" in text or "&" in text or "\\" in text:
        return True
    return ("=" in text or "+" in text) and _RARE_ESCAPE.search(text) is not None


def _without_blanks(text: str) -> str:
    """Return the text without what `_BLANK` matches."""
    dense = "".join(text.split())
    return dense if dense.isascii() or dense.isprintable() else _BLANK.sub("", text)


def _remove(patterns: Iterable[re.Pattern[str]], text: str) -> str:
    for pattern in patterns:
        text = pattern.sub("", text)
    return text


def _origins(text: str, steps: Iterable[re.Pattern[str]]) -> list[Span]:
    """Return where in the text each character stands of what the steps make of it."""
    origins = [(index, index + 1) for index in range(len(text))]
    for pattern in steps:
        replace = _decode if pattern.groups else _nothing
        pieces: list[str] = []
        moved: list[Span] = []
        end = 0
        for found in pattern.finditer(text):
            start, stop = found.span()
            pieces += (text[end:start], value := replace(found))
            moved += origins[end:start]
            moved += [(origins[start][0], origins[stop - 1][1])] * len(value)
            end = stop
        text, origins = "".join((*pieces, text[end:])), moved + origins[end:]
    return origins


def _nothing(_found: re.Match[str]) -> str:
    return ""


def _mask(text: str, spans: Iterable[Span]) -> str:
    """Return the text with `MASK` in place of each span; overlapping ones get one mask."""
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            pieces += (text[end:start], MASK)
        end = max(end, stop)
    return "".join((*pieces, text[end:])) if pieces else text


def _mask_authorization(found: re.Match[str]) -> str:
    scheme, response = found.groups()
    return f"{scheme} {MASK}" if scheme else f"{response}{MASK}"

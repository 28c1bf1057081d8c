"""Redaction: no output shows a known secret, or the user information of a URL.

`SECRETS` is the registry of the process: `atlas.credentials.Secret` and the commands fill it,
and standard output, standard error, the audit log and every other output pass through it.

A secret is replaced where it stands, whatever the case: as text, in hex, in Base64, or as JSON,
HTML and URLs write it. A value or line that still hides one is replaced as a whole: encoded again
(percent, HTML entities, quoted-printable, escapes of JSON; up to `_MAX_DECODINGS` inside one
another), or with white space or invisible characters in it.
"""

import base64
import html
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"
MIN_SECRET_LENGTH: Final = 8
"""A shorter value would be found everywhere; as part of a URL it is removed all the same."""
MAX_RESPONSES: Final = 500
"""Digest responses that are known at a time: more than requests in flight and their answers."""

_MIN_TOKEN_LENGTH: Final = 16
_MAX_DECODINGS: Final = 3
_BLOCK: Final = 12
_STEP: Final = 12
"""Distance of the blocks of a text, in characters, that tell which forms it may contain."""
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
    rf"{_SURE_ESCAPES}|\\(?P<letter>[bfnrt\"'/\\])|(?P<quoted>(?:=[0-9a-f]{{2}})+)", re.IGNORECASE
)
"""These, letters after a backslash, and quoted-printable."""
_BLANKS: Final = r"[\s\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
_BLANK: Final = re.compile(_BLANKS)
"""White space and invisible characters."""
_READINGS: Final = (
    (_ESCAPE, _BLANK),
    (re.compile(_SURE_ESCAPES, re.IGNORECASE), _BLANK),
    (_ESCAPE, re.compile(rf"=\r?\n|{_BLANKS}")),
)
"""What is decoded and what is removed. In `key=ab%2Fc` the characters after `=` are of the value;
`=` at the end of a line is of a secret, or a soft break of quoted-printable."""
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_VALUE: Final = re.compile(r'(?:\\.|[^"\\\n])+')
"""Of JSON, or a line of text."""


class Redactor:
    """A registry of secrets, and the text without them."""

    def __init__(self) -> None:
        self._short_forms: set[str] = set()
        self._forms: dict[str, set[str]] = {}  # by each block that they begin with or soon contain
        self._responses: deque[str] = deque()

    def add(self, *secrets: str) -> None:
        """Register secrets; values under 8 characters are ignored."""
        for secret in secrets:
            for form in _forms(secret.removeprefix("Bearer ").removeprefix("Basic ")):
                if len(form) < _BLOCK + _STEP:
                    self._short_forms.add(form)
                else:
                    for block in _first_blocks(form):
                        self._forms.setdefault(block, set()).add(form)

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
        self.add(found[1])
        self._responses.append(found[1])
        if len(self._responses) > MAX_RESPONSES:
            for form in _forms(self._responses.popleft()):
                for block in _first_blocks(form):
                    if forms := self._forms.pop(block, set()) - {form}:
                        self._forms[block] = forms

    def redact(self, text: str) -> str:
        """Return the text with secrets replaced, and URLs without user information.

        A text without either is returned as the same object.
        """
        if self._is_in(text):
            text = _mask(text, self._find(_fold(text)))
            if self._is_in(text):
                text = _VALUE.sub(lambda value: MASK if self._is_in(value[0]) else value[0], text)
                text = MASK if self._is_in(text) else text
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

    def _is_in(self, text: str) -> bool:
        """Return whether a secret is in a text, as it is or hidden."""
        return any(map(self._find, _views(text)))

    def _find(self, folded: str) -> list[str]:
        """Return the forms in a text.

        Wherever a long one begins, one of its first blocks is one of the text. So the time does
        not depend on the number of secrets.
        """
        found = [form for form in self._short_forms if form in folded]
        blocks = [folded[start : start + _BLOCK] for start in range(0, len(folded), _STEP)]
        if not self._forms.keys().isdisjoint(blocks):
            near = set().union(*(self._forms.get(block, ()) for block in blocks))
            found += [form for form in near if form in folded]
        return found


SECRETS: Final = Redactor()
"""The secrets of this process."""


def _first_blocks(form: str) -> Iterator[str]:
    return (form[start : start + _BLOCK] for start in range(_STEP))


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may stand in a text as `_fold` returns it, with blanks and without."""
    if len(secret) < MIN_SECRET_LENGTH:
        return
    if _UUID.fullmatch(secret):
        yield from _forms(secret.replace("-", ""))
    data = secret.encode(errors="surrogateescape")
    spellings = {secret, data.hex()}
    for start in range(3):
        spellings.update(_base64_forms(data, start))
    if not (secret.isascii() and secret.isalnum()):
        spellings |= {
            secret.replace(" ", "+"),
            # As they stand: what precedes them may change how they are decoded.
            quote(secret, safe="", errors="replace"),
            quote_plus(secret, errors="replace"),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            html.escape(secret),
            secret.encode(errors="replace").decode(),
            data.decode(errors="replace"),
        }
        decoded = secret  # of a secret with escapes, decoding a text leaves this
        for _ in range(_MAX_DECODINGS):
            spellings.add(decoded := _ESCAPE.sub(_decode, _without_blanks(decoded)))
    for each in spellings:
        if len(each) >= MIN_SECRET_LENGTH:
            yield from {_fold(each), _fold(_without_blanks(each) or each)}


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


def _views(text: str) -> Iterator[str]:
    """Yield the text without blanks, as it is and decoded up to three times."""
    yield _fold(_without_blanks(text))
    if not any(map(text.__contains__, ("%", "&", "\\", "=", "[U+", "[u+"))):
        return
    for escape, removed in _READINGS:
        view, before = removed.sub("", text), None
        for _ in range(_MAX_DECODINGS + 1):
            if view == before:
                break
            yield _fold(view)
            before, view = view, removed.sub("", escape.sub(_decode, view))


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


def _without_blanks(text: str) -> str:
    dense = "".join(text.split())
    return dense if dense.isascii() or dense.isprintable() else _BLANK.sub("", text)


def _mask(text: str, forms: Iterable[str]) -> str:
    """Return the text with `MASK` in place of the forms; overlapping ones get one mask."""
    folded, marks = _fold(text), bytearray(len(text))
    for form in forms:
        start = folded.find(form)
        while start >= 0:
            marks[start : start + len(form)] = b"x" * len(form)
            start = folded.find(form, start + 1)
    pieces: list[str] = []
    end = 0
    for found in re.finditer(b"x+", marks):
        pieces += text[end : found.start()], MASK
        end = found.end()
    return "".join((*pieces, text[end:]))


def _mask_authorization(found: re.Match[str]) -> str:
    scheme, response = found.groups()
    return f"{scheme} {MASK}" if scheme else f"{response}{MASK}"

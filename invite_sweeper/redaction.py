"""Redaction: no output shows a known secret, or the user information of a URL.

`SECRETS` is the registry of the process: `atlas.credentials.Secret` and the commands fill it,
and standard output, standard error, the audit log and every other output pass through it.

A secret that a text shows is masked where it stands, in any case: as text, in hex, in Base64, or
as JSON, HTML and URLs write it. A text that hides one anywhere else is masked whole: encoded again
(percent, HTML entities, escapes of JSON; up to `_MAX_DECODINGS` inside one another), or with white
space or invisible characters in it. Both are decided on the text as it came. Of a document of JSON
each value is a text.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import ceil
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"
MIN_SECRET_LENGTH: Final = 8
"""A shorter value would be found everywhere; as part of a URL it is removed all the same."""

_MIN_TOKEN_LENGTH: Final = 16
_BLOCK: Final = 16
"""A text is cut into blocks of this many characters, which are looked up among those of forms."""
_MIN_LONG: Final = 2 * _BLOCK - 1
"""A form this long contains a whole block of a text, wherever it begins in the text."""
_MAX_DECODINGS: Final = 4
"""Two encodings that other programs made, that of the document in which the text stands, and the
escapes of a secret that has some itself."""
_USER_INFO: Final = re.compile(r"""(?<=://)(?!USER:PASSWORD@)[^\s/?#"'<>\\|]*@""")
"""User information in a URL, but for the words with which help and hints show its place."""
_AUTHORIZATION: Final = re.compile(
    r"\b(basic|bearer)(?:\s+|%20|\+)[\w+/=.~%-]{16,}", re.IGNORECASE | re.ASCII
)
"""Credentials of an echoed `Authorization` header, of this run or another."""
CLIENT_SECRET_PREFIX: Final = "mdb_sa_sk_"  # noqa: S105 - how each begins
"""How the secret of a service account begins. Source: Atlas documentation (read 2026-11)."""
SIGNING_KEY_PREFIX: Final = "whsec_"
"""How a signing key in Base64 begins, as Standard Webhooks writes it."""
_CLIENT_SECRET: Final = re.compile(
    rf"\b{CLIENT_SECRET_PREFIX}(?!0{{30}})[\w.~-]{{8,}}", re.IGNORECASE | re.ASCII
)
"""The secret of a service account, of this run or another; but for those of the simulated Atlas,
which `simulate` prints: they begin with 30 zeros."""
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ESCAPE: Final = re.compile(
    r"(?P<percent>(?:%[0-9a-f]{2})+)"
    r"|&(?:\#[0-9]{1,8}|\#x[0-9a-f]{1,7}|[a-z][a-z0-9]{1,30});"
    r"|(?P<units>(?:\\u[0-9a-f]{4})+)"
    r"|\\x(?P<code>[0-9a-f]{2})"
    r"|\[u\+(?P<shown>[0-9a-f]{4,5})\]"
    r"|\\(?P<letter>[bfnrt\"'/\\])",
    re.IGNORECASE,
)
"""Percent encoding, HTML entities, code points of JSON and of programming languages, those of
`text.escape_unprintable`, and letters after a backslash."""
_BLANK: Final = re.compile(r"[\s\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")
"""White space and invisible characters."""
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_RARE: Final = re.compile("[\U00010000-\U0010ffff]")
"""Characters that `_fold` replaces, so that these are free to mark others."""
_MARKS: Final = 0xF0000
"""Added to the code of each character of a secret that is shown, so that it can be taken neither
for an escape nor for white space."""
_MARKED: Final = re.compile("[\U000f0000-\U000fffff]+")


class _Span(NamedTuple):
    """A part of a text, from its first character to before `end`."""

    start: int
    end: int


class Redactor:
    """A registry of secrets, and the text without them."""

    def __init__(self) -> None:
        self._forms: set[str] = set()  # of all secrets, folded
        self._short_forms: set[str] = set()  # those of them that may contain no block
        self._blocks: set[str] = set()  # of the long forms

    def add(self, *secrets: str) -> None:
        """Register secrets; values under 8 characters are ignored."""
        for secret in secrets:
            for form in _forms(secret.removeprefix("Bearer ").removeprefix("Basic ")):
                self._forms.add(form)
                if len(form) < _MIN_LONG:
                    self._short_forms.add(form)
                    continue
                # One of its first characters begins a block of the text, wherever the text has it.
                for start in range(_BLOCK):
                    self._blocks.add(form[start : start + _BLOCK])

    def add_url(self, url: str) -> None:
        """Register a URL that is itself a secret: the whole, its user information and tokens."""
        # Receivers have their secret in the path or the query; the host is known to many.
        _host, *tokens = re.split(r"[/?&=#]", url.partition("://")[2])
        self.add(url, *(token for token in tokens if len(token) >= _MIN_TOKEN_LENGTH))
        self.add_user_info(url)

    def add_user_info(self, url: str) -> None:
        """Register the user information of a URL; the rest of the URL is not secret."""
        user_info, at, _ = url.partition("://")[2].rpartition("@")
        if at:  # `token@host` has no name before its password
            password = user_info.partition(":")[2] or user_info
            self.add(user_info, unquote(user_info), password, unquote(password))

    def redact(self, text: str) -> str:
        """Return the text without secrets, and URLs without user information.

        A text without either is returned as the same object.
        """
        if self.knows(text):
            marked = self._mark_shown(_fold(text))
            if self._hides(marked):
                return MASK
            text = _mask(text, marked)
        return _mask_unknown(text)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return what is printed, text or lines of JSON in UTF-8, without secrets.

        Bytes of other encodings stay as they are.
        """
        text = data.decode(errors="surrogateescape")
        redacted = self.redact(text)
        if redacted is text:
            return data
        if text.startswith("{"):
            with suppress(ValueError, RecursionError):  # not JSON
                lines = (self._redact_json(line) if line else "" for line in text.split("\n"))
                redacted = self.redact("\n".join(lines))
        return redacted.encode(errors="surrogateescape")

    def _redact_json(self, line: str) -> str:
        """Return JSON with each of its texts redacted. Raise ValueError if it is not JSON."""
        value = self._redact_texts(json.loads(line))
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def _redact_texts(self, value: object) -> object:
        match value:
            case str():
                return self.redact(value)
            case dict():
                return {self.redact(key): self._redact_texts(part) for key, part in value.items()}
            case list():
                return [self._redact_texts(part) for part in value]
            case _:
                return value

    def knows(self, text: str) -> bool:
        """Return whether a text shows or hides a known secret."""
        plain = _fold(_without_blanks(text))
        if not _may_be_encoded(text):  # as nearly always
            return bool(self._forms_in(plain))
        return any(self._forms_in(_fold(view)) for view in _views(text))

    def _mark_shown(self, folded: str) -> str:
        """Return a folded text with the characters of secrets marked that it shows as they are."""
        characters = list(folded)
        for start, end in _occurrences(folded, self._forms_in(folded)):
            characters[start:end] = (chr(ord(each) + _MARKS) for each in folded[start:end])
        return "".join(characters)

    def _hides(self, marked: str) -> bool:
        """Return whether a secret has a character that is not one of a shown secret."""
        for view in _views(marked):
            folded = _fold(_MARKED.sub(_unmark, view))
            for start, end in _occurrences(folded, self._forms_in(folded)):
                if not _MARKED.fullmatch(view, start, end):
                    return True
        return False

    def _forms_in(self, folded: str) -> list[str]:
        """Return the forms of secrets in a folded text.

        A process with the credentials of 51 organizations knows 600 forms. The blocks of a text
        are looked up in one set, so that a line without a secret, as nearly all are, takes the
        same time for any number of them.
        """
        # Not all at once: the last line of a run may have megabytes.
        blocks = (folded[start : start + _BLOCK] for start in range(0, len(folded), _BLOCK))
        forms = self._short_forms if self._blocks.isdisjoint(blocks) else self._forms
        return [form for form in forms if form in folded]


SECRETS: Final = Redactor()
"""The secrets of this process."""


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may stand in a text as `_fold` returns it, with blanks and without."""
    if len(secret) < MIN_SECRET_LENGTH:
        return
    if UUID.fullmatch(secret):
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
        # A secret may have escapes in it: a text is decoded, and with it the secret.
        decoded = secret
        for _ in range(_MAX_DECODINGS):
            decoded = _ESCAPE.sub(_decode, _without_blanks(decoded))
            spellings.add(decoded)
    for spelling in spellings:
        if len(spelling) >= MIN_SECRET_LENGTH:
            yield _fold(spelling)
            yield _fold(_without_blanks(spelling) or spelling)


def _base64_forms(data: bytes, start: int) -> Iterator[str]:
    """Yield the characters that encode the data, with any text before and after it.

    Args:
        start: Bytes of other text, modulo 3, before the data: `user:password` in Basic.
    """
    # A character has 6 bits of the 8 of a byte. Those at both ends that have bits of the other
    # text, too, are left out: the first is rounded up, the last down.
    padded = bytes(start) + data
    first = ceil(start * 8 / 6)
    last = len(padded) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(padded)[first:last].decode()


def _decode(escape: re.Match[str]) -> str:
    """Return what an escape stands for."""
    value = escape[escape.lastindex or 0]
    match escape.lastgroup:
        case "percent":
            data = bytes.fromhex(value.replace("%", ""))
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


def _views(text: str) -> Iterator[str]:
    """Yield the text without blanks, as it is and decoded up to `_MAX_DECODINGS` times."""
    view = _without_blanks(text)
    yield view
    for _ in range(_MAX_DECODINGS):
        decoded = _without_blanks(_ESCAPE.sub(_decode, view))
        if decoded == view:
            break
        view = decoded
        yield view


def _may_be_encoded(text: str) -> bool:
    """Return whether a text may have escapes: each of them begins with one of these."""
    # One after another, because a loop over them takes longer than all of them.
    return "%" in text or "&" in text or "\\" in text or "[u+" in text or "[U+" in text


def _occurrences(folded: str, forms: Iterable[str]) -> Iterator[_Span]:
    """Yield where the forms stand in a text; the occurrences of one may overlap."""
    for form in forms:
        start = folded.find(form)
        while start >= 0:
            yield _Span(start, start + len(form))
            start = folded.find(form, start + 1)


def _fold(text: str) -> str:
    """Return the text in lower case, of the same length, so that positions stay."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(map(_lower_character, text))
    return lower if lower.isascii() else _RARE.sub("\ufffd", lower)


def _lower_character(character: str) -> str:
    """Return a character in lower case; one that would become two, as `İ` does, stays."""
    lower = character.lower()
    return lower if len(lower) == 1 else character


def _without_blanks(text: str) -> str:
    """Return the text without white space and invisible characters."""
    # As `_BLANK.sub` does; a text of printable characters has no invisible ones.
    dense = "".join(text.split())
    return dense if dense.isascii() or dense.isprintable() else _BLANK.sub("", text)


def _unmark(part: re.Match[str]) -> str:
    """Return the characters that were marked."""
    return "".join(chr(ord(each) - _MARKS) for each in part[0])


def _mask(text: str, marked: str) -> str:
    """Return the text with `MASK` in place of what is marked; parts that touch get one mask."""
    pieces: list[str] = []
    end = 0
    for part in _MARKED.finditer(marked):
        pieces += [text[end : part.start()], MASK]
        end = part.end()
    return "".join([*pieces, text[end:]])


def _mask_unknown(text: str) -> str:
    """Return the text without credentials that are not registered: of URLs and echoed headers."""
    if "@" in text and "://" in text:
        text = _USER_INFO.sub("", text)
    lower = text.lower()
    if CLIENT_SECRET_PREFIX in lower:
        text = _CLIENT_SECRET.sub(MASK, text)
    if "basic" in lower or "bearer" in lower:
        text = _AUTHORIZATION.sub(rf"\1 {MASK}", text)
    return text

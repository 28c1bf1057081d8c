"""Redaction: no output shows a known secret, or the user information of a URL.

`SECRETS` is the registry of the process: `atlas.credentials.Secret` and the commands fill it,
and standard output, standard error, the audit log and every other output pass through it.

A secret is replaced where it stands, in any case: as text, in hex, in Base64, or as JSON,
HTML and URLs write it. It is hidden where it is encoded again (percent, HTML entities,
quoted-printable, escapes of JSON; up to `_MAX_DECODINGS` inside one another), or has white space
or invisible characters in it: a field that hides one is replaced as a whole, and of a text every
line, or value in quotes, that a hidden one touches. All of it is decided on the text as it came.
"""

import base64
import html
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
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
"""Three encodings that others made, and the JSON of an output."""
_USER_INFO: Final = re.compile(r"""(?<=://)(?!USER:PASSWORD@)[^\s/?#"'<>\\|]*@""")
"""User information in a URL, but for the words with which help and hints show its place."""
_AUTHORIZATION: Final = re.compile(
    r"\b(basic|bearer)(?:\s+|%20|\+)[\w+/=.~%-]{16,}", re.IGNORECASE | re.ASCII
)
"""Credentials of an echoed `Authorization` header, of this run or another."""
CLIENT_SECRET_PREFIX: Final = "mdb_sa_sk_"  # noqa: S105 - how each begins
"""How the secret of a service account begins. Source: Atlas documentation (read 2026-11)."""
_CLIENT_SECRET: Final = re.compile(
    rf"\b{CLIENT_SECRET_PREFIX}(?!0{{30}})[\w.~-]{{8,}}", re.IGNORECASE | re.ASCII
)
"""The secret of a service account, of this run or another; but for those of the simulated Atlas,
which `simulate` prints: they begin with 30 zeros."""
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
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
"""These escapes, letters after a backslash, and quoted-printable."""
_BLANKS: Final = r"[\s\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
_BLANK: Final = re.compile(_BLANKS)
"""White space and invisible characters."""


class _Change(NamedTuple):
    """A step from a text to a view of it: what matches is replaced."""

    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


class _View(NamedTuple):
    """A text as a reader may see it, folded, and the changes that made it of the original."""

    text: str
    changes: tuple[_Change, ...]


class _Span(NamedTuple):
    """A part of a text, from its first character to before `end`."""

    start: int
    end: int


class _SecretSpans(NamedTuple):
    """Where a text has secrets.

    Attributes:
        shown: Secrets as they are; in order and apart.
        hidden: Secrets that are encoded, or have blanks in them; in any order.
    """

    shown: Sequence[_Span]
    hidden: Sequence[_Span]


_NO_SECRETS: Final = _SecretSpans((), ())
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_VALUE: Final = re.compile(r'(?:\\.|[^"\\\n])+')
"""A value in quotes of JSON, or a line of text: it is masked as a whole."""


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
        """Return the text with secrets replaced, and URLs without user information.

        A text without either is returned as the same object.
        """
        shown, hidden = self._find_secrets(text)
        if shown or hidden:
            text = _mask(text, [*shown, *_widen(text, hidden)])
        return _mask_unknown(text)

    def redact_field(self, text: str) -> str:
        """Return a field as `redact` does, and `MASK` for one that hides a secret."""
        shown, hidden = self._find_secrets(text)
        if hidden:
            return MASK
        return _mask_unknown(_mask(text, shown) if shown else text)

    def first_secret(self, text: str) -> int | None:
        """Return where the first known secret begins that a text shows or hides; None without."""
        shown, hidden = self._find_secrets(text)
        return min((span.start for span in (*shown, *hidden)), default=None)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return UTF-8 data, redacted as text; bytes of other encodings stay as they are."""
        text = data.decode(errors="surrogateescape")
        redacted = self.redact(text)
        return data if redacted == text else redacted.encode(errors="surrogateescape")

    def _find_secrets(self, text: str) -> _SecretSpans:
        """Return where a text shows secrets as they are, and where else it hides some."""
        plain = _fold(_without_blanks(text))
        if not _may_be_encoded(text) and not self._forms_in(plain):  # as nearly always
            return _NO_SECRETS
        suspicious = [view for view in _views(text) if self._forms_in(view.text)]
        if not suspicious:
            return _NO_SECRETS
        folded = _fold(text)
        shown = _join(_occurrences(folded, self._forms_in(folded)))
        hidden: list[_Span] = []
        for view in suspicious:
            origins = _origins(text, view.changes)
            for start, end in _occurrences(view.text, self._forms_in(view.text)):
                span = _Span(origins[start].start, origins[end - 1].end)
                if not _covers(shown, span):
                    hidden.append(span)
        return _SecretSpans(shown, hidden)

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


class _Reading(NamedTuple):
    """A way to read a text: escapes are decoded, and blanks removed, again and again."""

    decode: _Change
    remove: _Change


_REMOVE_BLANKS: Final = _Change(_BLANK, "")
_READINGS: Final = (
    _Reading(_Change(_ESCAPE, _decode), _REMOVE_BLANKS),
    # In `key=ab%2Fc` the characters after `=` are those of the value, not quoted-printable.
    _Reading(_Change(re.compile(_SURE_ESCAPES, re.IGNORECASE), _decode), _REMOVE_BLANKS),
    # `=` at the end of a line is of a secret, or a soft break of quoted-printable.
    _Reading(_Change(_ESCAPE, _decode), _Change(re.compile(rf"=\r?\n|{_BLANKS}"), "")),
)


def _views(text: str) -> Iterator[_View]:
    """Yield the text without blanks, as it is and decoded up to `_MAX_DECODINGS` times."""
    yield _View(_fold(_without_blanks(text)), (_REMOVE_BLANKS,))
    if not _may_be_encoded(text):
        return
    for decode, remove in _READINGS:
        escape = decode.pattern
        blank = remove.pattern
        changes: tuple[_Change, ...] = (remove,)
        view = blank.sub("", text)
        for _ in range(_MAX_DECODINGS + 1):
            yield _View(_fold(view), changes)
            decoded = blank.sub("", escape.sub(_decode, view))
            if decoded == view:
                break
            view = decoded
            changes = (*changes, decode, remove)


def _may_be_encoded(text: str) -> bool:
    """Return whether a text may have escapes: each of them begins with one of these."""
    # One after another, because a loop over them takes longer than all of them.
    if "%" in text or "&" in text or "\\" in text or "=" in text:
        return True
    return "[u+" in text or "[U+" in text


def _origins(text: str, changes: Iterable[_Change]) -> list[_Span]:
    """Return for each character of a view the part of the original text that it comes from."""
    origins = [_Span(index, index + 1) for index in range(len(text))]
    for pattern, replacement in changes:
        changed_origins: list[_Span] = []
        pieces: list[str] = []
        end = 0  # of the last match
        for match in pattern.finditer(text):
            new = replacement if isinstance(replacement, str) else replacement(match)
            # Each new character comes from all that was replaced.
            replaced = origins[match.start() : match.end()]
            origin = _Span(replaced[0].start, replaced[-1].end)
            changed_origins += origins[end : match.start()]
            changed_origins += [origin] * len(new)
            pieces.append(text[end : match.start()])
            pieces.append(new)
            end = match.end()
        origins = changed_origins + origins[end:]
        text = "".join(pieces) + text[end:]
    return origins


def _occurrences(folded: str, forms: Iterable[str]) -> Iterator[_Span]:
    """Yield where the forms stand in a text; the occurrences of one may overlap."""
    for form in forms:
        start = folded.find(form)
        while start >= 0:
            yield _Span(start, start + len(form))
            start = folded.find(form, start + 1)


def _join(spans: Iterable[_Span]) -> list[_Span]:
    """Return the spans in order; those that touch or overlap are one."""
    joined: list[_Span] = []
    for span in sorted(spans):
        if not joined or span.start > joined[-1].end:
            joined.append(span)
            continue
        last = joined[-1]
        joined[-1] = _Span(last.start, max(last.end, span.end))
    return joined


def _covers(joined: Sequence[_Span], span: _Span) -> bool:
    """Return whether one of the spans, which are in order and apart, contains another one."""
    # Only the last one that begins before it, or with it, can contain it.
    begun = bisect_right(joined, span.start, key=lambda other: other.start)
    return begun > 0 and span.end <= joined[begun - 1].end


def _widen(text: str, spans: Iterable[_Span]) -> Iterator[_Span]:
    """Yield each span with the rest of the lines, or values in quotes, that it touches."""
    values = [_Span(*match.span()) for match in _VALUE.finditer(text)]
    for span in spans:
        # The values that end after its start and begin before its end.
        first = bisect_right(values, span.start, key=lambda value: value.end)
        last = bisect_left(values, span.end, key=lambda value: value.start) - 1
        if first > last:  # between two values
            yield span
            continue
        start = min(span.start, values[first].start)
        end = max(span.end, values[last].end)
        yield _Span(start, end)


def _fold(text: str) -> str:
    """Return the text in lower case, of the same length, so that positions stay."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(map(_lower_character, text))


def _lower_character(character: str) -> str:
    """Return a character in lower case; one that would become two, as `İ` does, stays."""
    lower = character.lower()
    return lower if len(lower) == 1 else character


def _without_blanks(text: str) -> str:
    """Return the text without white space and invisible characters."""
    # As `_BLANK.sub` does; a text of printable characters has no invisible ones.
    dense = "".join(text.split())
    return dense if dense.isascii() or dense.isprintable() else _BLANK.sub("", text)


def _mask(text: str, spans: Iterable[_Span]) -> str:
    """Return the text with `MASK` in place of spans; those that touch get one mask."""
    pieces: list[str] = []
    end = 0
    for span in _join(spans):
        pieces.append(text[end : span.start])
        pieces.append(MASK)
        end = span.end
    pieces.append(text[end:])
    return "".join(pieces)


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

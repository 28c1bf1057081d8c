"""JSON as text, and its timestamps: parse what others sent, write what others read."""

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from invite_sweeper.text import is_unprintable

_NOT_PLAIN: Final = re.compile("[^ -~]")
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def parse_json(data: bytes | str) -> Any:  # noqa: ANN401  callers check what they read
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not JSON, or it is nested too deeply.
    """
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)


def replace_halves(data: bytes) -> bytes:
    r"""Return JSON with U+FFFD for each half of a character (a lone surrogate such as `\ud800`).

    JSON allows it, and UTF-8 cannot represent it: no file, header or terminal could show it.
    """
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape["half"] else escape[0], data)


def to_json(value: object) -> bytes:
    r"""Return JSON in UTF-8, without a newline, keys in their order.

    What UTF-8 cannot represent is replaced as in what Atlas sends (`replace_halves`), and a value
    of another type by its text: nothing is lost for its contents.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
        return _ENCODER.encode(parse_json(replace_halves(json.dumps(plain).encode())))


def json_line(value: object) -> bytes:
    """Return one line of JSON that a terminal can show: names in it come from other people."""
    data = to_json(value)
    if not data.isascii() or b"\x7f" in data:
        text = _NOT_PLAIN.sub(_as_json_escape, data.decode())
        data = text.encode()
    return data + b"\n"


def _as_json_escape(character: re.Match[str]) -> str:
    """Return a character that cannot be shown as JSON escapes it; any other as it is."""
    return json.dumps(character[0])[1:-1] if is_unprintable(character[0]) else character[0]


@lru_cache(maxsize=1024)
def parse_timestamp(text: str | None) -> datetime | None:
    """Return a date in UTC; None without one, and where it cannot be read.

    Cached: each step from the list to the decision asks for the dates of an invitation.

    A date without an offset cannot be read: it could mean any of 26 hours. Nor can one with a
    control character: `fromisoformat` reads a text only up to a NUL.
    """
    if text is None or not text.isprintable():
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is UTC:  # as all that Atlas sends
            return moment
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rfc3339(moment: datetime) -> str:
    """Return RFC 3339 in UTC, with microseconds only if they are not zero."""
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return to_json(in_utc)[1:-1].decode()  # a tenth of the time of `isoformat`

"""What came back to one try: an answer of Atlas, or no whole answer. Pure values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import orjson
from typing_extensions import override

_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
_MAX_DETAIL: Final = 300
_ERROR_KEYS: Final = frozenset(
    {"error", "errorCode", "errors", "error_description", "detail", "reason", "message"}
)
"""Of `ApiError` in the OpenAPI document, of OAuth, and of proxies."""
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})


class Answer(NamedTuple):
    """A whole answer. A named tuple, as one is made for every request.

    Attributes:
        headers: Looked up without regard to case.
        body: Unpacked; empty for a DELETE that was done.
        value: What the caller's reading made of the body; None where it read nothing.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: object = None

    @override
    def __repr__(self) -> str:
        """Show no header and no body: they may hold what is not for logs."""
        return f"Answer(status={self.status})"


@dataclass(frozen=True, slots=True)
class Broken:
    """No whole answer, or one that is nonsense.

    Attributes:
        reason: What happened, in words for a person, without a full stop.
        passing: Another try may do better.
        http_status: Of the answer that could not be used; None where none came.
    """

    reason: str
    passing: bool = True
    http_status: int | None = None


CANCELLED: Final = Broken("cancelled", passing=False)
"""An attempt that was not sent, because nothing more may be sent."""

Result: TypeAlias = Answer | Broken


@dataclass(frozen=True, slots=True)
class AtlasError:
    """An error body, as far as it says anything.

    Attributes:
        code: Atlas's `errorCode` (or OAuth's `error`); None where it gave none.
        detail: Its sentence, made printable; "" where it gave none.
        parameters: Numbers and texts, in Atlas's order.
    """

    code: str | None = None
    detail: str = ""
    parameters: tuple[object, ...] = ()


def error_of(answer: Answer) -> AtlasError:
    """Read an error answer, whatever it looks like; it never fails.

    Source:
        `ApiError` of the OpenAPI document and the recordings (read 2026-08): bodies come
        without `errorCode`, with null, as HTML and empty; `X-Error-Code` repeats the code.
    """
    try:
        loaded: object = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        loaded = None
    body = loaded if isinstance(loaded, dict) else {}
    # OAuth writes a word into `error`, where Atlas writes the status as a number.
    code = (
        _code(body.get("errorCode"))
        or _code(answer.headers.get("X-Error-Code"))
        or _code(body.get("error"))
    )
    detail = body.get("detail") or body.get("error_description")
    parameters = body.get("parameters")
    return AtlasError(
        code,
        printable(detail) if isinstance(detail, str) else "",
        tuple(parameters) if isinstance(parameters, list) else (),
    )


def is_error(answer: Answer) -> bool:
    """Return whether the response is not a JSON object, or one that describes an error."""
    try:
        body: object = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True
    return (
        not isinstance(body, dict)
        or not _ERROR_KEYS.isdisjoint(body)
        or error_of(answer).code is not None
    )


def is_atlas_speaking(answer: Answer) -> bool:
    """Tell whether the answer can be Atlas's own: a page or a plain text is a proxy's.

    Source: the recordings (read 2026-08); Atlas sends JSON, or no content type at all.
    """
    return is_json(answer) or not answer.headers.get("Content-Type", "").strip()


def is_json(answer: Answer) -> bool:
    """Tell whether the answer says that it is JSON, of any of Atlas's versions."""
    return _media_type(answer).endswith(("/json", "+json"))


def is_page(answer: Answer) -> bool:
    """Tell whether the answer is a page for people: that of a proxy, or of a wrong address.

    What says no more than its status may come as anything else: servers write theirs as plain
    text, and where a body is left out they name its type as they like.
    """
    return _media_type(answer) in _PAGES


def printable(text: str) -> str:
    """Cut a text of Atlas's to one line that is safe to show."""
    shown = "".join(c if c.isprintable() else " " for c in text[: _MAX_DETAIL + 1])
    return shown if len(shown) <= _MAX_DETAIL else f"{shown[:_MAX_DETAIL]}…"


def _media_type(answer: Answer) -> str:
    return _without_parameters(answer.headers.get("Content-Type", ""))


@lru_cache(maxsize=16)
def _without_parameters(content_type: str) -> str:
    """Give the type itself, in lower case; one run sees the same few again and again."""
    media_type, _, _ = content_type.lower().partition(";")
    return media_type.strip()


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None

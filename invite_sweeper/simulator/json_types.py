"""JSON as Python holds it, and the compact text that Atlas sends of it."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import orjson

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


class Missing:
    """Stands for a key that is left out of a document altogether."""


MISSING: Final = Missing()


def dump(document: Json) -> bytes:
    """Compact JSON with its keys in alphabetical order, as every recorded answer has them.

    Source: the recordings of 2025-03-28 to 2026-08-10.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def document(fields: Mapping[str, Json | Missing]) -> bytes:
    """Like `dump`, with the keys whose value is `MISSING` left out, and made to be kept.

    orjson gives its bytes with up to 4 KiB behind them; a copy has none.
    """
    told = {key: value for key, value in fields.items() if not isinstance(value, Missing)}
    return memoryview(dump(told)).tobytes()


def load_object(body: bytes) -> dict[str, object] | None:
    """The JSON object in a request's body; None where it is no JSON object."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None

"""JSON as text: parse what others sent, write what others read."""

from typing import Any, Final

import msgspec

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


def to_json(value: object) -> bytes:
    r"""Return JSON in UTF-8, without a newline, keys in their order.

    What UTF-8 cannot represent is replaced visibly (a lone surrogate by the text `\udc80`), and a
    value of another type by its text: nothing is lost for its contents.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
        return _ENCODER.encode(_encodable(plain))


def _encodable(value: object) -> object:
    """Return a value of JSON with what UTF-8 cannot represent replaced in all its texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(part) for part in value]
    return value

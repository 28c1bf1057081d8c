"""What a line of the audit log may contain: no secret, and no value that is too long."""

import operator
from collections.abc import Mapping
from typing import Final

from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.models import Invitation, UnreadableDate
from invite_sweeper.redaction import SECRETS

MAX_VALUE_LENGTH: Final = 1024
"""Characters of one value."""
MAX_LINE_BYTES: Final = 1 << 20
"""Of a line, approximately. A run reads at most 16 MiB to find the last line of the log."""
_MAX_ITEMS: Final = 100
"""Items of a list in a line that would be too long."""


def to_loggable_json(fields: object) -> bytes:
    """Return the JSON of an event's fields without secrets, and with long values cut visibly."""
    data = to_json(fields)
    return data if _is_loggable(data) else to_json(loggable(parse_json(data)))


def loggable(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields without secrets, and with long values cut visibly."""
    found = {name: _loggable(value, None) for name, value in fields.items()}
    if len(to_json(found)) <= MAX_LINE_BYTES:
        return found
    return {name: _loggable(value, _MAX_ITEMS) for name, value in found.items()}


def is_recordable(invitation: Invitation) -> bool:
    """Return whether a line can record every field of an invitation as it is.

    A deletion that the log cannot describe could be neither reviewed nor restored.
    """
    data = to_json(invitation)
    return _is_loggable(data) or (
        len(data) <= MAX_LINE_BYTES
        and all(_loggable(value, None) is value for value in map(_raw, invitation))
    )


def _is_loggable(data: bytes) -> bool:
    """Return whether no value of a JSON text can be too long or contain a secret."""
    if len(data) > MAX_VALUE_LENGTH:
        return False
    text = data.decode()
    return SECRETS.redact(text) is text


def _loggable(value: object, max_items: int | None) -> object:
    """Return the same object if nothing has to be changed."""
    if isinstance(value, str):
        return _loggable_text(value)
    if isinstance(value, Mapping):
        return {_loggable_text(str(k)): _loggable(part, max_items) for k, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_loggable(part, max_items) for part in value[:max_items]]
        if left_out := len(value) - len(parts):
            return [*parts, f"… ({left_out:,} more)"]
        return value if all(map(operator.is_, parts, value)) else parts
    return value


def _loggable_text(text: str) -> str:
    redacted = SECRETS.redact(text)
    if len(redacted) > MAX_VALUE_LENGTH:
        return f"{redacted[:MAX_VALUE_LENGTH]}… ({len(redacted):,} characters)"
    return redacted


def _raw(value: object) -> object:
    """Return the text of an unreadable date, and any other value as it is."""
    return value.raw if isinstance(value, UnreadableDate) else value

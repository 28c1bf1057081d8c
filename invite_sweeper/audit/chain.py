"""The hash chain of a run's file, the seal of its last line, and what a line may contain."""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from invite_sweeper.audit.events import Event, RunFinished, format_timestamp
from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.models import Invitation, UnreadableDate
from invite_sweeper.redaction import SECRETS

GENESIS_HASH: Final = "0" * 64
"""`prev` of the first line of a directory."""
MAX_VALUE_LENGTH: Final = 1024
"""Characters of one value."""
MAX_LINE_BYTES: Final = 1 << 20
"""Of a line that describes an invitation, approximately."""
_MAX_ITEMS: Final = 100
"""Items of a list in a line that would be too long."""

_SEAL: Final = re.compile(rb',"seal":"([0-9a-f]{64})"\}$')


def line_hash(line: bytes) -> str:
    """Return the `prev` of the next line: SHA-256 of a line without its newline, 64 hex digits."""
    return sha256(line).hexdigest()


def add_seal(line: bytes) -> bytes:
    """Append the field `seal`: the SHA-256 of the line without that field.

    No later line of the file has the hash of its last one, so a change is found by its seal.
    """
    return b'%b,"seal":"%b"}' % (line[:-1], line_hash(line).encode())


def seal_holds(line: bytes) -> bool:
    """Return whether a `run_finished` line has the seal of its other bytes."""
    found = _SEAL.search(line)
    return found is not None and found[1].decode() == line_hash(line[: found.start()] + b"}")


class HashChain:
    """Builds the lines of a run: numbered, dated, each with the hash of the one before.

    Args:
        last_hash: Hash of the last whole line of the file before; 64 zeros without one.

    Attributes:
        last_hash: Hash of the last line, 64 hex digits; `prev` of the next line.
    """

    def __init__(self, run_id: str, last_hash: str, clock: Callable[[], datetime]) -> None:
        self.last_hash = last_hash
        self._run_id = to_json(run_id)
        self._seq = 0
        self._clock = clock

    def add(self, event: Event) -> bytes:
        """Return the next line without its newline."""
        self._seq += 1
        line = b'{"ts":"%b","run_id":%b,"seq":%d,"event":"%b","prev":"%b",%b' % (
            format_timestamp(self._clock()).encode(),
            self._run_id,
            self._seq,
            event.event.encode(),
            self.last_hash.encode(),
            to_loggable_json(event)[1:],
        )
        if isinstance(event, RunFinished):
            line = add_seal(line)
        self.last_hash = line_hash(line)
        return line


def to_loggable_json(fields: object) -> bytes:
    """Return the JSON of an event's fields without secrets, and with long values cut visibly."""
    data = to_json(fields)
    if _is_loggable(data):
        return data
    found = _loggable_fields(parse_json(data), None)
    cut = to_json(found)
    if len(cut) <= MAX_LINE_BYTES or isinstance(fields, RunFinished):
        return cut
    return to_json(_loggable_fields(found, _MAX_ITEMS))


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


def _loggable_fields(fields: Mapping[str, object], max_items: int | None) -> dict[str, object]:
    return {name: _loggable(value, max_items) for name, value in fields.items()}


def _loggable(value: object, max_items: int | None) -> object:
    """Return the same object if nothing has to be changed."""
    if isinstance(value, str):
        return _loggable_text(value)
    if isinstance(value, Mapping):
        return {_loggable_text(str(k)): _loggable(part, max_items) for k, part in value.items()}
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], Mapping):
            max_items = None  # entries: a person has one in each project at most
        parts = [_loggable(part, max_items) for part in value[:max_items]]
        if left_out := len(value) - len(parts):
            note = f"… ({left_out:,} more)"  # of the same type, so that the line can be decoded
            return [*parts, note if isinstance(parts[0], str) else [note, ""]]
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

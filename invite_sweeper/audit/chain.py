"""The hash chain of a run's file, the seal of its last line, and what a line may contain."""

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec
from msgspec.structs import astuple

from invite_sweeper.audit.events import (
    Event,
    Intent,
    LineHeader,
    OutcomeLine,
    Planned,
    PolicyText,
    RunFinished,
    format_timestamp,
)
from invite_sweeper.json_text import parse_json, to_json
from invite_sweeper.models import Invitation
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import truncate

GENESIS_HASH: Final = "0" * 64
"""`prev` of the first line of a directory."""
_REPLACEMENT: Final = "\ufffd".encode()
MAX_VALUE_LENGTH: Final = 1024
"""Characters of one value."""
MAX_LINE_BYTES: Final = 1 << 20
"""Of a line that describes an invitation, approximately."""
_MAX_ITEMS: Final = 100
"""Items of a list in a line that would be too long."""

_TOO_LONG: Final = re.compile(rf'[^"]{{{MAX_VALUE_LENGTH + 1}}}')
"""More than a value may have, without a quote that ends it."""
_SEAL: Final = re.compile(rb',"seal":"([0-9a-f]{64})"\}$')


class ChainLine(msgspec.Struct, frozen=True, gc=False):
    """A line whose place in its file was checked.

    Attributes:
        number: From 1.
        raw: Its bytes without the newline.
        hash: `prev` of the line after it.
    """

    number: int
    raw: bytes
    header: LineHeader
    hash: str


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
    seal = _SEAL.search(line)
    if seal is None:
        return False
    unsealed = line[: seal.start()] + b"}"
    return seal[1].decode() == line_hash(unsealed)


class HashChain:
    """Builds the lines of a run: numbered, dated, each with the hash of the one before.

    Attributes:
        last_hash: Hash of the last line, 64 hex digits; before the first, of the last whole line of
            the file before, 64 zeros without one.
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


def to_loggable_json(event: Event) -> bytes:
    """Return the JSON of an event's fields without secrets, and with long values cut visibly.

    `is_recordable` has checked an invitation and its rule before it was planned. What follows up to
    the outcome has nothing more from outside than the answer of Atlas. A policy is recorded byte
    for byte: one with a secret is refused before its run begins.
    """
    data = to_json(event)
    unchecked = data
    if isinstance(event, Planned | Intent | PolicyText):
        return data
    if isinstance(event, OutcomeLine):
        answer = (event.error_code, event.seen_before, event.reason)
        if not any(answer):
            return data
        unchecked = to_json(answer)
    # The last line has the totals of each project, and is as long as they are.
    is_last = isinstance(event, RunFinished)
    is_short = is_last or len(unchecked) <= MAX_LINE_BYTES
    if is_short and _is_loggable(unchecked):
        return data
    fields = _loggable(parse_json(data), None)
    cut = to_json(fields)
    if is_last or len(cut) <= MAX_LINE_BYTES:
        return cut
    return to_json(_loggable(fields, _MAX_ITEMS))


def is_recordable(invitation: Invitation, rule: str | None) -> bool:
    """Return whether a line can record every field of an invitation, and its rule, as they are.

    A deletion that the log cannot describe could be neither reviewed nor restored. U+FFFD stands
    for what is not a character, so that what Atlas has is not known.
    """
    data = to_json((astuple(invitation), rule))
    if len(data) > MAX_LINE_BYTES or _REPLACEMENT in data:
        return False
    if _is_loggable(data):
        return True
    fields = parse_json(data)
    return bool(_loggable(fields, None) == fields)


def _is_loggable(data: bytes) -> bool:
    """Return whether no value of a JSON text can be too long or contain a secret.

    The last line of a run has two values for each project: it is only parsed where that may have
    to be changed. In a text without escapes, each value ends at the next quote.
    """
    text = data.decode()
    is_long = len(data) > MAX_VALUE_LENGTH
    if is_long and ("\\" in text or _TOO_LONG.search(text) is not None):
        return False
    return SECRETS.redact(text) is text


def _loggable(value: object, max_items: int | None) -> object:
    """Return a parsed value without secrets, its texts cut, and its lists to `max_items`."""
    match value:
        case str():
            return truncate(SECRETS.redact(value), MAX_VALUE_LENGTH)
        case dict():
            return {_loggable(key, None): _loggable(part, max_items) for key, part in value.items()}
        case [dict(), *_]:  # entries: a person has one in each project at most
            return [_loggable(part, None) for part in value]
        case [first, *_]:
            parts = [_loggable(part, max_items) for part in value[:max_items]]
            left_out = len(value) - len(parts)
            if left_out:
                note = f"… ({left_out:,} more)"  # of the same type: the line can be decoded
                parts.append(note if isinstance(first, str) else [note, ""])
            return parts
        case _:
            return value

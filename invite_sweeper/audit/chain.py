"""The hash chain of the audit log, and the checksum of a run's last line."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from invite_sweeper.audit.events import Event, RunFinished, format_timestamp
from invite_sweeper.audit.limits import to_loggable_json
from invite_sweeper.json_text import to_json

GENESIS_HASH = "0" * 64
"""`prev` of the first line of a log."""

CHECKSUMMED_EVENT = RunFinished.event
"""The event with a checksum of its own line (`seal`): no later line may cover its hash."""

_CHECKSUM_FIELD = re.compile(rb',"(.{4})":"(.{64})"\}$', re.DOTALL)


def line_hash(line: bytes) -> str:
    """Return the `prev` of the next line: SHA-256 of a line without its newline, 64 hex digits."""
    return sha256(line).hexdigest()


def add_checksum(line: bytes) -> bytes:
    """Append the field `seal`: the SHA-256 of the line without that field."""
    return b'%b,"seal":"%b"}' % (line[:-1], line_hash(line).encode())


def checksum_ok(line: bytes) -> bool | None:
    """Return whether the `seal` of a `run_finished` line is correct; None without one.

    A field of the same form with another name counts as an incorrect `seal`: a bit of the
    name may have changed.
    """
    found = _CHECKSUM_FIELD.search(line)
    if found is None:
        return None
    hashed = line_hash(line[: found.start()] + b"}")
    return (found[1], found[2]) == (b"seal", hashed.encode())


class HashChain:
    """Builds the lines of a log: numbered in each run, dated, each with the hash of the one before.

    The runs of one command share a chain, so their lines may alternate.

    Attributes:
        last_hash: Hash of the last line, 64 hex digits; `prev` of the next line.
    """

    def __init__(self, last_hash: str, clock: Callable[[], datetime]) -> None:
        self.last_hash = last_hash
        self._seqs = Counter[str]()
        self._clock = clock

    def add(self, run_id: str, event: Event) -> bytes:
        """Return the next line, of this run, without its newline."""
        self._seqs[run_id] += 1
        line = b'{"ts":"%b","run_id":%b,"seq":%d,"event":"%b","prev":"%b",%b' % (
            format_timestamp(self._clock()).encode(),
            to_json(run_id),
            self._seqs[run_id],
            event.event.encode(),
            self.last_hash.encode(),
            to_loggable_json(event)[1:],
        )
        if event.event == CHECKSUMMED_EVENT:
            line = add_checksum(line)
        self.last_hash = line_hash(line)
        return line

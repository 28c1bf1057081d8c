"""The hash chain of one run's lines: numbered, dated, each with the hash of the one before."""

from collections.abc import Callable, Mapping
from datetime import datetime

from invite_sweeper.audit.record import format_timestamp, line_hash, to_json
from invite_sweeper.audit.seal import SEALED_EVENT, seal


class HashChain:
    """Makes the lines of one run.

    Attributes:
        last_hash: Of the last line, 64 hex; the next line's `prev`.
    """

    def __init__(self, run_id: str, last_hash: str, clock: Callable[[], datetime]) -> None:
        self.last_hash = last_hash
        self._run_id = run_id
        self._seq = 0
        self._clock = clock

    def add(self, event: str, fields: Mapping[str, object]) -> bytes:
        """Return the next line, without its newline."""
        line = to_json(
            {
                "ts": format_timestamp(self._clock()),
                "run_id": self._run_id,
                "seq": self._seq + 1,
                "event": event,
                "prev": self.last_hash,
                **fields,
            }
        )
        if event == SEALED_EVENT:
            line = seal(line)
        self._seq += 1
        self.last_hash = line_hash(line)
        return line

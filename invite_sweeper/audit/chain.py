"""The chain of one run's lines: numbered, dated, each with the hash of the one before."""

from collections.abc import Callable, Iterable, MutableMapping
from datetime import datetime

from invite_sweeper.audit.record import instant, line_hash, render, rendered_instant
from invite_sweeper.audit.seal import SEALED_EVENT, seal


class Chain:
    """structlog's processors for a line: number and date it, chain it, make it bytes.

    Attributes:
        seq: Of the last line.
        last_hash: Of the last line, 64 hex; the next line's `prev`.
        clock: The instant of a line, aware.
    """

    def __init__(self, run_id: str, last_hash: str, clock: Callable[[], datetime]) -> None:
        self._run_id = run_id
        self._of_run = b',"run_id":%b,"seq":' % render(run_id)
        self.seq = 0
        self.last_hash = last_hash
        self.clock = clock

    def stamp(
        self, _logger: object, _method: str, fields: MutableMapping[str, object]
    ) -> dict[str, object]:
        """Put what the log itself writes before the fields of an event."""
        event = fields.pop("event")
        return {
            "ts": instant(self.clock()),
            "run_id": self._run_id,
            "seq": self.seq + 1,
            "event": event,
            "prev": self.last_hash,
            **fields,
        }

    def link(self, _logger: object, _method: str, fields: MutableMapping[str, object]) -> bytes:
        """Make a stamped line bytes, and the last one."""
        line = render(fields)
        if fields["event"] == SEALED_EVENT:
            line = seal(line)
        self.seq += 1
        self.last_hash = line_hash(line)
        return line

    def lines(self, event: bytes, entries: Iterable[tuple[datetime, bytes]]) -> list[bytes]:
        """Do all of it for many lines at once, whose own fields are bytes already.

        The bytes are the same; a run writes three such lines for each deletion.

        Args:
            event: Of all of them.
            entries: Of each line its date, aware, and its fields as members of a JSON object.
        """
        seq, last = self.seq, self.last_hash
        between = b',"event":"%b","prev":"' % event
        dated: datetime | None = None
        before = b""
        lines: list[bytes] = []
        for moment, members in entries:
            if moment is not dated:  # lines that are written together may share it
                dated, before = moment, b'{"ts":%b%b' % (rendered_instant(moment), self._of_run)
            seq += 1
            line = b'%b%d%b%b",%b}' % (before, seq, between, last.encode(), members)
            last = line_hash(line)
            lines.append(line)
        self.seq, self.last_hash = seq, last
        return lines

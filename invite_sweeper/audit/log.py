"""The audit log as the run writes it: a structlog logger of its own over the writer."""

from collections.abc import Callable, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from structlog import BoundLoggerBase

from invite_sweeper.audit.appender import Appender
from invite_sweeper.audit.place import open_place
from invite_sweeper.audit.record import RESERVED, instant, line_hash, render, rendered_instant
from invite_sweeper.audit.seal import SEALED_EVENT, seal
from invite_sweeper.audit.writer import Writer


class _Chain:
    """The processors: number and date a line, chain it to the one before, make it bytes."""

    def __init__(self, run_id: str, last_hash: str, clock: Callable[[], datetime]) -> None:
        self.run_id = run_id
        self._run_id = render(run_id)
        self.seq = 0
        self.last_hash = last_hash
        self.clock = clock
        self._moment: datetime | None = None
        self._instant = b""

    def stamp(
        self, _logger: object, _method: str, fields: MutableMapping[str, object]
    ) -> dict[str, object]:
        event = fields.pop("event")
        return {
            "ts": instant(self.clock()),
            "run_id": self.run_id,
            "seq": self.seq + 1,
            "event": event,
            "prev": self.last_hash,
            **fields,
        }

    def chain(self, _logger: object, _method: str, fields: MutableMapping[str, object]) -> bytes:
        line = render(fields)
        return self._linked(seal(line) if fields["event"] == SEALED_EVENT else line)

    def rendered(self, event: bytes, members: bytes, moment: datetime) -> bytes:
        """Do both at once for a line whose own fields are bytes already; the bytes are the same."""
        if moment is not self._moment:  # lines that are written together share it
            self._moment, self._instant = moment, rendered_instant(moment)
        return self._linked(
            b'{"ts":%b,"run_id":%b,"seq":%d,"event":"%b","prev":"%b",%b}'
            % (
                self._instant,
                self._run_id,
                self.seq + 1,
                event,
                self.last_hash.encode(),
                members,
            )
        )

    def _linked(self, line: bytes) -> bytes:
        self.seq += 1
        self.last_hash = line_hash(line)
        return line


class _Logger(BoundLoggerBase):
    """structlog's way from an event to the sink, without levels."""

    def write(self, event: str, fields: dict[str, object]) -> None:
        self._proxy_to_logger("append", event, **fields)


class AuditLog:
    """The audit log of one run, open for appending.

    Attributes:
        path: As it was given.
        set_aside: Where a torn last line of an earlier run was moved; None where there was none.
    """

    def __init__(
        self, path: Path, chain: _Chain, file: Appender, writer: Writer, set_aside: Path | None
    ) -> None:
        self.path = path
        self.set_aside = set_aside
        self._chain = chain
        self._file = file
        self._writer = writer
        self._logger = _Logger(writer, [chain.stamp, chain.chain], {})

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        run_id: str,
        clock: Callable[[], datetime],
        copy: BinaryIO | None = None,
    ) -> "AuditLog":
        """Open the file at its end, or create it, 0600; missing folders become 0700.

        Args:
            path: The file itself, without placeholders.
            run_id: Written into every line.
            clock: The instant of a line, aware.
            copy: Where each line goes as well, as standard output's buffer. Losing it stops
                nothing; `copy_failure` tells.

        Raises:
            AuditUnwritable: It cannot be had safely. Nothing was deleted.
        """
        absolute = path.absolute()
        place = open_place(absolute)
        chain = _Chain(run_id, place.last_hash, clock)
        file = Appender(absolute, place, copy)
        return cls(path, chain, file, Writer(file, place.size), place.set_aside)

    @property
    def position(self) -> int:
        """The byte offset after the last line written; the next one begins there."""
        return self._writer.position

    @property
    def last_hash(self) -> str:
        """The hash of the last line written, 64 hex; the next line's `prev`."""
        return self._chain.last_hash

    @property
    def copy_failure(self) -> Exception | None:
        """Why the copy ended early; None while it is complete, or where none was asked for."""
        return self._file.copy_failure

    def write(self, event: str, /, **fields: object) -> None:
        """Add one line. It is chained at once, and on disk after the next `durable`.

        Args:
            event: As in the contract's table.
            fields: The further fields, in their order.

        Raises:
            AuditUnwritable: The log has failed; nothing may be sent after that.
            ValueError: A field has a name that the log itself writes.
        """
        if not RESERVED.isdisjoint(fields):
            raise ValueError(f"The audit log writes these itself: {RESERVED & fields.keys()}")
        self._writer.check()
        self._logger.write(event, fields)

    def now(self) -> datetime:
        """Give the date of a line that would be written now."""
        return self._chain.clock()

    def write_rendered(self, event: bytes, members: bytes, moment: datetime | None = None) -> None:
        """Add one line as `write` does, of fields that are bytes already.

        There are three such lines for each deletion, and a dictionary of each would be a
        fifth of all that a sweep does.

        Args:
            event: A name of the contract's table, of letters and underscores.
            members: The further fields as members of a JSON object, without its braces, as
                `words` makes them; none of the names that the log itself writes.
            moment: What `now` gave when it happened; None for now.

        Raises:
            AuditUnwritable: The log has failed; nothing may be sent after that.
        """
        chain = self._chain
        self._writer.append(chain.rendered(event, members, moment or chain.clock()))

    async def durable(self) -> None:
        """Return when every line written so far is on disk.

        All who wait meanwhile share one write and one sync.

        Raises:
            AuditUnwritable: They are not; nothing may be sent after that.
        """
        await self._writer.durable()

    async def close(self) -> None:
        """Put every line on disk, unless the log has failed, and close the file.

        Raises:
            AuditUnwritable: The last lines cannot be put on disk. The file is closed.
        """
        await self._writer.close()

"""The audit log as the run writes it: a structlog logger of its own over the writer."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.audit.appender import Appender
from invite_sweeper.audit.chain import Chain
from invite_sweeper.audit.place import open_place
from invite_sweeper.audit.record import RESERVED
from invite_sweeper.audit.writer import Writer
from invite_sweeper.structured import structlog


class _Logger(structlog.BoundLoggerBase):
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
        self, path: Path, chain: Chain, file: Appender, writer: Writer, set_aside: Path | None
    ) -> None:
        self.path = path
        self.set_aside = set_aside
        self._chain = chain
        self._file = file
        self._writer = writer
        self._logger = _Logger(writer, [chain.stamp, chain.link], {})

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
        chain = Chain(run_id, place.last_hash, clock)
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

    def write_rendered(self, event: bytes, entries: Iterable[tuple[datetime, bytes]]) -> None:
        """Add lines as `write` does, of fields that are bytes already.

        There are three such lines for each deletion, and a dictionary of each would be a
        fifth of all that a sweep does.

        Args:
            event: A name of the contract's table, of letters and underscores.
            entries: Of each line what `now` gave when it happened, and the further fields as
                members of a JSON object, without its braces, as `words` makes them; none of
                the names that the log itself writes.

        Raises:
            AuditUnwritable: The log has failed; nothing may be sent after that.
        """
        self._writer.append(*self._chain.lines(event, entries))

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

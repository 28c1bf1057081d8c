"""The audit log of one run: a hash chain of lines, written to disk in groups."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.audit.appender import Appender
from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.place import open_place
from invite_sweeper.audit.record import RESERVED
from invite_sweeper.audit.writer import Writer


class AuditLog:
    """The audit log of one run, open for appending.

    Attributes:
        path: As it was given.
        set_aside: Where a torn last line of an earlier run was moved; None where there was none.
    """

    def __init__(
        self, path: Path, chain: HashChain, file: Appender, writer: Writer, set_aside: Path | None
    ) -> None:
        self.path = path
        self.set_aside = set_aside
        self._chain = chain
        self._file = file
        self._writer = writer

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
        chain = HashChain(run_id, place.last_hash, clock)
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
        self._writer.append(self._chain.add(event, fields))

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

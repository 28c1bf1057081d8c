"""The append-only file under the audit log: whole lines or nothing, and only in its place."""

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.audit.place import Place
from invite_sweeper.errors import AuditUnwritable

_SENT = "Each deletion that was sent has its intent in the log; none is sent after this."
_TAKEN = "Each deletion that was sent had its intent in that file; none is sent after this."


class Appender:
    """Appends to an open file, in one thread; another may wait for the disk meanwhile.

    Args:
        path: Absolute.
        place: The open file; it is closed by `close`.
        copy: Where everything goes as well. Losing it stops nothing.

    Attributes:
        copy_failure: Why the copy ended early; None while it is complete.
    """

    def __init__(self, path: Path, place: Place, copy: BinaryIO | None = None) -> None:
        self.copy_failure: Exception | None = None
        self._path = path
        self._fd = place.fd
        self._size = place.size
        self._copy = copy
        self._uncopied: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Hand whole lines to the system. They are not on disk before `sync`.

        Where not all of them can be written, the last one that is not whole is cut off again.
        The whole ones stay: an outcome among them is known to nobody else.

        Raises:
            AuditUnwritable: Not all is written. The file ends with a whole line.
        """
        try:
            self._refuse_moved()
            self._write(data)
        except OSError as error:
            raise self._unwritable(error) from error
        if self._copy is not None:
            self._uncopied.append(data)

    def sync(self) -> None:
        """Copy what was appended, and put it on disk.

        `fsync`, not `fdatasync`: a log grows with each group, so its size has to go to the
        file system's journal either way, and the two cost the same.

        Raises:
            AuditUnwritable: It is not known what is on disk, and never will be: the system
                forgets what it could not write.
        """
        self._repeat()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the file, and copy what is not copied yet; again is nothing."""
        self._repeat()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refuse_moved(self) -> None:
        """Refuse to go on where the name leads elsewhere, or somebody else has written."""
        ours = os.fstat(self._fd)
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            named = None
        if named is None or not os.path.samestat(named, ours):
            raise AuditUnwritable(
                f"The audit log {self._path} was taken away while it was being written.",
                consequence=_TAKEN,
                hint="Bring it back from where it was moved, then run the same command again.",
            )
        if ours.st_size != self._size:
            raise AuditUnwritable(
                f"Somebody else has changed the audit log {self._path} while it was being written.",
                consequence="No deletion is sent after this.",
                hint="See what `audit verify` says of it.",
            )

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            with suppress(OSError):
                os.ftruncate(self._fd, self._size + whole)
                os.fsync(self._fd)
            raise
        self._size += done

    def _repeat(self) -> None:
        """Copy to where a cluster collects it; the file is the log.

        That may be a pipe whose reader is slow, so it is for the thread that may wait.
        """
        while self._uncopied and self._copy is not None:
            try:
                self._copy.write(self._uncopied.popleft())
                self._copy.flush()
            except (OSError, ValueError) as error:
                self.copy_failure, self._copy = error, None
                self._uncopied.clear()

    def _unwritable(self, error: OSError) -> AuditUnwritable:
        return AuditUnwritable(
            f"The audit log {self._path} cannot be written: {error.strerror or error}.",
            consequence=_SENT,
            hint="Make room or mend the disk, then run the same command again: it goes on.",
        )

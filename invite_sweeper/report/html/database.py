"""A report's temporary SQLite database, and the lines of audit logs.

Memory use does not depend on the size of the logs: SQLite's private temporary database caches a
few MiB, spills to a file in the temporary folder, and disappears when it is closed or the
program ends.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from invite_sweeper.audit.reader import open_log
from invite_sweeper.errors import GuardRefused, UsageError

CACHE_KIB = 16_384

_PRIMARY_CODE_MASK = 0xFF
_STORAGE_ERRORS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
"""Primary error codes: the lowest byte of SQLite's extended codes."""

SCHEMA = """
CREATE TABLE runs (
  ord INTEGER PRIMARY KEY, run_id TEXT UNIQUE NOT NULL, file INTEGER NOT NULL,
  role INTEGER, started TEXT NOT NULL DEFAULT '', mode TEXT NOT NULL DEFAULT '',
  shard TEXT NOT NULL DEFAULT '', base_url TEXT NOT NULL DEFAULT '',
  policy_path TEXT NOT NULL DEFAULT '', policy_sha256 TEXT NOT NULL DEFAULT '',
  actor TEXT NOT NULL DEFAULT '', tool_version TEXT NOT NULL DEFAULT '',
  group_id TEXT NOT NULL DEFAULT '', organizations TEXT NOT NULL DEFAULT '',
  dry_run INTEGER NOT NULL DEFAULT 0, saved_plan INTEGER NOT NULL DEFAULT 0,
  whole_plan INTEGER NOT NULL DEFAULT 0, key_ids TEXT NOT NULL DEFAULT '',
  finished TEXT, exit_code INTEGER, last_seq INTEGER NOT NULL DEFAULT 0,
  planned INTEGER NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0, already_gone INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, accepted_before INTEGER NOT NULL DEFAULT 0,
  accepted_during INTEGER NOT NULL DEFAULT 0, restored INTEGER NOT NULL DEFAULT 0,
  already_there INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 0,
  recovered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE planned_items (
  role INTEGER NOT NULL, key TEXT NOT NULL, invitation_id TEXT, org_id TEXT, project_id TEXT,
  project TEXT, username TEXT, inviter TEXT, roles TEXT, rule TEXT, age REAL, class INTEGER,
  bounced INTEGER, user TEXT, new INTEGER
);
CREATE TABLE outcomes (
  role INTEGER NOT NULL, key TEXT NOT NULL, outcome TEXT, attempts INTEGER,
  http_status INTEGER, error_code TEXT
);
CREATE TABLE open_intents (role INTEGER NOT NULL, key TEXT NOT NULL);
CREATE TABLE unreadable_projects (
  role INTEGER NOT NULL, project_id TEXT, project TEXT, reason TEXT, http_status INTEGER,
  error_code TEXT
);
CREATE TABLE earlier_deletions (
  project_id TEXT NOT NULL, username TEXT NOT NULL, deleted_at TEXT NOT NULL, key TEXT NOT NULL
);
CREATE TABLE last_lines (run_id TEXT PRIMARY KEY, line BLOB);
CREATE TABLE organizations (id TEXT PRIMARY KEY, name TEXT NOT NULL);
"""

INDEXES = """
CREATE INDEX planned_by_key ON planned_items (key, role);
CREATE INDEX outcomes_by_key ON outcomes (key, role);
CREATE INDEX open_intents_by_key ON open_intents (key, role);
CREATE INDEX unreadable_by_project ON unreadable_projects (project_id, role);
CREATE INDEX deletions_by_user ON earlier_deletions (project_id, username, deleted_at);
CREATE INDEX deletions_by_key ON earlier_deletions (key);
ANALYZE;
"""
"""Created after all rows are inserted: far cheaper than updating them for each row."""


@contextmanager
def temporary_database() -> Iterator[sqlite3.Connection]:
    """Yield an empty database that is deleted at the end.

    Raises:
        UsageError: The temporary folder is full or not writable.
    """
    connection = sqlite3.connect("", isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        yield connection
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY_CODE_MASK not in _STORAGE_ERRORS:
            raise
        raise UsageError(
            f"The temporary folder cannot hold the report's data: {error}.",
            hint="Free some space there, or set TMPDIR to a larger folder.",
        ) from error
    finally:
        connection.close()


class BatchInserter:
    """Inserts rows into one table in batches.

    Attributes:
        BATCH_SIZE: Rows per batch: enough to be fast, few enough for constant memory.
    """

    BATCH_SIZE = 2_000

    __slots__ = ("_connection", "_rows", "_statement")

    def __init__(self, connection: sqlite3.Connection, table: str, columns: int) -> None:
        marks = ", ".join("?" * columns)
        self._connection = connection
        self._statement = f"INSERT INTO {table} VALUES ({marks})"
        self._rows: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        """Add one row, with its values in the table's column order."""
        self._rows.append(row)
        if len(self._rows) >= self.BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Insert the remaining rows."""
        self._connection.execute("BEGIN")
        self._connection.executemany(self._statement, self._rows)
        self._connection.execute("COMMIT")
        self._rows.clear()


MAX_LINE_BYTES = 1 << 23
"""A longer line is not an audit record and is skipped."""


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yield each line without its newline; an overlong one as `b""`.

    A file that is compressed with gzip is decompressed. The lines end where such a file is
    damaged: `audit.verify` reports it.

    Raises:
        UsageError: The file cannot be read.
    """
    with suppress(GuardRefused), open_log(path) as stream:
        while raw := stream.readline(MAX_LINE_BYTES):
            if not raw.endswith(b"\n") and len(raw) == MAX_LINE_BYTES:
                _skip_line(stream)
                raw = b""
            yield raw.rstrip(b"\r\n")


def _skip_line(stream: IO[bytes]) -> None:
    while (more := stream.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
        pass

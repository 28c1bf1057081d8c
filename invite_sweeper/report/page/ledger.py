"""The temporary database that holds what memory should not: rows of the runs looked at.

It is SQLite's own private temporary database: it lives in a few MiB of cache, spills to a
file in the temporary folder, and is gone when it is closed, however the program ends.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from invite_sweeper.errors import UsageFault

CACHE_KIB = 16_384

_FAMILY = 0xFF
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
"""Error codes; the lowest byte names the family."""

SCHEMA = """
CREATE TABLE runs (
  ord INTEGER PRIMARY KEY, run_id TEXT UNIQUE NOT NULL, file INTEGER NOT NULL,
  role INTEGER, started TEXT NOT NULL DEFAULT '', mode TEXT NOT NULL DEFAULT '',
  shard TEXT NOT NULL DEFAULT '', base_url TEXT NOT NULL DEFAULT '',
  policy_path TEXT NOT NULL DEFAULT '', policy_sha256 TEXT NOT NULL DEFAULT '',
  actor TEXT NOT NULL DEFAULT '', tool_version TEXT NOT NULL DEFAULT '',
  finished TEXT, exit_code INTEGER, last_seq INTEGER NOT NULL DEFAULT 0,
  planned INTEGER NOT NULL DEFAULT 0, intents INTEGER NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0, already_gone INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, accepted_before INTEGER NOT NULL DEFAULT 0,
  accepted_during INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE items (
  role INTEGER NOT NULL, key TEXT NOT NULL, invitation_id TEXT, project_id TEXT, project TEXT,
  username TEXT, inviter TEXT, roles TEXT, rule TEXT, age REAL, class INTEGER,
  bounced INTEGER, person TEXT
);
CREATE TABLE ends (
  role INTEGER NOT NULL, key TEXT NOT NULL, outcome TEXT, attempts INTEGER,
  http_status INTEGER, error_code TEXT
);
CREATE TABLE blind (
  role INTEGER NOT NULL, project_id TEXT, project TEXT, reason TEXT, http_status INTEGER,
  error_code TEXT
);
CREATE TABLE erased (project_id TEXT NOT NULL, username TEXT NOT NULL, at TEXT NOT NULL);
"""

INDEXES = """
CREATE INDEX items_by_key ON items (key, role);
CREATE INDEX ends_by_key ON ends (key, role);
CREATE INDEX blind_by_project ON blind (project_id, role);
CREATE INDEX erased_by_person ON erased (project_id, username, at);
ANALYZE;
"""
"""Made once all rows are in: far cheaper than keeping them in step with each row."""


@contextmanager
def ledger() -> Iterator[sqlite3.Connection]:
    """An empty ledger, gone at the end.

    Raises:
        UsageFault: The temporary folder cannot hold it.
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
        if error.sqlite_errorcode & _FAMILY not in _NO_ROOM:
            raise
        raise UsageFault(
            f"The temporary folder cannot hold what a report of these logs needs: {error}.",
            hint="Make room there, or name a roomier folder in TMPDIR.",
        ) from error
    finally:
        connection.close()


class Rows:
    """Collects rows of one table and hands them over in large groups.

    Attributes:
        GROUP: Rows a group: enough to make the calls cheap, few enough to stay flat.
    """

    GROUP = 2_000

    __slots__ = ("_connection", "_rows", "_statement")

    def __init__(self, connection: sqlite3.Connection, table: str, columns: int) -> None:
        marks = ", ".join("?" * columns)
        self._connection = connection
        self._statement = f"INSERT INTO {table} VALUES ({marks})"
        self._rows: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        """Take one row; its values stand in the table's order."""
        self._rows.append(row)
        if len(self._rows) >= self.GROUP:
            self.flush()

    def flush(self) -> None:
        """Hand over what is left."""
        self._connection.execute("BEGIN")
        self._connection.executemany(self._statement, self._rows)
        self._connection.execute("COMMIT")
        self._rows.clear()

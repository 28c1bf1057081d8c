"""Load audit logs into a temporary SQLite database.

A first pass finds the runs and selects those to compare; a second one counts every line and
stores the lines of the selected runs. Memory use does not depend on the size of the logs:
SQLite's private temporary database caches a few MiB, spills to a file in the temporary
folder, and disappears when it is closed or the program ends.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.errors import ExitCode, UsageError
from invite_sweeper.report.html.model import OUTCOMES, LogFile
from invite_sweeper.report.run_view import parse_log_line
from invite_sweeper.sweep.plan import age_class
from invite_sweeper.text import to_datetime, to_float, to_int, to_text

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
  finished TEXT, exit_code INTEGER, last_seq INTEGER NOT NULL DEFAULT 0,
  planned INTEGER NOT NULL DEFAULT 0, intents INTEGER NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0, already_gone INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, accepted_before INTEGER NOT NULL DEFAULT 0,
  accepted_during INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE planned_items (
  role INTEGER NOT NULL, key TEXT NOT NULL, invitation_id TEXT, project_id TEXT, project TEXT,
  username TEXT, inviter TEXT, roles TEXT, rule TEXT, age REAL, class INTEGER,
  bounced INTEGER, user TEXT
);
CREATE TABLE outcomes (
  role INTEGER NOT NULL, key TEXT NOT NULL, outcome TEXT, attempts INTEGER,
  http_status INTEGER, error_code TEXT
);
CREATE TABLE unreadable_projects (
  role INTEGER NOT NULL, project_id TEXT, project TEXT, reason TEXT, http_status INTEGER,
  error_code TEXT
);
CREATE TABLE earlier_deletions (
  project_id TEXT NOT NULL, username TEXT NOT NULL, deleted_at TEXT NOT NULL
);
CREATE TABLE last_lines (run_id TEXT PRIMARY KEY, line BLOB);
"""

INDEXES = """
CREATE INDEX planned_by_key ON planned_items (key, role);
CREATE INDEX outcomes_by_key ON outcomes (key, role);
CREATE INDEX unreadable_by_project ON unreadable_projects (project_id, role);
CREATE INDEX deletions_by_user ON earlier_deletions (project_id, username, deleted_at);
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

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            while raw := stream.readline(MAX_LINE_BYTES):
                if not raw.endswith(b"\n") and len(raw) == MAX_LINE_BYTES:
                    _skip_line(stream)
                    raw = b""
                yield raw.rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(
            f"The audit log {path} cannot be read: {error.strerror}.",
            hint="Pass files that exist and are readable.",
        ) from error


def _skip_line(stream: BinaryIO) -> None:
    while (more := stream.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
        pass


def sort_by_start(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return each file once, sorted by first timestamp, so that rotated logs are in order.

    Raises:
        UsageError: A file cannot be read.
    """
    files = dict.fromkeys(path.resolve() for path in paths)
    return tuple(sorted(files, key=lambda path: (_first_timestamp(path), str(path))))


def _first_timestamp(path: Path) -> str:
    for raw in raw_lines(path):
        line = parse_log_line(raw)
        if line is not None:
            return to_text(line.get("ts"))
    return ""


# First pass: find the runs and select those to compare.

CURRENT, PREVIOUS = 1, 0
"""A run's role in the comparison; NULL for every other run."""

SAME_RUN_WINDOW = timedelta(hours=12)
"""Shards that started within this time of the newest belong to the same run."""

_RUN_EVENT_MARK = b'"event":"run_'
"""A JSON string escapes quotes, so no value can contain these bytes."""
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")
_COMPARABLE = tuple(c for c in ExitCode if c.read_everything or c is ExitCode.REFUSED)
"""Exit codes of runs that listed everything; other runs may be incomplete."""


@dataclass(frozen=True, slots=True)
class SelectedRuns:
    """Result of the first pass.

    Attributes:
        missing_shards: Numbers of the newest run's shards that are not in the logs.
        shard_count: Number of shards; 0 if the newest run is not sharded.
        last_lines: The last lines of the current runs, unordered.
        other_series: Number of other pairs of host and policy with runs in the logs.
    """

    missing_shards: tuple[int, ...]
    shard_count: int
    last_lines: tuple[Mapping[str, object], ...]
    other_series: int


def find_runs(db: sqlite3.Connection, files: Sequence[Path]) -> SelectedRuns:
    """Store every run in `runs` and mark those to compare.

    Raises:
        UsageError: A file cannot be read.
    """
    db.execute("BEGIN")
    for index, path in enumerate(files):
        for raw in raw_lines(path):
            if _RUN_EVENT_MARK in raw and (line := parse_log_line(raw)) is not None:
                _add_run_line(db, index, line, raw)
    db.execute("COMMIT")
    return _select_runs(db)


def _add_run_line(
    db: sqlite3.Connection, index: int, line: Mapping[str, object], raw: bytes
) -> None:
    run_id = to_text(line.get("run_id"))
    started_at = to_datetime(line.get("now")) or to_datetime(line.get("ts"))
    db.execute(
        "INSERT OR IGNORE INTO runs (run_id, file, started) VALUES (?, ?, ?)",
        (run_id, index, started_at.isoformat() if started_at else ""),
    )
    if line.get("event") == "run_started":
        columns = ("mode", "shard", "base_url", "policy_path", "policy_sha256", "actor")
        organizations = line.get("organizations")
        ids = sorted(map(to_text, organizations)) if isinstance(organizations, list) else []
        db.execute(
            "UPDATE runs SET mode=?, shard=?, base_url=?, policy_path=?, policy_sha256=?, actor=?,"
            " tool_version=?, group_id=?, organizations=? WHERE run_id=?",
            (
                *(to_text(line.get(name)) for name in (*columns, "tool_version")),
                to_text(line.get("group_id")) or run_id,
                " ".join(ids),
                run_id,
            ),
        )
    elif line.get("event") == "run_finished":
        db.execute(
            "UPDATE runs SET finished=?, exit_code=? WHERE run_id=?",
            (to_text(line.get("ts")), to_int(line.get("exit_code")), run_id),
        )
        db.execute("INSERT OR REPLACE INTO last_lines VALUES (?, ?)", (run_id, raw))


def _select_runs(db: sqlite3.Connection) -> SelectedRuns:
    newest = db.execute("SELECT * FROM runs ORDER BY started DESC, ord DESC LIMIT 1").fetchone()
    if newest is None:
        return SelectedRuns((), 0, (), 0)
    match = _SHARD.fullmatch(newest["shard"])
    shard_count = int(match[2]) if match else 0
    current, missing = _newest_of_each_shard(db, newest, shard_count)
    previous = tuple(found for ord_ in current if (found := _previous_run(db, ord_)) is not None)
    if len(previous) < len(current):
        previous = ()
    for role, ords in ((CURRENT, current), (PREVIOUS, previous)):
        db.executemany("UPDATE runs SET role=? WHERE ord=?", [(role, ord_) for ord_ in ords])
    rows = db.execute(
        "SELECT l.line FROM last_lines l JOIN runs r USING (run_id) WHERE r.role = 1"
    ).fetchall()
    parsed = (parse_log_line(row["line"]) for row in rows)
    series = db.execute(
        "SELECT count(*) FROM (SELECT DISTINCT base_url, policy_path FROM runs)"
    ).fetchone()[0]
    last_lines = tuple(line for line in parsed if line is not None)
    return SelectedRuns(missing, shard_count, last_lines, series - 1)


def _newest_of_each_shard(
    db: sqlite3.Connection, newest: sqlite3.Row, shard_count: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not shard_count:
        return _runs_of_command(db, newest) or (newest["ord"],), ()
    rows = db.execute(
        "SELECT group_id, shard, max(started) AS started FROM runs"
        " WHERE base_url=? AND policy_path=? AND shard LIKE ? GROUP BY shard",
        (newest["base_url"], newest["policy_path"], f"%/{shard_count}"),
    ).fetchall()
    newest_start = to_datetime(newest["started"])
    current: dict[int, tuple[int, ...]] = {}
    for row in rows:
        match, start = _SHARD.fullmatch(row["shard"]), to_datetime(row["started"])
        if match and newest_start and start and newest_start - start <= SAME_RUN_WINDOW:
            current[int(match[1])] = _runs_of_command(db, row)
    shards = range(1, min(shard_count, 1000) + 1)
    missing = tuple(shard for shard in shards if shard not in current)
    return tuple(ord_ for ords in current.values() for ord_ in ords) or (newest["ord"],), missing


def _runs_of_command(db: sqlite3.Connection, run: sqlite3.Row) -> tuple[int, ...]:
    """Return the runs of the command that this run belongs to: one for each credential."""
    rows = db.execute(
        "SELECT ord FROM runs WHERE group_id=? AND group_id <> '' ORDER BY ord", (run["group_id"],)
    )
    return tuple(row["ord"] for row in rows)


def _previous_run(db: sqlite3.Connection, ord_: int) -> int | None:
    marks = ", ".join("?" * len(_COMPARABLE))
    row = db.execute(
        "SELECT p.ord FROM runs p JOIN runs c ON c.ord = ?"
        " WHERE p.base_url = c.base_url AND p.policy_path = c.policy_path AND p.shard = c.shard"
        " AND p.group_id <> c.group_id AND p.organizations = c.organizations"
        " AND (p.started, p.ord) < (c.started, c.ord)"
        f" AND p.exit_code IN ({marks}) ORDER BY p.started DESC, p.ord DESC LIMIT 1",
        (ord_, *map(int, _COMPARABLE)),
    ).fetchone()
    return None if row is None else int(row["ord"])


# Second pass: count every line, and store the lines of the selected runs.

_COUNT_COLUMNS = ("planned", "intents", *OUTCOMES)


@dataclass(slots=True)
class _RunCounters:
    """Counts of the run being read; they are added to `runs` when another one starts."""

    ord: int = -1
    run_id: str = ""
    file: int = -1
    role: int | None = None
    last_seq: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNT_COLUMNS, 0))


class LineLoader:
    """Loads audit lines into the database; memory holds one run's counters and a batch."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._run = _RunCounters()
        self._planned_items = BatchInserter(db, "planned_items", 13)
        self._outcomes = BatchInserter(db, "outcomes", 6)
        self._unreadable_projects = BatchInserter(db, "unreadable_projects", 6)
        self._earlier_deletions = BatchInserter(db, "earlier_deletions", 3)
        self._handlers = {
            "planned": self._load_planned,
            "intent": self._load_intent,
            "outcome": self._load_outcome,
            "project_unreadable": self._load_unreadable,
        }

    def load_file(self, index: int, path: Path) -> LogFile:
        """Load one file.

        Raises:
            UsageError: The file cannot be read.
        """
        lines = invalid_lines = 0
        raw = b""
        for raw in raw_lines(path):
            lines += 1
            line = parse_log_line(raw)
            if line is None:
                invalid_lines += 1
            else:
                self._load(index, line)
        last_hash = hashlib.sha256(raw).hexdigest() if lines else ""
        return LogFile(to_text(path.name), lines, invalid_lines, last_hash)

    def finish(self) -> None:
        """Insert the remaining rows and create the indexes."""
        self._save_counts()
        for rows in (
            self._planned_items,
            self._outcomes,
            self._unreadable_projects,
            self._earlier_deletions,
        ):
            rows.flush()
        self._db.executescript(INDEXES)

    def _load(self, index: int, line: Mapping[str, object]) -> None:
        run_id = line.get("run_id")
        if run_id != self._run.run_id:
            self._save_counts()
            self._start_run(index, line)
        handler = self._handlers.get(to_text(line.get("event")))
        if self._is_new(index, line) and handler is not None:
            handler(line)

    def _is_new(self, index: int, line: Mapping[str, object]) -> bool:
        """Return False for a copy of a line already read.

        A run that continues in another file must continue after its last `seq`.
        """
        seq = to_int(line.get("seq")) or 0
        if index != self._run.file and seq <= self._run.last_seq:
            return False
        self._run.last_seq = max(seq, self._run.last_seq)
        return True

    def _start_run(self, index: int, line: Mapping[str, object]) -> None:
        run_id, timestamp = to_text(line.get("run_id")), to_datetime(line.get("ts"))
        self._db.execute(
            "INSERT OR IGNORE INTO runs (run_id, file, started) VALUES (?, ?, ?)",
            (run_id, index, timestamp.isoformat() if timestamp else ""),
        )
        row = self._db.execute("SELECT * FROM runs WHERE run_id=?", (run_id,)).fetchone()
        self._run = _RunCounters(row["ord"], run_id, row["file"], row["role"], row["last_seq"])

    def _save_counts(self) -> None:
        assignments = ", ".join(f"{name} = {name} + :{name}" for name in _COUNT_COLUMNS)
        self._db.execute(
            f"UPDATE runs SET {assignments}, last_seq = :last_seq WHERE ord = :ord",
            {**self._run.counts, "last_seq": self._run.last_seq, "ord": self._run.ord},
        )

    def _load_planned(self, line: Mapping[str, object]) -> None:
        self._run.counts["planned"] += 1
        if self._run.role is None:
            return
        age = to_float(line.get("age_days"))
        fields = ("invitation_id", "project_id", "project_name", "username", "inviter", "roles")
        self._planned_items.add(
            (
                self._run.role,
                _key(line),
                *(to_text(line.get(name)) for name in (*fields, "rule")),
                age,
                age_class(age),
                to_int(line.get("bounced")) or 0,
                to_text(line.get("username")).casefold(),
            )
        )

    def _load_intent(self, _line: Mapping[str, object]) -> None:
        self._run.counts["intents"] += 1

    def _load_outcome(self, line: Mapping[str, object]) -> None:
        outcome = to_text(line.get("outcome"))
        if outcome not in OUTCOMES:
            return
        role = self._count_outcome(outcome, line.get("recovers"))
        if outcome == "deleted" and role != CURRENT:
            self._earlier_deletions.add(
                (
                    to_text(line.get("project_id")),
                    to_text(line.get("username")).casefold(),
                    to_text(line.get("ts")),
                )
            )
        if role is not None:
            numbers = (to_int(line.get("attempts")), to_int(line.get("http_status")))
            code = to_text(line.get("error_code"))
            self._outcomes.add((role, _key(line), outcome, *numbers, code))

    def _count_outcome(self, outcome: str, recovers: object) -> int | None:
        """Count the outcome for the run that recorded its intent; return that run's role."""
        if not isinstance(recovers, str) or recovers == self._run.run_id:
            self._run.counts[outcome] += 1
            return self._run.role
        self._db.execute(
            f"UPDATE runs SET {outcome} = {outcome} + 1 WHERE run_id = ?", (to_text(recovers),)
        )
        found = self._db.execute("SELECT role FROM runs WHERE run_id = ?", (to_text(recovers),))
        row = found.fetchone()
        return None if row is None else row["role"]

    def _load_unreadable(self, line: Mapping[str, object]) -> None:
        if self._run.role is None:
            return
        names = (to_text(line.get(name)) for name in ("project_id", "project_name", "reason"))
        status, code = to_int(line.get("http_status")), to_text(line.get("error_code"))
        self._unreadable_projects.add((self._run.role, *names, status, code))


def load_lines(db: sqlite3.Connection, files: Sequence[Path]) -> tuple[LogFile, ...]:
    """Load every file, in this order.

    Raises:
        UsageError: A file cannot be read.
    """
    loader = LineLoader(db)
    logs = tuple(loader.load_file(index, path) for index, path in enumerate(files))
    loader.finish()
    return logs


def _key(line: Mapping[str, object]) -> str:
    parts = (line.get(name) for name in ("source", "org_id", "project_id", "invitation_id"))
    return "/".join(to_text(part) for part in parts)

"""Audit lines into temporary SQLite."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.errors import ExitCode, UsageFault
from invite_sweeper.report.html.model import OUTCOMES, LogFile
from invite_sweeper.report.run_view import parse_line
from invite_sweeper.sweep.plan import age_class
from invite_sweeper.text import instant, number, text, whole

# The temporary database that holds what memory should not: rows of the runs looked at.
#
# It is SQLite's own private temporary database: it lives in a few MiB of cache, spills to a
# file in the temporary folder, and is gone when it is closed, however the program ends.


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


# Reads audit logs line by line, whatever stands in them, in flat memory.


LONGEST_LINE = 1 << 23
"""Bytes; what is longer is no audit line and is skipped to its end."""


def raw_lines(path: Path) -> Iterator[bytes]:
    """Each line without its newline, in the file's order; an overlong one as `b""`.

    Raises:
        UsageFault: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            while raw := stream.readline(LONGEST_LINE):
                if not raw.endswith(b"\n") and len(raw) == LONGEST_LINE:
                    _skip_line(stream)
                    raw = b""
                yield raw.rstrip(b"\r\n")
    except OSError as error:
        raise UsageFault(
            f"The audit log {path} cannot be read: {error.strerror}.",
            hint="Name files that exist and that you may read.",
        ) from error


def _skip_line(stream: BinaryIO) -> None:
    while (more := stream.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
        pass


def in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Each file once, the one that begins first first: a rotated log is read as it was written.

    Raises:
        UsageFault: A file cannot be read.
    """
    files = dict.fromkeys(path.resolve() for path in paths)
    return tuple(sorted(files, key=lambda path: (_beginning(path), str(path))))


def _beginning(path: Path) -> str:
    for raw in raw_lines(path):
        line = parse_line(raw)
        if line is not None:
            return text(line.get("ts"))
    return ""


# First pass over the logs: which runs are there, and which of them the page is about.


CURRENT, PREVIOUS = 1, 0
"""A run's role in the comparison; every other run has none."""

TOGETHER = timedelta(hours=12)
"""Shards that began within this time of the newest belong to the same night."""

_MARK = b'"event":"run_'
"""Inside a JSON string the quotes would be escaped, so no value can look like this."""
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")
_COMPARABLE = tuple(c for c in ExitCode if c.read_everything or c is ExitCode.REFUSED)
"""Runs that ended so have listed everything; the others may have listed half."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the first pass found.

    Attributes:
        missing_shards: Numbers of the shards of the newest night that are not in the logs.
        of_shards: How many there should be; 0 where the newest run is whole.
        finished: The last lines of the current runs, in no order.
        other_series: How many further pairs of host and policy the logs hold runs of.
    """

    missing_shards: tuple[int, ...]
    of_shards: int
    finished: tuple[Mapping[str, object], ...]
    other_series: int


def read_heads(db: sqlite3.Connection, files: Sequence[Path]) -> Chosen:
    """Put every run into `runs` and mark those that the page compares.

    Raises:
        UsageFault: A file cannot be read.
    """
    db.execute("CREATE TABLE finals (run_id TEXT PRIMARY KEY, line BLOB)")
    db.execute("BEGIN")
    for index, path in enumerate(files):
        for raw in raw_lines(path):
            if _MARK in raw and (line := parse_line(raw)) is not None:
                _take(db, index, line, raw)
    db.execute("COMMIT")
    return _choose(db)


def _take(db: sqlite3.Connection, index: int, line: Mapping[str, object], raw: bytes) -> None:
    run_id = text(line.get("run_id"))
    seen_at = instant(line.get("now")) or instant(line.get("ts"))
    db.execute(
        "INSERT OR IGNORE INTO runs (run_id, file, started) VALUES (?, ?, ?)",
        (run_id, index, seen_at.isoformat() if seen_at else ""),
    )
    if line.get("event") == "run_started":
        columns = ("mode", "shard", "base_url", "policy_path", "policy_sha256", "actor")
        db.execute(
            "UPDATE runs SET mode=?, shard=?, base_url=?, policy_path=?, policy_sha256=?, actor=?,"
            " tool_version=? WHERE run_id=?",
            (*(text(line.get(name)) for name in (*columns, "tool_version")), run_id),
        )
    elif line.get("event") == "run_finished":
        db.execute(
            "UPDATE runs SET finished=?, exit_code=? WHERE run_id=?",
            (text(line.get("ts")), whole(line.get("exit_code")), run_id),
        )
        db.execute("INSERT OR REPLACE INTO finals VALUES (?, ?)", (run_id, raw))


def _choose(db: sqlite3.Connection) -> Chosen:
    newest = db.execute("SELECT * FROM runs ORDER BY started DESC, ord DESC LIMIT 1").fetchone()
    if newest is None:
        return Chosen((), 0, (), 0)
    split = _SHARD.fullmatch(newest["shard"])
    of_shards = int(split[2]) if split else 0
    current, missing = _newest_of_each(db, newest, of_shards)
    previous = tuple(found for ord_ in current if (found := _before(db, ord_)) is not None)
    if len(previous) < len(current):
        previous = ()
    for role, ords in ((CURRENT, current), (PREVIOUS, previous)):
        db.executemany("UPDATE runs SET role=? WHERE ord=?", [(role, ord_) for ord_ in ords])
    finals = db.execute(
        "SELECT f.line FROM finals f JOIN runs r USING (run_id) WHERE r.role = 1"
    ).fetchall()
    parsed = (parse_line(row["line"]) for row in finals)
    series = db.execute(
        "SELECT count(*) FROM (SELECT DISTINCT base_url, policy_path FROM runs)"
    ).fetchone()[0]
    finished = tuple(line for line in parsed if line is not None)
    return Chosen(missing, of_shards, finished, series - 1)


def _newest_of_each(
    db: sqlite3.Connection, newest: sqlite3.Row, of_shards: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not of_shards:
        return (newest["ord"],), ()
    rows = db.execute(
        "SELECT ord, shard, max(started) AS started FROM runs"
        " WHERE base_url=? AND policy_path=? AND shard LIKE ? GROUP BY shard",
        (newest["base_url"], newest["policy_path"], f"%/{of_shards}"),
    ).fetchall()
    latest = instant(newest["started"])
    tonight: dict[int, int] = {}
    for row in rows:
        split, began = _SHARD.fullmatch(row["shard"]), instant(row["started"])
        if split and latest and began and latest - began <= TOGETHER:
            tonight[int(split[1])] = row["ord"]
    absent = tuple(part for part in range(1, min(of_shards, 1000) + 1) if part not in tonight)
    return tuple(tonight.values()) or (newest["ord"],), absent


def _before(db: sqlite3.Connection, ord_: int) -> int | None:
    marks = ", ".join("?" * len(_COMPARABLE))
    row = db.execute(
        "SELECT p.ord FROM runs p JOIN runs c ON c.ord = ?"
        " WHERE p.base_url = c.base_url AND p.policy_path = c.policy_path AND p.shard = c.shard"
        " AND (p.started, p.ord) < (c.started, c.ord)"
        f" AND p.exit_code IN ({marks}) ORDER BY p.started DESC, p.ord DESC LIMIT 1",
        (ord_, *map(int, _COMPARABLE)),
    ).fetchone()
    return None if row is None else int(row["ord"])


# Second pass over the logs: every line counted, the lines of the compared runs kept.


_COUNTED = ("planned", "intents", *OUTCOMES)


@dataclass(slots=True)
class _Open:
    """The run whose lines are being read; its counts go to `runs` when another begins."""

    ord: int = -1
    run_id: str = ""
    file: int = -1
    role: int | None = None
    last_seq: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))


class Gatherer:
    """Takes audit lines one by one; what it holds itself is one run's counters."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._run = _Open()
        self._items = Rows(db, "items", 13)
        self._ends = Rows(db, "ends", 6)
        self._blind = Rows(db, "blind", 6)
        self._erased = Rows(db, "erased", 3)
        self._takers = {
            "planned": self._planned,
            "intent": self._intent,
            "outcome": self._outcome,
            "project_unreadable": self._unreadable,
        }

    def read(self, index: int, path: Path) -> LogFile:
        """Read one file to its end.

        Raises:
            UsageFault: The file cannot be read.
        """
        lines = unread = 0
        raw = b""
        for raw in raw_lines(path):
            lines += 1
            line = parse_line(raw)
            if line is None:
                unread += 1
            else:
                self._take(index, line)
        last_hash = hashlib.sha256(raw).hexdigest() if lines else ""
        return LogFile(text(path.name), lines, unread, last_hash)

    def close(self) -> None:
        """Hand over what is still held, and make the ledger quick to ask."""
        self._put_away()
        for rows in (self._items, self._ends, self._blind, self._erased):
            rows.flush()
        self._db.executescript(INDEXES)

    def _take(self, index: int, line: Mapping[str, object]) -> None:
        run_id = line.get("run_id")
        if run_id != self._run.run_id:
            self._put_away()
            self._open(index, line)
        taker = self._takers.get(text(line.get("event")))
        if self._is_new(index, line) and taker is not None:
            taker(line)

    def _is_new(self, index: int, line: Mapping[str, object]) -> bool:
        """Whether the line is no copy: a run that began in another file goes on after its last."""
        seq = whole(line.get("seq")) or 0
        if index != self._run.file and seq <= self._run.last_seq:
            return False
        self._run.last_seq = max(seq, self._run.last_seq)
        return True

    def _open(self, index: int, line: Mapping[str, object]) -> None:
        run_id, moment = text(line.get("run_id")), instant(line.get("ts"))
        self._db.execute(
            "INSERT OR IGNORE INTO runs (run_id, file, started) VALUES (?, ?, ?)",
            (run_id, index, moment.isoformat() if moment else ""),
        )
        row = self._db.execute("SELECT * FROM runs WHERE run_id=?", (run_id,)).fetchone()
        self._run = _Open(row["ord"], run_id, row["file"], row["role"], row["last_seq"])

    def _put_away(self) -> None:
        raised = ", ".join(f"{name} = {name} + :{name}" for name in _COUNTED)
        self._db.execute(
            f"UPDATE runs SET {raised}, last_seq = :last_seq WHERE ord = :ord",
            {**self._run.counts, "last_seq": self._run.last_seq, "ord": self._run.ord},
        )

    def _planned(self, line: Mapping[str, object]) -> None:
        self._run.counts["planned"] += 1
        if self._run.role is None:
            return
        age = number(line.get("age_days"))
        fields = ("invitation_id", "project_id", "project_name", "username", "inviter", "roles")
        self._items.add(
            (
                self._run.role,
                _key(line),
                *(text(line.get(name)) for name in (*fields, "rule")),
                age,
                age_class(age),
                whole(line.get("bounced")) or 0,
                text(line.get("username")).casefold(),
            )
        )

    def _intent(self, _line: Mapping[str, object]) -> None:
        self._run.counts["intents"] += 1

    def _outcome(self, line: Mapping[str, object]) -> None:
        outcome = text(line.get("outcome"))
        if outcome not in OUTCOMES:
            return
        role = self._account(outcome, line.get("recovers"))
        if outcome == "deleted" and role != CURRENT:
            self._erased.add(
                (
                    text(line.get("project_id")),
                    text(line.get("username")).casefold(),
                    text(line.get("ts")),
                )
            )
        if role is not None:
            numbers = (whole(line.get("attempts")), whole(line.get("http_status")))
            code = text(line.get("error_code"))
            self._ends.add((role, _key(line), outcome, *numbers, code))

    def _account(self, outcome: str, recovers: object) -> int | None:
        """Count the outcome for the run whose intent it answers; returns that run's role."""
        if not isinstance(recovers, str) or recovers == self._run.run_id:
            self._run.counts[outcome] += 1
            return self._run.role
        self._db.execute(
            f"UPDATE runs SET {outcome} = {outcome} + 1 WHERE run_id = ?", (text(recovers),)
        )
        row = self._db.execute("SELECT role FROM runs WHERE run_id = ?", (text(recovers),))
        found = row.fetchone()
        return None if found is None else found["role"]

    def _unreadable(self, line: Mapping[str, object]) -> None:
        if self._run.role is None:
            return
        names = (text(line.get(name)) for name in ("project_id", "project_name", "reason"))
        status, code = whole(line.get("http_status")), text(line.get("error_code"))
        self._blind.add((self._run.role, *names, status, code))


def gather(db: sqlite3.Connection, files: Sequence[Path]) -> tuple[LogFile, ...]:
    """Read every file into the ledger, in this order.

    Raises:
        UsageFault: A file cannot be read.
    """
    gatherer = Gatherer(db)
    found = tuple(gatherer.read(index, path) for index, path in enumerate(files))
    gatherer.close()
    return found


def _key(line: Mapping[str, object]) -> str:
    parts = (line.get(name) for name in ("source", "project_id", "invitation_id"))
    return "/".join(text(part) for part in parts)

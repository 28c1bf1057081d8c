"""Second pass over audit logs: count every line, and store the lines of the selected runs."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invite_sweeper.audit.checkpoint import CHECKPOINT_EVENT
from invite_sweeper.notes import key_ids
from invite_sweeper.report.html.database import INDEXES, BatchInserter, raw_lines
from invite_sweeper.report.html.model import OUTCOMES, LogFile
from invite_sweeper.report.html.selection import CURRENT
from invite_sweeper.report.run_view import parse_log_line
from invite_sweeper.sweep.plan import age_class
from invite_sweeper.text import to_datetime, to_float, to_int, to_text

_COUNT_COLUMNS = ("planned", *OUTCOMES)
_NOT_SENT = ("skipped", "already_there")
"""Outcomes that a restore may record without an intent."""


_RUN_COLUMNS = ("ord", "run_id", "file", "role", "mode", "last_seq")


@dataclass(slots=True)
class _RunCounters:
    """Counts of the run being read; they are added to `runs` when another one starts."""

    ord: int = -1
    run_id: str = ""
    file: int = -1
    role: int | None = None
    mode: str = ""
    last_seq: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNT_COLUMNS, 0))


class LineLoader:
    """Loads audit lines into the database.

    Memory holds one run's counters, a batch, and the intents without an outcome so far.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._run = _RunCounters()
        self._has_restores = False
        self._open_intents: set[tuple[str, str]] = set()
        self._planned_items = BatchInserter(db, "planned_items", 15)
        self._outcomes = BatchInserter(db, "outcomes", 6)
        self._unreadable_projects = BatchInserter(db, "unreadable_projects", 6)
        self._earlier_deletions = BatchInserter(db, "earlier_deletions", 4)
        self._handlers = {
            "planned": self._load_planned,
            "intent": self._load_intent,
            "outcome": self._load_outcome,
            "project_unreadable": self._load_unreadable,
            CHECKPOINT_EVENT: self._load_checkpoint,
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
        open_by_run = Counter(run_id for run_id, _ in self._open_intents)
        self._db.executemany(
            "UPDATE runs SET open = ? WHERE run_id = ?",
            [(count, run_id) for run_id, count in open_by_run.items()],
        )
        self._db.executemany(
            "INSERT INTO open_intents SELECT role, ? FROM runs WHERE run_id = ? AND role NOT NULL",
            [(key, run_id) for run_id, key in self._open_intents],
        )
        for rows in (
            self._planned_items,
            self._outcomes,
            self._unreadable_projects,
            self._earlier_deletions,
        ):
            rows.flush()
        self._db.executescript(INDEXES)
        if self._has_restores:
            self._db.execute(
                "DELETE FROM planned_items WHERE rowid NOT IN"
                " (SELECT min(rowid) FROM planned_items GROUP BY role, key)"
            )

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
        self._run = _RunCounters(*(row[name] for name in _RUN_COLUMNS))

    def _save_counts(self) -> None:
        assignments = ", ".join(f"{name} = {name} + :{name}" for name in _COUNT_COLUMNS)
        self._db.execute(
            f"UPDATE runs SET {assignments}, last_seq = :last_seq WHERE ord = :ord",
            {**self._run.counts, "last_seq": self._run.last_seq, "ord": self._run.ord},
        )

    def _load_planned(self, line: Mapping[str, object]) -> None:
        self._run.counts["planned"] += 1
        self._add_item(line)

    def _add_item(self, line: Mapping[str, object]) -> None:
        if self._run.role is None:
            return
        self._has_restores |= self._run.mode == "restore"
        age = to_float(line.get("age_days"))
        fields = (
            "invitation_id",
            "org_id",
            "project_id",
            "project_name",
            "username",
            "inviter",
            "roles",
        )
        self._planned_items.add(
            (
                self._run.role,
                _key(line),
                *(to_text(line.get(name)) for name in (*fields, "rule")),
                age,
                age_class(age),
                to_int(line.get("bounced")) or 0,
                to_text(line.get("username")).casefold(),
                line.get("new") is True,
            )
        )

    def _load_intent(self, line: Mapping[str, object]) -> None:
        self._open_intents.add((self._run.run_id, _key(line)))
        if self._run.mode == "restore":  # it has no `planned` lines
            self._add_item(line)

    def _load_outcome(self, line: Mapping[str, object]) -> None:
        outcome = to_text(line.get("outcome"))
        if outcome not in OUTCOMES:
            return
        recovers = line.get("recovers")
        intent_run = recovers if isinstance(recovers, str) else self._run.run_id
        self._open_intents.discard((to_text(intent_run), _key(line)))
        role = self._count_outcome(outcome, recovers)
        if self._run.mode == "restore" and outcome in _NOT_SENT:
            self._add_item(line)
        if outcome == "deleted" and role != CURRENT:
            self._earlier_deletions.add(
                (
                    to_text(line.get("project_id")),
                    to_text(line.get("username")).casefold(),
                    to_text(line.get("ts")),
                    _key(line),
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
            f"UPDATE runs SET {outcome} = {outcome} + 1, recovered = recovered + 1"
            " WHERE run_id = ?",
            (to_text(recovers),),
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

    def _load_checkpoint(self, line: Mapping[str, object]) -> None:
        ids = ", ".join(key_ids(to_text(line.get("note"))))
        self._db.execute("UPDATE runs SET key_ids = ? WHERE ord = ?", (ids, self._run.ord))


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

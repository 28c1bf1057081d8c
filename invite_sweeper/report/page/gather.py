"""Second pass over the logs: every line counted, the lines of the compared runs kept."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invite_sweeper.report.ages import age_class
from invite_sweeper.report.page.counted import LogFile
from invite_sweeper.report.page.heads import CURRENT
from invite_sweeper.report.page.ledger import INDEXES, Rows
from invite_sweeper.report.page.lines import raw_lines
from invite_sweeper.report.page.rows import OUTCOMES
from invite_sweeper.report.values import instant, number, parse_line, text, whole

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

"""First pass over the logs: which runs are there, and which of them the page is about."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from invite_sweeper.errors import ExitCode
from invite_sweeper.report.page.lines import raw_lines
from invite_sweeper.report.values import instant, parse_line, text, whole

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

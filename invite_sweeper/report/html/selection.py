"""First pass over audit logs: find the runs, and select those that the report compares."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from invite_sweeper.errors import ExitCode
from invite_sweeper.report.html.database import raw_lines
from invite_sweeper.report.run_view import parse_log_line
from invite_sweeper.text import to_datetime, to_int, to_text

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
        db.execute(
            "UPDATE runs SET mode=?, shard=?, base_url=?, policy_path=?, policy_sha256=?, actor=?,"
            " tool_version=?, group_id=?, organizations=?, dry_run=?, saved_plan=? WHERE run_id=?",
            (
                *(to_text(line.get(name)) for name in (*columns, "tool_version")),
                to_text(line.get("group_id")) or run_id,
                " ".join(sorted(_add_organizations(db, line))),
                line.get("dry_run") is True,
                "plan_sha256" in line,
                run_id,
            ),
        )
    elif line.get("event") == "run_finished":
        db.execute(
            "UPDATE runs SET finished=?, exit_code=?, whole_plan=? WHERE run_id=?",
            (
                to_text(line.get("ts")),
                to_int(line.get("exit_code")),
                _has_whole_plan(line),
                run_id,
            ),
        )
        _add_organizations(db, line)
        db.execute("INSERT OR REPLACE INTO last_lines VALUES (?, ?)", (run_id, raw))


def _has_whole_plan(line: Mapping[str, object]) -> bool:
    """Return whether a run planned everything that it found stale.

    A guard may refuse a run before it has read everything; it makes an estimate afterwards. Runs
    of earlier versions have no field for it.
    """
    code, estimate = to_int(line.get("exit_code")), line.get("estimate_s")
    estimated = code != ExitCode.REFUSED if "estimate_s" not in line else estimate is not None
    return code in _COMPARABLE and estimated and not line.get("trimmed")


def _add_organizations(db: sqlite3.Connection, line: Mapping[str, object]) -> tuple[str, ...]:
    """Store the names of the line's organizations, and return their ids."""
    listed, names = line.get("organizations"), line.get("organization_names")
    for id_, name in names.items() if isinstance(names, Mapping) else ():
        db.execute(
            "INSERT OR REPLACE INTO organizations VALUES (?, ?)", (to_text(id_), to_text(name))
        )
    return tuple(
        to_text(each).replace(" ", "") for each in (listed if isinstance(listed, list) else ())
    )


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
    other_series = db.execute(
        "SELECT count(*) FROM (SELECT DISTINCT base_url, policy_path FROM runs"
        " WHERE mode <> 'restore' AND ? <> 'restore' AND (base_url, policy_path) <> (?, ?))",
        (newest["mode"], newest["base_url"], newest["policy_path"]),
    ).fetchone()[0]
    last_lines = tuple(line for line in parsed if line is not None)
    return SelectedRuns(missing, shard_count, last_lines, other_series)


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
    """Return the last run with a whole plan to compare with, rather one of the same policy."""
    row = db.execute(
        "SELECT p.ord FROM runs p JOIN runs c ON c.ord = ?"
        " WHERE p.base_url = c.base_url AND p.policy_path = c.policy_path AND p.shard = c.shard"
        " AND p.group_id <> c.group_id AND p.organizations = c.organizations"
        " AND p.mode <> 'restore' AND c.mode <> 'restore' AND NOT c.saved_plan"
        " AND p.whole_plan AND NOT p.saved_plan AND (p.started, p.ord) < (c.started, c.ord)"
        " ORDER BY p.policy_sha256 = c.policy_sha256 DESC, p.started DESC, p.ord DESC LIMIT 1",
        (ord_,),
    ).fetchone()
    return None if row is None else int(row["ord"])

"""The counted tables of the page, asked of the ledger."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from invite_sweeper.errors import ExitCode, RunStatus
from invite_sweeper.report.ages import LABELS
from invite_sweeper.report.page.counted import AgeRow, AgeTable, Blind, Coverage, Exemption, Night
from invite_sweeper.report.page.rows import Cut, Run, Tally, Verdict
from invite_sweeper.report.values import instant, number, text, whole

SHOWN_ROWS = 50
SHOWN_NIGHTS = 60

_OPEN = (
    "max(0, intents - deleted - already_gone - failed - unknown"
    " - accepted_before - accepted_during)"
)
_TALLY = (
    "sum(planned) AS planned, sum(deleted) AS deleted, sum(already_gone) AS already_gone,"
    " sum(failed) AS failed, sum(unknown) AS unknown, sum(skipped) AS skipped,"
    " sum(accepted_before) AS accepted_before, sum(accepted_during) AS accepted_during,"
    f" sum({_OPEN}) AS open"
)


def stale_ages(db: sqlite3.Connection) -> tuple[int, ...]:
    """Ages of what the current run planned, by class."""
    rows = db.execute("SELECT class, count(*) AS n FROM items WHERE role = 1 GROUP BY class")
    found = {row["class"]: row["n"] for row in rows}
    return tuple(found.get(index, 0) for index in range(len(LABELS)))


def age_table(db: sqlite3.Connection, by: str, name: str, everything: Sequence[int]) -> AgeTable:
    """Ages of what the current run planned, by one column; those with the most first."""
    sums = ", ".join(f"sum(class = {index})" for index in range(len(LABELS)))
    groups = db.execute(
        f"SELECT max({name}), {sums} FROM items WHERE role = 1 GROUP BY {by}"
        f" ORDER BY count(*) DESC, {by} LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    total = db.execute(f"SELECT count(DISTINCT {by}) FROM items WHERE role = 1").fetchone()[0]
    rows = tuple(AgeRow(row[0], tuple(row[1:])) for row in groups)
    rest = tuple(
        whole_class - sum(row.counts[index] for row in rows)
        for index, whole_class in enumerate(everything)
    )
    return AgeTable(Cut(rows, total), rest)


def _tally_of(row: sqlite3.Row) -> Tally:
    """The counts of one row that names them."""
    return Tally(**{each.name: row[each.name] or 0 for each in fields(Tally)})


def current_tally(db: sqlite3.Connection) -> Tally:
    """The counts of the current runs together."""
    return _tally_of(db.execute(f"SELECT {_TALLY} FROM runs WHERE role = 1").fetchone())


def nights(db: sqlite3.Connection) -> Cut[Night]:
    """The last days on which sweeps began, the newest last."""
    days = "FROM runs WHERE started <> '' AND mode = 'sweep' GROUP BY substr(started, 1, 10)"
    rows = db.execute(
        f"SELECT substr(started, 1, 10) AS day, count(*) AS runs, {_TALLY} {days}"
        " ORDER BY day DESC LIMIT ?",
        (SHOWN_NIGHTS,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM (SELECT 1 {days})").fetchone()[0]
    found = tuple(Night(row["day"], row["runs"], _tally_of(row)) for row in reversed(rows))
    return Cut(found, total)


def runs(db: sqlite3.Connection, condition: str = "1", limit: int = SHOWN_ROWS) -> Cut[Run]:
    """Runs in the logs, the newest first."""
    rows = db.execute(
        f"SELECT *, {_OPEN} AS open FROM runs WHERE {condition}"
        " ORDER BY started DESC, ord DESC LIMIT ?",
        (limit,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM runs WHERE {condition}").fetchone()[0]
    return Cut(tuple(_run(row) for row in rows), total)


def _run(row: sqlite3.Row) -> Run:
    names = ("run_id", "mode", "shard", "base_url", "policy_path", "policy_sha256", "actor")
    texts = {name: str(row[name]) for name in (*names, "tool_version")}
    return Run(
        started=instant(row["started"]),
        exit_code=row["exit_code"],
        verdict=_verdict_of(row["exit_code"], ended=row["finished"] is not None),
        tally=_tally_of(row),
        **texts,
    )


_VERDICTS: Final = {
    RunStatus.DONE: Verdict.CLEAN,
    RunStatus.PARTLY_DONE: Verdict.PARTIAL,
    RunStatus.REFUSED: Verdict.REFUSED,
    RunStatus.STOPPED: Verdict.STOPPED,
    RunStatus.FAILED: Verdict.FAILED,
}


def _verdict_of(exit_code: int | None, *, ended: bool) -> Verdict:
    """The word for one run."""
    if not ended:
        return Verdict.UNFINISHED
    known = (code.status for code in ExitCode if code == exit_code)
    return _VERDICTS[next(known, RunStatus.FAILED)]


def coverage(db: sqlite3.Connection, seen: int | None) -> Coverage:
    """The projects that the current runs could not read, with the reasons."""
    reasons = db.execute(
        "SELECT reason, count(*) AS n FROM blind WHERE role = 1 GROUP BY reason"
        " ORDER BY n DESC, reason LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    kinds, unreadable = db.execute(
        "SELECT count(DISTINCT reason), count(*) FROM blind WHERE role = 1"
    ).fetchone()
    projects = db.execute(
        "SELECT project_id, project, reason, http_status, error_code FROM blind WHERE role = 1"
        " ORDER BY project, project_id LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    return Coverage(
        seen=seen,
        unreadable=unreadable,
        reasons=Cut(tuple((row["reason"], row["n"]) for row in reasons), kinds),
        projects=Cut(tuple(Blind(*row) for row in projects), unreadable),
    )


def kept_by_reason(finished: Sequence[Mapping[str, object]]) -> Cut[tuple[str, int]]:
    """Why invitations were kept, added up over the shards; the most frequent first."""
    found: dict[str, int] = {}
    for line in finished:
        reasons = line.get("kept_by_reason")
        for reason, count in reasons.items() if isinstance(reasons, Mapping) else ():
            found[text(reason)] = found.get(text(reason), 0) + (whole(count) or 0)
    rows = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return Cut(tuple(rows[:SHOWN_ROWS]), len(rows))


def exemptions(
    finished: Sequence[Mapping[str, object]], kept: Mapping[str, int], day: str
) -> Cut[Exemption]:
    """The policy's keep entries, as the runs list them or as the counts name them.

    Args:
        finished: The last lines of the current runs.
        kept: Their `kept_by_reason`, added up.
        day: The day on which the run began, `2026-11-25`; empty where nobody knows.
    """
    listed: dict[str, Exemption] = {}
    for line in finished:
        entries = line.get("keep_entries")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                name, until = text(entry.get("name")), text(entry.get("until"))
                before = listed[name].matched or 0 if name in listed else 0
                count = number(entry.get("matched"))
                matched = kept.get(f"keep:{name}") if count is None else before + int(count)
                over = bool(until and day and until < day)
                listed[name] = Exemption(name, text(entry.get("reason")), until, over, matched)
    for reason, count in kept.items():
        name = reason.removeprefix("keep:")
        if name != reason and name not in listed:
            listed[name] = Exemption(name, "", "", ended=False, matched=count)
    rows = tuple(listed.values())
    return Cut(rows[:SHOWN_ROWS], len(rows))

"""The planned deletions of one run, read back from its audit log for people to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from invite_sweeper.report.values import number, parse_line, text


@dataclass(frozen=True, slots=True)
class Row:
    """One stale invitation as a table shows it.

    Attributes:
        age_days: None where there is no readable date.
        outcome: None while nothing has been done about it (a dry run).
    """

    project: str
    username: str
    age_days: float | None
    rule: str
    roles: str
    inviter: str
    outcome: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A project that could not be read."""

    project: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a terminal shows of a run.

    Attributes:
        rows: The first of them, project by project.
        lost: Projects that could not be read; the first of them.
    """

    rows: tuple[Row, ...]
    lost: tuple[Lost, ...]


def read_shown(path: Path, run_id: str, *, start: int, most: int) -> Shown:
    """Read a run's first `most` planned deletions with their outcomes.

    Args:
        start: The byte offset at which the run begins in the log.
        most: Rows in memory at a time; the rest of the run is only passed over.
    """
    rows: dict[tuple[str, str, str], Row] = {}
    lost: list[Lost] = []
    for line in _lines(path, run_id, start):
        event = line.get("event")
        if event == "planned" and len(rows) < most:
            rows[_key(line)] = _row(line)
        elif event == "outcome" and (row := rows.get(_key(line))) is not None:
            rows[_key(line)] = replace(row, outcome=text(line.get("outcome")), detail=_detail(line))
        elif event == "project_unreadable" and len(lost) < most:
            lost.append(Lost(text(line.get("project_name")), text(line.get("reason"))))
    return Shown(tuple(rows.values()), tuple(lost))


def _lines(path: Path, run_id: str, start: int) -> Iterator[Mapping[str, object]]:
    with path.open("rb") as file:
        file.seek(start)
        for raw in file:
            line = parse_line(raw)
            if line is not None and line.get("run_id") == run_id:
                yield line


def _key(line: Mapping[str, object]) -> tuple[str, str, str]:
    return (
        text(line.get("source")),
        text(line.get("project_id")),
        text(line.get("invitation_id")),
    )


def _row(line: Mapping[str, object]) -> Row:
    return Row(
        project=text(line.get("project_name")),
        username=text(line.get("username")),
        age_days=number(line.get("age_days")),
        rule=text(line.get("rule")),
        roles=text(line.get("roles")),
        inviter=text(line.get("inviter")),
    )


def _detail(line: Mapping[str, object]) -> str:
    if line.get("outcome") not in {"failed", "unknown"}:
        return ""
    status, code = text(line.get("http_status")), text(line.get("error_code"))
    return " ".join(part for part in (status, code) if part) or "no answer"

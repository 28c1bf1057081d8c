"""Reads one run back from its audit log for people to look at; memory holds what is shown."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from invite_sweeper.report.rows import ASTRAY, Group, Lost, Row, Shown, lost, row
from invite_sweeper.report.values import instant, number, parse_line, text

_Line: TypeAlias = Mapping[str, object]
_Aged: TypeAlias = tuple[float, _Line]
"""A line with its age in days; one without a readable date counts as just sent."""
_Key: TypeAlias = tuple[str, str, str]

_HEAD_BYTES = 160
"""`ts`, `run_id`, `seq` and `event` stand in these."""
_INTENT = b'"event":"intent"'
_SHARE_OF_ONE = 5
"""Where not all can be shown, one project takes at most a fifth of the rows."""


def read_shown(path: Path, run_id: str, *, start: int, most: int, planned: int) -> Shown:
    """Read what a terminal shows of a run.

    Args:
        start: The byte offset at which the run begins in the log.
        most: Rows at most, and as many failures, unreadable projects and returned ones.
        planned: How many deletions the run planned; where they are more than `most`, no
            project takes all the rows.

    Raises:
        OSError: The log cannot be read.
    """
    reading = _Reading(most, most if planned <= most else max(1, most // _SHARE_OF_ONE))
    for raw in _raw_lines(path, start):
        if reading.began is not None and _INTENT in raw[:_HEAD_BYTES]:
            continue
        line = parse_line(raw)
        if line is not None and line.get("run_id") == run_id:
            reading.take(line)
    return reading.shown()


def _raw_lines(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        yield from file


class _Reading:
    """Takes a run's lines in their order: planned ones project by project, then the outcomes."""

    def __init__(self, most: int, most_a_project: int) -> None:
        self._most = most
        self._plan = _Plan(most, most_a_project)
        self._astray: list[Row] = []
        self._lost: list[Lost] = []
        self._ended: datetime | None = None
        self.began: datetime | None = None

    def take(self, line: _Line) -> None:
        match line.get("event"):
            case "planned":
                self._plan.take(line)
            case "intent":
                self.began = self.began or instant(line.get("ts"))
            case "outcome":
                self._outcome(line)
            case "project_unreadable" if len(self._lost) < self._most:
                self._lost.append(lost(line))

    def shown(self) -> Shown:
        took = self._ended - self.began if self._ended and self.began else None
        return replace(
            self._plan.shown(),
            astray=tuple(self._astray),
            lost=tuple(self._lost),
            swept_s=took.total_seconds() if took is not None else None,
        )

    def _outcome(self, line: _Line) -> None:
        if line.get("outcome") != "skipped":
            self._ended = instant(line.get("ts")) or self._ended
        self._plan.note_outcome(line)
        if line.get("outcome") in ASTRAY and len(self._astray) < self._most:
            self._astray.append(row(line))


@dataclass(slots=True)
class _OneProject:
    """A project's planned deletions while they stream by: the oldest of them, and their number."""

    id: str
    most: int
    count: int = 0
    lines: list[_Aged] = field(default_factory=list)

    def take(self, aged: _Aged) -> None:
        self.count += 1
        self.lines.append(aged)
        if len(self.lines) > 2 * self.most:
            self.cut(self.most)

    def cut(self, most: int) -> None:
        self.lines.sort(key=itemgetter(0), reverse=True)
        del self.lines[most:]


class _Plan:
    """The planned lines of a run, cut to the rows that are shown; one count a project besides."""

    def __init__(self, most: int, most_a_project: int) -> None:
        self._most = most
        self._most_a_project = most_a_project
        self._open: _OneProject | None = None
        self._counts: Counter[str] = Counter()
        self._groups: dict[str, list[_Key]] = {}
        self._rows: dict[_Key, Row] = {}
        self._organizations: set[str] = set()
        self._returned: list[Row] = []
        self._returned_count = 0
        self._oldest: _Aged | None = None
        self._newest: _Aged | None = None

    def take(self, line: _Line) -> None:
        project_id = text(line.get("project_id") or line.get("org_id"))
        if self._open is None or self._open.id != project_id:
            self._close_project()
            self._open = _OneProject(project_id, self._most_a_project)
        aged = (number(line.get("age_days")) or 0.0, line)
        self._open.take(aged)
        self._organizations.add(text(line.get("org_id")))
        if line.get("bounced"):
            self._returned_count += 1
            self._returned.extend([row(line)] * (len(self._returned) < self._most))
        if self._oldest is None or aged[0] > self._oldest[0]:
            self._oldest = aged
        if self._newest is None or aged[0] < self._newest[0]:
            self._newest = aged

    def note_outcome(self, line: _Line) -> None:
        self._close_project()
        key = _key(line)
        planned = self._rows.get(key)
        if planned is not None:
            ended = row(line)
            self._rows[key] = replace(planned, outcome=ended.outcome, detail=ended.detail)

    def shown(self) -> Shown:
        self._close_project()
        return Shown(
            groups=tuple(
                Group(tuple(self._rows[key] for key in keys), self._counts[project_id])
                for project_id, keys in sorted(self._groups.items(), key=self._name)
            ),
            projects=len(self._counts),
            planned=self._counts.total(),
            most_in_project=max(self._counts.values(), default=0),
            organizations=tuple(sorted(self._organizations)),
            oldest=row(self._oldest[1]) if self._oldest is not None else None,
            newest=row(self._newest[1]) if self._newest is not None else None,
            returned=tuple(self._returned),
            returned_count=self._returned_count,
        )

    def _name(self, group: tuple[str, list[_Key]]) -> tuple[str, str]:
        """By name: the order of the log is that in which the answers came."""
        project_id, keys = group
        return self._rows[keys[0]].project.casefold(), project_id

    def _close_project(self) -> None:
        """Keep what of the project is shown: its oldest, as far as there is room for rows."""
        one, self._open = self._open, None
        if one is None:
            return
        self._counts[one.id] += one.count
        known = self._groups.get(one.id, [])
        one.cut(min(self._most_a_project - len(known), self._most - len(self._rows)))
        if one.lines:
            found = {_key(line): row(line) for _, line in one.lines}
            self._groups[one.id] = [*known, *found]
            self._rows.update(found)


def _key(line: _Line) -> _Key:
    return (
        text(line.get("source")),
        text(line.get("project_id")),
        text(line.get("invitation_id")),
    )

"""Picks lines out of audit logs: those of a run, a project, a person, an outcome, a day."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from invite_sweeper.audit.lines import Spot, records, refuse_damaged, refuse_stranger
from invite_sweeper.audit.record import Record


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lines to show; what is None chooses all, and all that is given must hold.

    Attributes:
        run: A run's id, or its beginning.
        project: A project's id, or a glob on its name; case does not matter.
        username: A glob on the invited person's address; case does not matter.
        outcome: An outcome's name; lines of other events have none.
        day: A day in UTC.
        event: An event's name.
    """

    run: str | None = None
    project: str | None = None
    username: str | None = None
    outcome: str | None = None
    day: date | None = None
    event: str | None = None

    def takes(self, record: Record) -> bool:
        """Whether the record is chosen."""
        return (
            _begins(self.run, record.get("run_id"))
            and _begins(None if self.day is None else self.day.isoformat(), record.get("ts"))
            and self.event in (None, record.get("event"))
            and self.outcome in (None, record.get("outcome"))
            and _matches(self.username, record.get("username"))
            and (
                _matches(self.project, record.get("project_id"))
                or _matches(self.project, record.get("project_name"))
            )
        )


def show(
    paths: Sequence[Path],
    choice: Choice,
    *,
    damaged: Callable[[Spot], object] = refuse_damaged,
) -> Iterator[Record]:
    """The chosen records, in the order of their lines; one is in memory at a time.

    Args:
        paths: In the order in which they were written.
        choice: What to show.
        damaged: Told of each line that is no record; what it raises ends the reading.

    Raises:
        GuardRefused: A line is damaged, and `damaged` was left as it is; or a file begins
            with what is no line of an audit log.
        UsageFault: A file cannot be read.
    """
    for path in paths:
        refuse_stranger(path)
    events = None if choice.event is None else frozenset({choice.event.encode()})
    return filter(choice.takes, records(paths, events, damaged=damaged))


def _begins(wanted: str | None, value: object) -> bool:
    return wanted is None or (isinstance(value, str) and value.startswith(wanted))


def _matches(glob: str | None, value: object) -> bool:
    return glob is None or (
        isinstance(value, str) and fnmatchcase(value.casefold(), glob.casefold())
    )

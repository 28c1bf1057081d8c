"""What a restore undoes: of each person the last deletion in each place, if Atlas confirmed it.

Nothing is undone that was deleted in another Atlas. Without a run, the file of the last run must
be there: it may have the last deletion.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import AuditDirectory, LineFilter, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import (
    HistoryLine,
    HistoryReader,
    close_names,
    last_deletions,
    names_of,
    runs_of,
)
from invite_sweeper.errors import DamagedLog, GuardRefused, NoDeletionFound
from invite_sweeper.models import Invitation
from invite_sweeper.text import plural_form, pluralize


class Wanted(NamedTuple):
    """Which deletions a restore is asked to undo.

    Attributes:
        run: The number, id or file of the run to undo; None for any run.
        username: A glob for the addresses; None for all.
        unconfirmed: Also deletions that Atlas did not confirm: without a response, or found gone
            by a repeated request.
    """

    run: str | None = None
    username: str | None = None
    unconfirmed: bool = False


class Deletions(NamedTuple):
    """What a restore undoes: of each person the last deletion in each place.

    Attributes:
        runs: Which runs deleted them, in their order.
        lines: In the order of these runs.
        left_out: Deletions of the wanted people that Atlas did not confirm.
    """

    runs: tuple[RunFile, ...]
    lines: tuple[Planned, ...]
    left_out: int = 0

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of the runs."""
        return tuple(run.run_id for run in self.runs)


def find_deletions(
    directory: AuditDirectory, wanted: Wanted, base_url: str, advisor: Advisor
) -> Deletions:
    """Return what a restore undoes.

    With a run, what it deleted. Without one, of the people with a name the last deletion of each
    in each place, of any run; of all people, what the last sweep deleted that deleted any.

    Args:
        base_url: Of the Atlas that is asked to invite them.
        advisor: Makes the commands of hints.

    Raises:
        NoDeletionFound: No run that was searched deleted them.
        GuardRefused: They were deleted in another Atlas.
        DamagedLog: The log is damaged, or the file of the last run is missing.
        UsageError: The run does not exist, or there is none.
    """
    directory.check_not_empty()
    reader = HistoryReader(LineFilter(events=_DECISIVE, username=wanted.username))
    lines = _read_lines(directory, wanted, reader)
    deletions = last_deletions(lines, unconfirmed=wanted.unconfirmed)
    if wanted.run is None:
        _check_last_file(directory, deletions, advisor)
    if not deletions:
        raise _no_deletion_found(directory, wanted, lines, reader.runs, advisor)
    # The same organization may be in an audit directory that served two hosts of Atlas.
    in_this_atlas = [line for line in deletions if line.start.base_url == base_url]
    if not in_this_atlas:
        last = deletions[-1]
        raise GuardRefused(
            f"Run {last.run.run_id} used {last.start.base_url}, not {base_url}.",
            hint="Set --base-url to the URL of that run.",
        )
    left_out = 0
    for line in last_deletions(lines, unconfirmed=True):
        if not line.is_deletion(unconfirmed=wanted.unconfirmed):
            left_out += 1
    lines_to_undo = tuple(map(_planned, in_this_atlas))
    return Deletions(runs_of(in_this_atlas), lines_to_undo, left_out)


_DECISIVE: Final = frozenset({Intent.event, OutcomeLine.event})
"""The events of what became of a deletion."""


def _read_lines(
    directory: AuditDirectory, wanted: Wanted, reader: HistoryReader
) -> list[HistoryLine]:
    """Return what became of deletions in the runs that are searched, in their order."""
    lines: list[HistoryLine] = []
    if wanted.run is not None:
        lines.extend(reader.read(FileChain(directory.find(wanted.run))))
    elif wanted.username is not None:
        for chain in directory.reader():
            lines.extend(reader.read(chain))
    else:  # from the newest file back to a run that deleted anyone
        for run_file in reversed(directory.files()):
            lines = [*reader.read(FileChain(run_file)), *lines]
            if last_deletions(lines, unconfirmed=wanted.unconfirmed):
                break
    return lines


def _planned(line: HistoryLine) -> Planned:
    """Return a deletion as it was planned."""
    event = line.event
    assert isinstance(event, Intent | OutcomeLine)  # noqa: S101 - others are no deletions
    return event.as_event(Planned, rule=event.rule)


def _check_last_file(
    directory: AuditDirectory, deletions: Sequence[HistoryLine], advisor: Advisor
) -> None:
    """Raise DamagedLog if the file of the last run is missing: it may have the last deletion."""
    missing = directory.reader().missing
    if missing is None:
        return
    hint = f"Name the run to undo. {directory.list_hint()}"
    if deletions:
        last_run = runs_of(deletions)[-1]
        command = advisor._replace(run=str(last_run.number)).restore()
        hint = f"To undo the last sweep that is known: {command}"
    raise DamagedLog(
        f"The file of the last run, {missing.name}, is missing in {directory.path}: it may "
        "have the last deletion.",
        hint=hint,
    )


def _no_deletion_found(
    directory: AuditDirectory,
    wanted: Wanted,
    lines: Sequence[HistoryLine],
    searched: Iterable[RunFile],
    advisor: Advisor,
) -> NoDeletionFound:
    """Return the error where no run deleted the wanted people, with what may be meant."""
    runs = sorted(searched)
    where = f"runs {runs[0].number} to {runs[-1].number} of {directory.path}"
    if len(runs) == 1:
        where = f"run {runs[0].number or runs[0].path.name}"
    whom = "anyone" if wanted.username is None else f"a person named {wanted.username!r}"
    message = f"No sweep deleted {whom}: {where} {plural_form(len(runs), 'was', 'were')} searched."
    name = wanted.username or ""
    advisor = advisor._replace(run=wanted.run or "")
    unconfirmed = last_deletions(lines, unconfirmed=True)
    if unconfirmed:
        people = pluralize(count_people(map(_planned, unconfirmed)), "person", "people")
        command = advisor.restore(name, "--include-unconfirmed")
        hint = f"Atlas did not confirm the deletion of {people}. To invite them again: {command}"
    elif lines:
        hint = f"What runs did with them: {advisor.history(name)}"
    else:
        hint = directory.list_hint()
        close = close_names([name], _names(directory, runs)) if name else ()
        if close:
            hint = f"Did you mean {', '.join(close)}?"
    return NoDeletionFound(message, hint=hint)


def _names(directory: AuditDirectory, runs: Sequence[RunFile]) -> Iterator[str]:
    """Yield the names of all people in the runs that were searched."""
    if len(runs) == 1:  # it may be a file outside the directory
        yield from names_of(FileChain(runs[0]))
        return
    for chain in directory.reader():
        yield from names_of(chain)


def count_people(invitations: Iterable[Invitation]) -> int:
    """Return how many people have these invitations: one may have several."""
    return len({invitation.person for invitation in invitations})

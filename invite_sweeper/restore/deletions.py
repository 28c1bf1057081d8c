"""What a restore undoes: of each person the last deletion in each place, if Atlas confirmed it.

Nothing is undone that was deleted in another Atlas. The log is read by its one reader: where a
file is missing, it may have the last deletion.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from invite_sweeper.audit import AuditDirectory, LineFilter, RunFile
from invite_sweeper.audit.directory import LIST_RUNS
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.audit.person import (
    Deletion,
    HistoryLine,
    HistoryReader,
    last_deletions,
    runs_of,
)
from invite_sweeper.errors import Advisor, GuardRefused, NoDeletionFound, UsageError
from invite_sweeper.models import Invitation
from invite_sweeper.text import escape_unprintable, plural_form, pluralize


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
        lost: What each of them lost in each place, in the order of these runs.
        left_out: Deletions of the wanted people that Atlas did not confirm.
    """

    runs: tuple[RunFile, ...]
    lost: tuple[Planned, ...]
    left_out: int = 0


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
        DamagedLog: The log is damaged.
        UsageError: The run does not exist, or there is none.
    """
    directory.check_not_empty()
    reader = HistoryReader(LineFilter(events=_DECISIVE, username=wanted.username))
    lines = _read_lines(directory, wanted, reader)
    possible = last_deletions(lines, unconfirmed=True)
    deletions = possible if wanted.unconfirmed else last_deletions(lines)
    if wanted.username is None:  # of the runs without a confirmed one, the last with any
        deletions = tuple(each for each in deletions if each.line.run == deletions[-1].line.run)
    if not deletions:
        searched = reader.runs if wanted.run is None else reader.runs[:1]
        raise _no_deletion_found(directory, wanted, possible, searched, advisor)
    # The same organization may be in an audit directory that served two hosts of Atlas.
    in_this_atlas = [each for each in deletions if each.line.start.base_url == base_url]
    if not in_this_atlas:
        last = deletions[-1].line
        raise GuardRefused(
            f"Run {last.run.number} used {last.start.base_url}, not {base_url}.",
            hint="Set --base-url to the URL of that run.",
        )
    left_out = sum(not (wanted.unconfirmed or each.is_confirmed) for each in possible)
    lost = tuple(deletion.lost for deletion in in_this_atlas)
    return Deletions(runs_of(deletion.line for deletion in in_this_atlas), lost, left_out)


_DECISIVE: Final = frozenset({Intent.event, OutcomeLine.event})
"""The events of what became of a deletion."""


def _read_lines(
    directory: AuditDirectory, wanted: Wanted, reader: HistoryReader
) -> list[HistoryLine]:
    """Return what became of deletions in the runs that are searched, in their order.

    Of all people, these are the last run with a deletion that Atlas confirmed, and those after it.

    Raises:
        DamagedLog: The log is damaged from the first of these runs on.
        UsageError: The run is not one of the directory.
    """
    lines: list[HistoryLine] = []
    if wanted.run is None:
        for chain in directory.reader():
            of_run = reader.read(chain)
            if wanted.username is None and last_deletions(of_run):
                lines.clear()
            lines += of_run
        return lines
    first = _index_of_run(directory, wanted.run)
    for index, chain in enumerate(directory.reader(first=first)):
        if index == 0:
            lines += reader.read(chain)
        elif reader.has_open_requests:  # what became of those of a killed run
            reader.read(chain)
    return lines


def _index_of_run(directory: AuditDirectory, run: str) -> int:
    """Return which file of the directory is that of a run.

    Raises:
        UsageError: None is. A file from elsewhere may have any content.
    """
    named = directory.find(run).path.resolve()
    for index, file in enumerate(directory.files()):
        if file.path.resolve() == named:
            return index
    raise UsageError(
        f"{escape_unprintable(run)} is not a file of the audit directory {directory.path}.",
        hint=f"Name a run of it by its number or id. {LIST_RUNS}",
        command=directory.list_command(),
    )


def _no_deletion_found(
    directory: AuditDirectory,
    wanted: Wanted,
    unconfirmed: Sequence[Deletion],
    searched: Iterable[RunFile],
    advisor: Advisor,
) -> NoDeletionFound:
    """Return the error where no run deleted the wanted people.

    Args:
        unconfirmed: Their deletions that Atlas did not confirm.
    """
    runs = sorted(searched)
    where = f"runs {runs[0].number} to {runs[-1].number} of {directory.path}"
    if len(runs) == 1:
        where = f"run {runs[0].number}"
    whom = "anyone" if wanted.username is None else f"a person named {wanted.username!r}"
    message = f"No sweep deleted {whom}: {where} {plural_form(len(runs), 'was', 'were')} searched."
    name = wanted.username or ""
    advisor = advisor._replace(run=wanted.run or "")
    if unconfirmed:
        count = count_people(deletion.lost for deletion in unconfirmed)
        people = pluralize(count, "person", "people")
        command = advisor.restore(name, "--include-unconfirmed")
        hint = f"Atlas did not confirm the deletion of {people}. To invite them again:"
    elif name:
        hint = "What runs did with them:"
        command = advisor.history(name)
    else:
        hint = LIST_RUNS
        command = directory.list_command()
    return NoDeletionFound(message, hint=hint, command=command)


def count_people(invitations: Iterable[Invitation]) -> int:
    """Return how many people have these invitations: one may have several in an organization."""
    return len({invitation.person for invitation in invitations})

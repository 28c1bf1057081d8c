"""What became of people: what the runs of an audit directory did with them, and when.

A run has a line for the plan, the request and the outcome of each invitation, and the last of them
counts. A person counts as deleted only where Atlas confirmed it to a sweep: an open request, an
`unknown` outcome and what was found gone do not, unless a caller asks for unconfirmed deletions.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import structs

from invite_sweeper.audit.chain import ChainLine
from invite_sweeper.audit.events import Event, Intent, OutcomeLine, Planned, RunFinished, RunStarted
from invite_sweeper.audit.file_chain import FileChain, RunFile
from invite_sweeper.audit.record import Fold, RequestLine, RunLine, RunRecord
from invite_sweeper.audit.search import LineFilter
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome

_DELETED: Final = frozenset({Outcome.DELETED.value, "accepted_during"})
"""The second one is of runs before 0.3: an active member was removed."""


class HistoryLine(NamedTuple):
    """What a run did with an invitation, or another line of its file.

    Attributes:
        record: The run.
        line: The line; of what is deleted or invited, the last that the run has.
        sent_by: The earlier run whose request an outcome is about; None of an own one.
    """

    record: RunRecord
    line: RunLine
    sent_by: RunFile | None = None

    @property
    def run(self) -> RunFile:
        """The file of the run."""
        return self.record.file

    @property
    def start(self) -> RunStarted:
        """The first line of the run."""
        return self.record.start

    @property
    def event(self) -> Event:
        """The line itself."""
        return self.line.event

    @property
    def ts(self) -> str:
        """When the line was written."""
        return self.line.ts

    @property
    def request(self) -> RequestLine | None:
        """What became of a request of the run, as far as it is known; None of another line."""
        return self.record.request_of(self.line)


class HistoryReader:
    """Reads what runs did, one file after the other.

    Args:
        wanted: Which lines are read.

    Attributes:
        runs: The files that were read so far.
        names: Of organizations, by id, as these runs recorded them.
    """

    def __init__(self, wanted: LineFilter) -> None:
        self.runs: list[RunFile] = []
        self.names: dict[str, str] = {}
        self._wanted = wanted
        self._fold = Fold()

    def read(self, chain: FileChain) -> tuple[HistoryLine, ...]:
        """Return what one run did, in the order of its lines.

        Raises:
            DamagedLog: The file is damaged.
        """
        self.runs.append(chain.file)
        run = RunRecord(chain.file)
        for line, event in self._fold.follow(run, self._lines(run, chain), chain.decode):
            if event is not None:  # None of a later version
                run.add(event, line.number, line.header.ts)
        in_order = sorted(run.lines.values(), key=lambda line: line.number)
        return tuple(HistoryLine(run, line, self._sent_by(line.event)) for line in in_order)

    @property
    def has_open_requests(self) -> bool:
        """Whether a later run may have recorded what became of a request that was read."""
        return any(run.left for run in self._fold.runs.values())

    def _sent_by(self, event: Event) -> RunFile | None:
        """Return the earlier run whose request an outcome is about, if its file was read."""
        if not isinstance(event, OutcomeLine) or event.recovers is None:
            return None
        sender = self._fold.runs.get(event.recovers)
        return None if sender is None else sender.file

    def _lines(self, run: RunRecord, chain: FileChain) -> Iterator[ChainLine]:
        """Yield the wanted lines, and set what the first and the last one have."""
        for _, line in self._wanted.matching(chain):
            if not run.has_started and chain.first is not None:
                start = chain.decode(chain.first)
                if isinstance(start, RunStarted):
                    run.start = start
            yield line
        end = None if chain.last is None else chain.decode(chain.last)
        if isinstance(end, RunFinished):
            run.end = end
            for organization in end.organizations:
                if organization.name:
                    self.names[organization.id] = organization.name


class Deletion(NamedTuple):
    """What a run took from a person in one place.

    Attributes:
        line: What the run did there.
        lost: The invitation to that place alone, with the roles of all entries.
        is_confirmed: Whether Atlas confirmed it.
    """

    line: HistoryLine
    lost: Planned
    is_confirmed: bool


def last_deletions(
    lines: Iterable[HistoryLine], *, unconfirmed: bool = False
) -> tuple[Deletion, ...]:
    """Return the last deletion of each person in each place, in the order of the runs.

    Invitations of `invites` stand for themselves: they are a place beside the project.

    Args:
        lines: In the order of the runs.
        unconfirmed: Whether deletions count that Atlas did not confirm: without a response, or
            found gone by a repeated request or by a later run.
    """
    deletions: dict[tuple[object, ...], Deletion] = {}
    for line in lines:
        request = line.request
        if request is None or isinstance(request, Planned) or line.start.mode != "sweep":
            continue
        is_confirmed = _is_confirmed(request)
        if is_confirmed is None or not (is_confirmed or unconfirmed):
            continue
        for lost in _lost_in_each_place(request):
            place = (*lost.person, lost.source.stands_for_itself, lost.place_id)
            earlier = deletions.pop(place, None)
            if earlier is not None and earlier.line.run == line.run:
                lost = _united(earlier.lost, lost)  # noqa: PLW2901
            deletions[place] = Deletion(line, lost, is_confirmed)
    return tuple(deletions.values())


def _is_confirmed(event: Intent | OutcomeLine) -> bool | None:
    """Return whether Atlas confirmed a deletion; None where the person was not deleted.

    Args:
        event: The last that is known of a request.
    """
    if isinstance(event, Intent) or event.outcome == Outcome.UNKNOWN:
        return False
    if event.outcome in _DELETED:
        return True
    is_repeated = event.attempts > 1 or event.recovers is not None
    return False if event.outcome == Outcome.ALREADY_GONE and is_repeated else None


def _united(earlier: Planned, lost: Planned) -> Planned:
    """Return what one run took from a person in a place, by two of its entries or deletions."""
    roles = dict.fromkeys((*earlier.roles, *lost.roles))  # a set that keeps the order
    team_ids = dict.fromkeys((*earlier.team_ids, *lost.team_ids))
    return structs.replace(lost, roles=tuple(roles), team_ids=tuple(team_ids))


def _lost_in_each_place(deletion: Intent | OutcomeLine) -> Iterator[Planned]:
    """Yield what one DELETE took from a person: each entry's roles in each place."""
    planned = deletion.as_event(Planned, rule=deletion.rule)
    if deletion.source.stands_for_itself:
        yield planned
        return
    names = dict[str | None, str | None](deletion.linked_projects)
    names[deletion.project_id] = deletion.project_name
    for entry in (deletion.as_entry, *deletion.entries):
        # Those in the organization have no project.
        roles_by_project: dict[str | None, list[str]] = {entry.project_id: list(entry.roles)}
        for linked_id, role in entry.project_roles:
            roles_by_project.setdefault(linked_id, []).append(role)
        for project_id, roles in roles_by_project.items():
            yield structs.replace(
                planned,
                source=deletion.source if project_id is None else Source.USERS,
                project_id=project_id,
                project_name=names.get(project_id),
                roles=tuple(filter(None, roles)),  # Atlas may name a project without its roles
                project_roles=(),
                team_ids=entry.team_ids if project_id is None else (),
                linked_projects=(),
                entries=(),
            )


def runs_of(lines: Iterable[HistoryLine]) -> tuple[RunFile, ...]:
    """Return the runs that did something, in their order."""
    return tuple(sorted({line.run for line in lines}))

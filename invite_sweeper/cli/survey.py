"""What `explain` and `list` read: what a dry run reads, without a log, a guard or a plan."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from invite_sweeper.cli.session import Session
from invite_sweeper.cli.view import Progress
from invite_sweeper.models import ListUnreadable
from invite_sweeper.sweep.conditions import Members, OrganizationNames
from invite_sweeper.sweep.dates import Dates
from invite_sweeper.sweep.discovery import OrganizationReader
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Decision, Selector


class Judged(NamedTuple):
    """An invitation: what the policy decides about it, and what a sweep would do."""

    by_policy: Decision
    decision: Decision


class Survey(NamedTuple):
    """What was read of all organizations.

    Attributes:
        result: With their readings.
        judged: Every invitation in scope, in no order.
    """

    result: Result
    judged: Sequence[Judged]

    @property
    def members(self) -> Members:
        """The active members of the organizations where they are known."""
        people = {reading.id: reading.people for reading in self.result.readings}
        return {org_id: known.members for org_id, known in people.items() if known.members}

    @property
    def names(self) -> OrganizationNames:
        """The names of the organizations that Atlas returned."""
        readings = self.result.readings
        return {reading.id: reading.returned_name for reading in readings if reading.returned_name}

    def unread(self) -> Iterator[ListUnreadable]:
        """Yield the lists that may hold more invitations, and the organizations that failed."""
        for reading in self.result.readings:
            if reading.error is not None:
                yield ListUnreadable(reason=reading.error.message, org_id=reading.id)
            yield from reading.lists.unread
            yield from reading.lists.retired.values()

    def excluded_projects(self) -> Iterator[str]:
        """Yield the projects that the policy excludes; of several organizations with theirs."""
        readings = self.result.readings
        for reading in readings:
            if reading.scope is None:  # its projects could not be listed
                continue
            of_organization = ""
            if len(readings) > 1:
                of_organization = f" of {reading.organization.name or reading.id}"
            for project in reading.scope.excluded:
                yield f"{project.name}{of_organization}"

    def dates(self) -> Dates:
        """Return what finds the day on which a sweep may end each invitation."""
        command = self.result.command
        selector = Selector(command.policy, command.now, self.members, self.names)
        return Dates(command.policy, selector, command.now, command.notice)


async def read_survey(session: Session) -> Survey:
    """Read what a sweep reads; nothing is written.

    Raises:
        RunError: No organization could be read, or a stop was requested.
    """
    history = session.read_sound_history()
    judged: list[Judged] = []

    def observe(by_policy: Decision, decision: Decision) -> None:
        judged.append(Judged(by_policy, decision))

    command = session.settings.command(history, dry_run=True, observe=observe)
    async with session.organizations(history) as organizations:
        view = Progress(session.log, session.terminal)
        result = Result(command, organizations, view)
        reader = OrganizationReader(result, organizations, None)
        try:
            result.readings = await session.stop.run_unless_stopped(reader.read_all())
        finally:
            view.close()
    errors = [reading.error for reading in result.readings if reading.error is not None]
    if errors and len(errors) == len(result.readings):
        raise errors[0]
    return Survey(result, judged)

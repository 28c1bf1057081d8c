"""Who is pending, for `list` and `explain`: what a dry run reads, without a log or a plan."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import structs

from invite_sweeper.cli.progress import Progress
from invite_sweeper.cli.session import Session, connect
from invite_sweeper.explain import Explainer
from invite_sweeper.models import ListUnreadable
from invite_sweeper.sweep.discovery import OrganizationReader
from invite_sweeper.sweep.plan import Command
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Decision


class Judged(NamedTuple):
    """An invitation: what the policy decides about it, and what a sweep would do."""

    by_policy: Decision
    decision: Decision


class Pending(NamedTuple):
    """What was read of all organizations.

    Attributes:
        result: With their readings.
        judged: Every invitation in scope, in no order.
    """

    result: Result
    judged: Sequence[Judged]

    def explainer(self) -> Explainer:
        """Return what judges each invitation, and explains it."""
        readings = self.result.readings
        command = self.result.command
        people = {reading.id: reading.people.members for reading in readings}
        return Explainer(
            command.policy,
            command.now,
            {org_id: members for org_id, members in people.items() if members},
            {reading.id: reading.returned_name for reading in readings if reading.returned_name},
            command.notice,
        )

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


async def read_pending(command: Command, session: Session) -> Pending:
    """Read what a sweep reads; nothing is written.

    Raises:
        RunError: No organization could be read, or a stop was requested.
    """
    session.read_sound_history(command)
    judged: list[Judged] = []

    def observe(by_policy: Decision, decision: Decision) -> None:
        judged.append(Judged(by_policy, decision))

    command = structs.replace(command, observe=observe)
    async with connect(command, session.environment, session.log) as organizations:
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
    return Pending(result, judged)

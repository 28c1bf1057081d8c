"""Who is pending, for `list` and `explain`: what a dry run reads, without a log or a plan."""

from collections.abc import Iterator
from typing import NamedTuple

from invite_sweeper.cli.progress import Progress
from invite_sweeper.cli.session import Session, connect
from invite_sweeper.explain import Explainer
from invite_sweeper.models import ListUnreadable
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.discovery import read_and_decide
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.selection import Decision


class Pending(NamedTuple):
    """What was read of all organizations, and decided."""

    result: Result

    @property
    def decisions(self) -> Iterator[Decision]:
        """The decision about every invitation in scope, in no order."""
        for decided in self.result.decided:
            yield from decided.decisions

    def explainer(self) -> Explainer:
        """Return what judges each invitation, and explains it."""
        command = self.result.command
        all_decided = self.result.decided
        return Explainer(
            command.policy,
            command.now,
            {each.id: each.members for each in all_decided if each.members is not None},
            {each.id: each.returned_name for each in all_decided if each.returned_name},
            command.notice,
        )

    def unread(self) -> Iterator[ListUnreadable]:
        """Yield the lists that may hold more invitations, and the organizations that failed."""
        for decided in self.result.decided:
            if decided.error is not None:
                yield ListUnreadable(reason=decided.error.message, org_id=decided.id)
            yield from decided.lists.unread
            yield from decided.lists.retired.values()

    def excluded_projects(self) -> Iterator[str]:
        """Yield the projects that the policy excludes; of several organizations with theirs."""
        all_decided = self.result.decided
        for decided in all_decided:
            if decided.scope is None:  # its projects could not be listed
                continue
            of_organization = ""
            if len(all_decided) > 1:
                of_organization = f" of {decided.organization.name or decided.id}"
            for project in decided.scope.excluded:
                yield f"{project.name}{of_organization}"


async def read_pending(command: Command, session: Session) -> Pending:
    """Read what a sweep reads; nothing is written.

    Raises:
        RunError: No organization could be read, or a stop was requested.
    """
    session.read_sound_history(command)
    async with connect(command, session.environment, session.log) as organizations:
        view = Progress(session.log, session.terminal)
        result = Result(command, organizations, view)
        try:
            result.decided = await session.stop.run_unless_stopped(read_and_decide(result, None))
        finally:
            view.close()
    errors = [decided.error for decided in result.decided if decided.error is not None]
    if errors and len(errors) == len(result.decided):
        raise errors[0]
    return Pending(result)

"""Reads who is invited or a member already, so that nobody is invited twice."""

from typing import NamedTuple

from invite_sweeper.atlas.answers import Answer, error_of
from invite_sweeper.atlas.operations import LIST_GROUP_PEOPLE, LIST_ORG_PEOPLE, Operation
from invite_sweeper.atlas.reader import PAGES_CAP, AtlasReader
from invite_sweeper.atlas.request import request_for
from invite_sweeper.atlas.target import UnsendableError
from invite_sweeper.atlas.transport import Transport
from invite_sweeper.atlas.verdicts import ends_run, in_words, refuses_credentials
from invite_sweeper.atlas.wire import Nonsense, parse_page
from invite_sweeper.inventory import Gone, Invitation, Project, Source, Unreadable
from invite_sweeper.matching import fold


class _People(NamedTuple):
    names: tuple[str, ...]
    has_next: bool


class AtlasRoll:
    """Reads, and can neither invite nor delete."""

    def __init__(self, transport: Transport, reader: AtlasReader) -> None:
        self._transport = transport
        self._reader = reader

    async def present(self, invitation: Invitation) -> frozenset[str] | Unreadable:
        """Give the addresses of all who are pending or active where it invites to.

        Folded, as `matching.fold` does. `Unreadable` where not everybody is known.

        Raises:
            RunError: The answer was about the run: credentials (where it is the first good one
                that is missing), access list, version.

        Source:
            `listGroupUsers` of the OpenAPI document: people invited by the older call are in
            the older list alone, so a project is asked for both.
        """
        if invitation.source.of_organization:
            return await self._people(LIST_ORG_PEOPLE, invitation.org_id, invitation)
        found = await self._people(LIST_GROUP_PEOPLE, invitation.project_id, invitation)
        if isinstance(found, Unreadable) or invitation.source is not Source.INVITES:
            return found
        project = Project(invitation.project_id, invitation.project_name, invitation.org_id)
        invited = await self._reader.invitations(project)
        if isinstance(invited, Gone):
            return Unreadable(project.id, project.name, "The project is no more.", 404)
        if not isinstance(invited, tuple):
            return invited
        return found | {fold(each.username) for each in invited if each.username}

    async def _people(
        self, operation: Operation, scope_id: str, invitation: Invitation
    ) -> frozenset[str] | Unreadable:
        names: set[str] = set()
        for number in range(1, PAGES_CAP + 1):
            page = await self._page(operation, scope_id, number, invitation)
            if isinstance(page, Unreadable):
                return page
            before = len(names)
            names.update(map(fold, page.names))
            if not page.has_next or len(names) == before:
                return frozenset(names)
        why = f"The list of people goes on after {PAGES_CAP} pages."
        return Unreadable(scope_id, invitation.project_name, why)

    async def _page(
        self, operation: Operation, scope_id: str, number: int, invitation: Invitation
    ) -> _People | Unreadable:
        def unreadable(why: str, status: int | None = None, code: str | None = None) -> Unreadable:
            return Unreadable(scope_id, invitation.project_name, why, status, code)

        try:
            request = request_for(
                operation, scope_id, scope_id=scope_id, page=number, read=_read_people
            )
        except UnsendableError:
            return unreadable("Its id has a wrong form.")
        result = await self._transport.call(request)
        if isinstance(result, Answer) and isinstance(result.value, _People):
            return result.value
        taken = self._transport.server.authenticated
        if about_run := ends_run(result) or (None if taken else refuses_credentials(result)):
            raise about_run
        words = in_words(result)
        told = f"{words[:1].upper()}{words[1:]}."
        if isinstance(result, Answer):
            return unreadable(told, result.status, error_of(result).code)
        return unreadable(told, result.http_status)


def _read_people(body: bytes) -> _People:
    page = parse_page(body)
    names = [person.get("username") for person in page.results]
    known = tuple(name for name in names if isinstance(name, str))
    if len(known) != len(names):
        message = "a person without an address"
        raise Nonsense(message)
    return _People(known, page.has_next)

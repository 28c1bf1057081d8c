"""Lists of Atlas: all pages of one, and the four lists that contain invited users, as one table."""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import (
    ADD_GROUP_USER,
    ADD_ORG_USER,
    CREATE_GROUP_INVITE,
    DELETE_GROUP_INVITE,
    DELETE_ORG_INVITE,
    GET_GROUP_USER,
    GET_ORG_USER,
    LIST_GROUP_INVITES,
    LIST_GROUP_USERS,
    LIST_ORG_INVITES,
    LIST_ORG_USERS,
    REMOVE_GROUP_USER,
    REMOVE_ORG_USER,
    Endpoint,
)
from invite_sweeper.atlas.responses import (
    InvalidResponse,
    ListIncomplete,
    Response,
    ResponseOrFailure,
)
from invite_sweeper.atlas.rows import (
    GroupInvitationRow,
    GroupUserRow,
    OrgInvitationRow,
    OrgUserRow,
    Page,
    parse_object,
    parse_page,
    parse_rows,
)
from invite_sweeper.models import Invitation, Project, Source

MAX_PAGES: Final = 10_000
T = TypeVar("T")


class Listing(NamedTuple, Generic[T]):
    """The rows of a list, as far as it could be read.

    Attributes:
        rows: In Atlas's order; a row may be repeated.
        pages: Pages that were read.
        failure: Why the list may be incomplete; None if it was read to the end.
    """

    rows: list[T]
    pages: int
    failure: ResponseOrFailure | None = None


async def read_list(
    client: Client,
    endpoint: Endpoint,
    *ids: str,
    parse: Callable[[bytes], Page[T]],
    key: Callable[[T], Hashable],
    since: datetime | None = None,
) -> Listing[T]:
    """Read all pages of a list, by number: a link could point to another host.

    Only a missing `next` link ends the list. A page that names a next one and has no new row
    makes it incomplete. A list whose endpoint is not paged is read with one request.

    Args:
        client: Sends the requests.
        endpoint: Of the list.
        ids: For the path of the endpoint.
        parse: Parses one page.
        key: Tells rows apart.
        since: For an endpoint that takes a date.

    Raises:
        RunError: No access token is available.
    """
    rows: list[T] = []
    seen: set[Hashable] = set()
    for number in range(1, MAX_PAGES + 1):
        page = number if endpoint.paged else None
        result = await client.call(endpoint, *ids, page=page, since=since, parse=parse)
        if not (isinstance(result, Response) and isinstance(result.value, Page)):
            return Listing(rows, number - 1, result)
        before = len(seen)
        rows += result.value.rows
        seen.update(map(key, result.value.rows))
        if not result.value.has_next:
            return Listing(rows, number)
        if len(seen) == before:
            reason = (
                f"page {number} has no new entry and names a next page, so the list may not be "
                "complete"
            )
            return Listing(rows, number, ListIncomplete(reason))
    reason = f"the list has more than {MAX_PAGES} pages"
    return Listing(rows, MAX_PAGES, ListIncomplete(reason))


class SourceApi(NamedTuple):
    """The API calls of one source.

    Attributes:
        list: Takes one id, of the project or organization.
        delete: Takes that id and the invitation's.
        row: Of `list`, and the response of `read_user`.
        invite: Invites a user again; `org_invites` uses the call that replaces its own.
        read_user: Reads one user just before the deletion; takes the same ids as `delete`. None
            if `delete` cannot affect an accepted invitation.
    """

    list: Endpoint
    delete: Endpoint
    row: type[GroupInvitationRow | GroupUserRow | OrgInvitationRow | OrgUserRow]
    invite: Endpoint
    read_user: Endpoint | None = None

    def parse(self, body: bytes, place: Project) -> Page[Invitation]:
        """Parse a response to `list`.

        Raises:
            InvalidResponse: It is not as documented, belongs to another place, or lists an id
                twice with different contents though it has no pages.
        """
        if self.list.paged:
            page = parse_page(body, self.row)
            return Page([row.invitation(place) for row in page.rows], page.has_next)
        rows = parse_rows(parse_object(body, list[object]), self.row)
        invitations = [row.invitation(place) for row in rows]
        by_id: dict[str, Invitation] = {}
        if any(each.id and by_id.setdefault(each.id, each) != each for each in invitations):
            raise InvalidResponse("an id is listed twice with different contents")
        return Page(invitations)

    def parse_one(self, body: bytes, place: Project) -> Invitation:
        """Parse a response to `read_user`, which is a row of the list.

        Raises:
            InvalidResponse: It is not as documented.
        """
        return parse_object(body, self.row).invitation(place)


SOURCES: Final[Mapping[Source, SourceApi]] = MappingProxyType(
    {
        # Invitations API: the DELETE has no effect on an accepted invitation.
        Source.INVITES: SourceApi(
            LIST_GROUP_INVITES,
            DELETE_GROUP_INVITE,
            GroupInvitationRow,
            CREATE_GROUP_INVITE,
        ),
        Source.ORG_INVITES: SourceApi(
            LIST_ORG_INVITES,
            DELETE_ORG_INVITE,
            OrgInvitationRow,
            ADD_ORG_USER,
        ),
        # Users API, also with invitations created in the web interface: the DELETE removes the
        # user from the project, or from the organization and all its projects, in any status.
        Source.USERS: SourceApi(
            LIST_GROUP_USERS,
            REMOVE_GROUP_USER,
            GroupUserRow,
            ADD_GROUP_USER,
            GET_GROUP_USER,
        ),
        Source.ORG_USERS: SourceApi(
            LIST_ORG_USERS,
            REMOVE_ORG_USER,
            OrgUserRow,
            ADD_ORG_USER,
            GET_ORG_USER,
        ),
    }
)
"""No other list can be read or deleted from."""

"""Lists of Atlas: their rows, and all pages of one, read until two readings show the same.

A row is lenient where Atlas may vary (unknown keys, missing fields, unusual dates), strict where a
mistake could lose an invitation: a value of another type makes the response invalid.

Each page is a call of the client, which sends it again where the answer is late, lost or not as
documented. A page that fails then fails its whole list, and so does one that shows that entries may
be missing: `reader` returns it as a ListUnreadable, without an entry. A row that is not as
documented is named.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache, partial
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar, cast

import msgspec
from msgspec import structs

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.endpoints import Endpoint, InvalidRequest
from invite_sweeper.atlas.http import Request
from invite_sweeper.atlas.responses import (
    InvalidResponse,
    ListChanged,
    ListIncomplete,
    RequestFailed,
    Response,
    ResponseOrFailure,
    UnexpectedContent,
)
from invite_sweeper.json_text import parse_timestamp, rfc3339
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    Invitation,
    ListUnreadable,
    MembershipStatus,
    Project,
    Source,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import ATLAS_ID, casefold_visible, is_atlas_id, visible_name

_MAX_RAW_LENGTH: Final = 200
AtlasRow = TypeVar("AtlasRow")
RowId = Annotated[str, msgspec.Meta(pattern=rf"\A{ATLAS_ID}\Z")]
NonEmptyText = Annotated[str, msgspec.Meta(min_length=1)]


def parse_object(body: bytes, row_type: type[AtlasRow]) -> AtlasRow:
    """Return the body of a response as a struct, or another type that msgspec decodes.

    Raises:
        UnexpectedContent: A field that is needed is missing, or a value has another type.
        InvalidResponse: It is not JSON.
    """
    try:
        row: AtlasRow = _decoder(cast("Hashable", row_type)).decode(body)
    except msgspec.ValidationError as error:
        raise UnexpectedContent(f"not as documented: {error}") from None
    except (ValueError, RecursionError):
        raise InvalidResponse("the body is not JSON") from None
    return row


@lru_cache(maxsize=64)
def _decoder(row_type: Hashable) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type; making one takes longer than decoding a short list."""
    return msgspec.json.Decoder(row_type)


def _normalized_date(value: str | None) -> str | None:
    """Return a date as RFC 3339 in UTC; as Atlas sent it if it cannot be read.

    Source: all 4,342 dates of the recordings (read 2026-08) are in that form already.
    """
    if value is None:
        return None
    # A longer text is not a date, and the cache of dates would keep it.
    moment = parse_timestamp(value) if len(value) <= _MAX_RAW_LENGTH else None
    if moment is None:
        return shortened(value)
    return _shared_date(moment)


@lru_cache(maxsize=1024)
def _shared(value: AtlasRow) -> AtlasRow:
    """Return an equal value: most invitations of a run have the roles of others."""
    return value


_shared_date: Final = lru_cache(maxsize=1024)(rfc3339)
"""Many invitations are sent together, or expire together."""
_visible_inviter: Final = lru_cache(maxsize=1024)(visible_name)
"""Of few people, who sent most invitations of a run."""


def shortened(value: str) -> str:
    """Return the start of a text; of a secret that is cut, the rest would not be found."""
    return SECRETS.redact(value)[:_MAX_RAW_LENGTH]


class AtlasObject(msgspec.Struct, rename="camel", gc=False):
    """An object of Atlas: its keys are in camel case, and unknown ones are ignored."""


class Assignment(AtlasObject):
    """Roles in a project. Invitations have one string `groupRole`, users an array `groupRoles`."""

    group_id: str | None = None
    group_role: str | None = None
    group_roles: tuple[str, ...] | None = None


Assignments: TypeAlias = tuple[Assignment, ...]


class OrganizationRoles(AtlasObject):
    """The roles of a user of an organization."""

    org_roles: tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None


class InvitedRow(AtlasObject):
    """A row of one of the four lists, or one user. No field is required: selection keeps such rows.

    `GroupInvitation`, `OrganizationInvitation`, `GroupUserResponse` and `OrgUserResponse` of the
    OpenAPI document. Only a user of an organization has an object as roles.

    Source:
        The recordings (read 2026-08): `inviterUsername` is often an API key's public key.
    """

    id: str | None = None
    username: str | None = None
    inviter_username: str | None = None
    created_at: str | None = None
    expires_at: str | None = None
    invitation_created_at: str | None = None
    invitation_expires_at: str | None = None
    group_id: str | None = None
    org_id: str | None = None
    org_membership_status: str | None = None
    roles: OrganizationRoles | tuple[str, ...] | None = None
    group_role_assignments: Assignments | None = None
    team_ids: tuple[str, ...] | None = None

    def invitation(self, place: Project, source: Source) -> Invitation:
        """Return the invitation, or the user in any status.

        Args:
            place: The project or organization that was requested. Its id and name are used
                instead of those in the response, so that a deletion always goes to the place that
                was listed.
            source: The list that has the row.

        Raises:
            UnexpectedContent: It belongs to another place, or its roles have the form of another
                list. Without roles, the projects of an organization's user would be unknown.
        """
        of_org = source.is_organization_level
        of_users = source in SOURCES_OF_USERS
        shown_place = self.org_id if of_org else self.group_id
        if shown_place is not None and shown_place != place.id:
            what = "organization" if of_org else "project"
            raise UnexpectedContent(f"it is an invitation to another {what}")
        if isinstance(self.roles, OrganizationRoles):
            is_organization_user = True
            roles = self.roles.org_roles
            assignments = self.roles.group_role_assignments
        else:
            is_organization_user = False
            roles = self.roles
            assignments = self.group_role_assignments
        if is_organization_user != (of_org and of_users):
            raise UnexpectedContent("its roles are not as documented")
        created_at = self.created_at
        expires_at = self.expires_at
        status: str | None = MembershipStatus.PENDING
        if of_users:
            created_at = self.invitation_created_at
            expires_at = self.invitation_expires_at
            # PENDING stays the object that is the default: msgspec writes an equal text in each
            # line of the log, and leaves the default out.
            if self.org_membership_status != MembershipStatus.PENDING:
                status = self.org_membership_status
        invitation = Invitation(
            invitation_id=self.id or "",
            project_id=None if of_org else place.id,
            project_name=None if of_org else place.name,
            org_id=place.org_id,
            username=visible_name(self.username),
            roles=_shared(roles or ()),
            inviter=_visible_inviter(self.inviter_username),
            created_at=_normalized_date(created_at),
            expires_at=_normalized_date(expires_at),
            age_days=None,
            source=source,
            status=status,
        )
        if not of_org:
            return invitation
        return _with_teams_and_projects(invitation, assignments, self.team_ids)


def _with_teams_and_projects(
    invitation: Invitation, assignments: Assignments | None, team_ids: tuple[str, ...] | None
) -> Invitation:
    """Return an invitation to an organization with its teams and its roles in projects.

    These decide whether it may be deleted: where the row does not name all of them,
    `links_out_of_scope` is set.

    Source: the recordings (read 2026-08): both arrays are in every row, also when empty.
    """
    project_roles: list[tuple[str, str]] = []
    for assignment in assignments or ():
        group_id = assignment.group_id or ""
        if assignment.group_role:
            roles: tuple[str, ...] = (assignment.group_role,)
        else:  # of an assignment without roles, the project counts all the same
            roles = assignment.group_roles or ("",)
        project_roles.extend((group_id, role) for role in roles)
    # Each project once, in Atlas's order.
    linked_ids = dict.fromkeys(group_id for group_id, _role in project_roles)
    are_projects_named = assignments is not None
    are_teams_named = team_ids is not None and all(map(is_atlas_id, team_ids))
    return structs.replace(
        invitation,
        team_ids=team_ids or (),
        project_roles=tuple(project_roles),
        linked_projects=tuple((group_id, "") for group_id in linked_ids),
        links_out_of_scope=not (are_projects_named and are_teams_named),
    )


class _Tag(AtlasObject):
    key: str
    value: str


class ProjectRow(AtlasObject):
    """A result of `GET /groups`: of `Group`, `name` and `orgId` are required, `id` is not."""

    name: NonEmptyText
    org_id: NonEmptyText
    id: str | None = None
    tags: tuple[_Tag, ...] | None = None

    def project(self) -> Project | ListUnreadable:
        """Return the project; ListUnreadable if its id is malformed."""
        group_id = self.id or ""
        if not is_atlas_id(group_id):
            return ListUnreadable(shortened(group_id), self.name, "The project id is malformed.")
        tags = tuple((tag.key, tag.value) for tag in self.tags or ())
        return Project(group_id, self.name, _shared(self.org_id), tags)


class MemberRow(AtlasObject):
    """A user of a project or organization.

    Attributes:
        username: Folded (`casefold_visible`).
    """

    username: str
    org_membership_status: str | None = None

    def __post_init__(self) -> None:
        self.username = casefold_visible(visible_name(self.username) or "")
        if not self.username:
            raise ValueError("a user has no username")

    @property
    def is_active(self) -> bool:
        """Whether the user is a member, and not only invited."""
        return self.org_membership_status == MembershipStatus.ACTIVE


Item = TypeVar("Item")


class _Link(AtlasObject):
    rel: str | None = None


class ListPage(AtlasObject, Generic[AtlasRow]):
    """One page of a list.

    Attributes:
        results: In Atlas's order. There may be fewer than the page size, or none, even if there
            is a next page.
        links: To other pages. They are never followed: one could lead to another host.
        total_count: The entries of the whole list, by Atlas's count; it is left out of most.
    """

    results: list[AtlasRow]
    links: list[_Link] | None = None
    total_count: int | None = None

    @property
    def has_next(self) -> bool:
        """Whether Atlas links to a next page.

        Source: the recordings (read 2026-08): only a missing `next` link marks the last page;
            `totalCount` can be too high, and short pages can have a `next` link.
        """
        return any(link.rel == "next" for link in self.links or ())


def _parse_page(
    body: bytes, row_type: type[AtlasRow], make: Callable[[AtlasRow], Item], *, paged: bool
) -> ListPage[Item]:
    """Return one page with the entries that are made of its rows.

    Raises:
        InvalidResponse: As `parse_object`; where it is about one row, the message names it.
    """
    # `row_type` is a value: mypy does not allow a variable in a type.
    try:
        if paged:
            page: ListPage[AtlasRow] = parse_object(body, ListPage[row_type])  # type: ignore[valid-type]
        else:
            page = ListPage(parse_object(body, list[row_type]))  # type: ignore[valid-type]
    except UnexpectedContent:
        _check_rows(body, row_type, paged=paged)
        raise  # no row is wrong: it is about the page
    entries: list[Item] = []
    for number, row in enumerate(page.results, start=1):
        try:
            entries.append(make(row))
        except UnexpectedContent as error:
            raise _row_error(msgspec.json.encode(row), number, str(error)) from None
    return ListPage(entries, page.links, page.total_count)


def _check_rows(body: bytes, row_type: type[AtlasRow], *, paged: bool) -> None:
    """Raise UnexpectedContent for the first row that is not as documented, if one is not."""
    if paged:
        rows = parse_object(body, ListPage[msgspec.Raw]).results
    else:
        rows = parse_object(body, list[msgspec.Raw])
    for number, raw in enumerate(rows, start=1):
        row = bytes(raw)
        try:
            parse_object(row, row_type)
        except UnexpectedContent as error:
            raise _row_error(row, number, f"it is {error}") from None


def _row_error(row: bytes, number: int, what: str) -> UnexpectedContent:
    """Return the error about a row: with its id, without one its username, or its number.

    The id is preferred: messages without details name no person.
    """
    try:
        fields = parse_object(row, dict[str, object])
    except InvalidResponse:  # not an object, or with a value that nothing can read
        fields = {}
    row_id = fields.get("id")
    username = fields.get("username")
    if isinstance(row_id, str) and is_atlas_id(row_id):
        name = f"with the id {row_id}"
    elif isinstance(username, str) and username:
        name = f"of {shortened(username)}"
    else:
        name = f"number {number}"
    return UnexpectedContent(f"the entry {name}: {what}", of_entry=True)


class Listing(msgspec.Struct, Generic[Item], frozen=True):
    """The entries of a list, as far as it could be read.

    Attributes:
        rows: Each once, in Atlas's order.
        pages: Pages that were read.
        failure: Why the list may be incomplete; None if it was read to the end.
        counted: How many entries Atlas counted on the last page; 0 where it does not say.
    """

    rows: tuple[Item, ...]
    pages: int
    failure: ResponseOrFailure | None = None
    counted: int = 0


MAX_READINGS: Final = 5
"""A list of several pages that changes in each of so many readings is not known to be complete."""


async def read_list(
    client: Client,
    endpoint: Endpoint,
    *ids: str,
    row: type[AtlasRow],
    make: Callable[[AtlasRow], Item],
    key: Callable[[Item], Hashable],
    username: str | None = None,
    twice: bool = False,
) -> Listing[Item]:
    """Read a list to its end, and again until two readings in a row show the same.

    Atlas pages by offset: when an entry leaves the list between two pages, the next one moves to
    a page that was read already, and is not shown. One page is a list as it was at one instant.

    Args:
        client: Sends the requests; it checks endpoint, ids, date and name.
        row: The type of its rows.
        make: Makes an entry of a row; may raise UnexpectedContent.
        key: Identifies an entry.
        username: An argument of `build_path`.
        twice: Two readings must show the same also where the list has one page.

    Returns:
        The entries of the last reading. With a `failure` they may not be all: a list that cannot
        be read is a value, and is not raised.
    """
    parse = partial(_parse_page, row_type=row, make=make, paged=endpoint.paged)
    page_request = partial(client.request, endpoint, *ids, username=username, parse=parse)
    read_once = partial(_read_once, client, page_request, key, paged=endpoint.paged)
    listing: Listing[Item] = Listing((), pages=0)
    hashes_before: list[int] | None = None
    for _ in range(MAX_READINGS):
        pages_before = listing.pages
        listing = structs.replace(listing, rows=())  # memory holds the entries of one reading alone
        listing = await read_once()
        if listing.failure is not None:
            return structs.replace(listing, pages=pages_before + listing.pages)
        if listing.pages == 1 and not twice:
            return listing
        hashes = _hash_entries(listing)
        if hashes == hashes_before:
            return listing
        hashes_before = hashes
    return structs.replace(listing, failure=ListChanged("the list changed while it was read"))


def _hash_entries(listing: Listing[Item]) -> list[int]:
    """Return what is equal for two readings that show the same entries, in any order."""
    # The hashes of their texts: entries can be of any type, and not each one can be sorted.
    return sorted(hash(repr(entry)) for entry in listing.rows)


async def _read_once(
    client: Client,
    page_request: Callable[..., Request],
    key: Callable[[Item], Hashable],
    *,
    paged: bool,
) -> Listing[Item]:
    """Read all pages of a list, by number; one that is not paged with one request.

    Only a missing `next` link ends the list. A page that names a next one and has no new entry
    makes it incomplete, and so does an entry that is listed again with other contents.

    Args:
        page_request: Returns the request for the page of a number; may raise InvalidRequest.
        key: Identifies an entry.
    """
    entries: dict[Hashable, Item] = {}
    pages = 0
    counted = 0
    failure: ResponseOrFailure | None = None
    has_next = True
    while has_next and failure is None:
        number = pages + 1 if paged else None
        try:
            request = page_request(page=number)
        except InvalidRequest as error:
            failure = RequestFailed(str(error), retryable=False)
            break
        result = await client.call(request)
        page = result.value if isinstance(result, Response) else None
        if not isinstance(page, ListPage):
            failure = result
            break
        pages += 1
        known = len(entries)
        for entry in page.results:
            listed = entries.setdefault(key(entry), entry)
            if listed is not entry and listed != entry:
                failure = ListIncomplete("an entry is listed twice with different contents")
        has_next = page.has_next
        counted = page.total_count or 0
        has_new = len(entries) > known
        if has_next and not has_new and failure is None:
            failure = ListIncomplete(
                f"page {pages} has no new entry and names a next page, so the list may not be "
                "complete"
            )
    return Listing(tuple(entries.values()), pages, failure, counted)

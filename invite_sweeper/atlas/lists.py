"""Lists of Atlas: all pages of one, read to the end, and again until they show the same.

Each page is a call of the client, which sends it again where the answer is late, lost or not as
documented. A page that fails then fails its whole list, and so does one that shows that entries may
be missing: `reader` returns it as a ListUnreadable, without an entry. A row that is not as
documented is named.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

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
from invite_sweeper.atlas.rows import AtlasObject, AtlasRow, parse_object, shortened
from invite_sweeper.names import is_atlas_id

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


class Listing(NamedTuple, Generic[Item]):
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
        listing = listing._replace(rows=())  # memory holds the entries of one reading alone
        listing = await read_once()
        if listing.failure is not None:
            return listing._replace(pages=pages_before + listing.pages)
        if listing.pages == 1 and not twice:
            return listing
        hashes = _hash_entries(listing)
        if hashes == hashes_before:
            return listing
        hashes_before = hashes
    return listing._replace(failure=ListChanged("the list changed while it was read"))


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

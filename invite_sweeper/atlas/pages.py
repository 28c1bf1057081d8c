"""Reads a list page by page, to its end or to the reason why it may be incomplete."""

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from invite_sweeper.atlas.endpoints import Endpoint, build_request
from invite_sweeper.atlas.parsing import Page
from invite_sweeper.atlas.responses import ListIncomplete, Response, ResponseOrFailure
from invite_sweeper.atlas.transport import Transport

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
    transport: Transport,
    endpoint: Endpoint,
    *ids: str,
    scope_id: str,
    parse: Callable[[bytes], Page[T]],
    key: Callable[[T], Hashable],
    since: datetime | None = None,
) -> Listing[T]:
    """Read all pages of a list, by number: a link could point to another host.

    Only a missing `next` link ends the list. A page that names a next one and has no new row
    makes it incomplete. A list whose endpoint is not paged is read with one request.

    Args:
        ids: For the path of the endpoint.
        scope_id: Of the rate limit.
        parse: Parses one page.
        key: Tells rows apart.
        since: For an endpoint that takes a date.

    Raises:
        RunError: No access token is available.
    """
    rows: list[T] = []
    seen: set[Hashable] = set()
    for number in range(1, MAX_PAGES + 1):
        request = build_request(
            endpoint,
            *ids,
            scope_id=scope_id,
            page=number if endpoint.paged else None,
            since=since,
            parse=parse,
        )
        result = await transport.send(request)
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

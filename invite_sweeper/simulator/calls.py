"""Endpoints, the calls they handle, and the pages of lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qs

from invite_sweeper.simulator.auth import Access, Account
from invite_sweeper.simulator.responses import Json, Rejected, SimulatedResponse, api_error, to_json
from invite_sweeper.simulator.throttling import EndpointSet
from invite_sweeper.simulator.versions import V2023, media_type

if TYPE_CHECKING:
    from invite_sweeper.simulator.state import SimulatedAtlas


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request.

    Attributes:
        scope_id: The project or organization in the path; empty if it has none.
        item_id: The invitation, user or endpoint set in the path; empty if it has none.
        version: The API version of the response.
        base_url: The server's URL, without a trailing slash.
        endpoints: The table of all endpoints.
    """

    sim: "SimulatedAtlas"
    account: Account
    path: str
    query: str
    body: bytes
    scope_id: str
    item_id: str
    version: str
    base_url: str
    client_ip: str
    endpoints: Sequence["Endpoint"]

    def url(self) -> str:
        """Return the URL of this resource as used in links."""
        return (self.sim.paging.link_host or self.base_url) + self.path

    def resource_url(self, collection: str, own_id: str) -> str:
        """Return the URL of a project or organization as used in links."""
        host = self.sim.paging.link_host or self.base_url
        return f"{host}/api/atlas/v2/{collection}/{own_id}"

    def raw_response(self, body: bytes, status: int = 200) -> SimulatedResponse:
        """Return a response with the version's media type."""
        return SimulatedResponse(status, body, media_type(self.version))

    def json_response(self, document: Json, status: int = 200) -> SimulatedResponse:
        """Return a JSON response with the version's media type."""
        return self.raw_response(to_json(document), status)


Handler: TypeAlias = Callable[[Call], SimulatedResponse]


class Family(NamedTuple):
    """Endpoints that one resource of Atlas serves, with the token buckets that they share.

    Attributes:
        name: Its name in the settings of `VersionResolver`.
        resource: The first part of the `X-Java-Method` header.
        versions: Oldest first.
    """

    name: str
    resource: str
    endpoint_set: EndpointSet
    versions: tuple[str, ...] = (V2023,)


class Endpoint(NamedTuple):
    """One method of one path.

    Attributes:
        template: The path below `/api/atlas/v2`, with its parameters in braces.
        access: The least access to the project or organization in the path.
        java_method: The last part of the `X-Java-Method` header.
        versions: Where they are not those of the family.
    """

    method: str
    template: str
    access: Access
    handler: Handler
    family: Family
    java_method: str
    versions: tuple[str, ...] = ()


@dataclass(slots=True)
class PagingQuirks:
    """Irregularities in the pages of a list; none by default.

    Attributes:
        extra_count: Added to `totalCount`.
        page_size: Maximum items in a page, below the requested number: a short page with a
            `next` link. None for no limit.
        repeated_items: Number of last items of a page that the next page repeats.
        endless: Every page is the first one and has a `next` link.
        unsorted: Projects are listed in creation order, not by name.
        link_host: Host in links; None for the server's own.
    """

    extra_count: int = 0
    page_size: int | None = None
    repeated_items: int = 0
    endless: bool = False
    unsorted: bool = False
    link_host: str | None = None


_NO_QUIRKS: Final = PagingQuirks()
_Item = TypeVar("_Item")
_DEFAULT_PAGE_SIZE: Final = 100
_MAX_PAGE_SIZE: Final = 500


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The paging parameters of a request."""

    number: int = 1
    size: int = _DEFAULT_PAGE_SIZE
    include_count: bool = True
    other_parameters: dict[str, list[str]] = field(default_factory=dict)


def invalid_parameter(name: str) -> Rejected:
    """Return the 400 for an invalid query parameter."""
    detail = f"An invalid value was specified for the query parameter {name}."
    return Rejected(api_error(400, "INVALID_QUERY_PARAMETER", detail, name))


def parse_page_query(query: str) -> PageQuery:
    """Parse `pageNum`, `itemsPerPage` and `includeCount`; raise Rejected if one is invalid.

    Source: bounds from the OpenAPI document; the error code from the list of errors.
    """
    parameters = parse_qs(query, keep_blank_values=True)
    numbers = {}
    for name, default, max_value in (
        ("pageNum", 1, 1 << 31),
        ("itemsPerPage", _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE),
    ):
        text = parameters.pop(name, [str(default)])[0]
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= max_value:
            raise invalid_parameter(name)
        numbers[name] = int(text)
    count = parameters.pop("includeCount", ["true"])[0] != "false"
    return PageQuery(numbers["pageNum"], numbers["itemsPerPage"], count, parameters)


def render_page(
    call: Call,
    items: Sequence[_Item],
    render: Callable[[_Item], bytes | None],
    page_query: PageQuery,
    quirks: PagingQuirks | None = None,
    extra_query: str = "",
) -> SimulatedResponse:
    """Render one page of `items`.

    An item rendered as None takes a place and is counted, but is not listed. `extra_query` is
    put before the paging parameters of the links, such as `name=&`.

    Source: the order of keys and of the links' parameters is that of the recordings.
    """
    applied_quirks = quirks or _NO_QUIRKS
    size = min(page_query.size, applied_quirks.page_size or page_query.size)
    number = 1 if applied_quirks.endless else page_query.number
    first = (number - 1) * size
    start = max(0, first - applied_quirks.repeated_items) if number > 1 else first
    rendered = (render(item) for item in items[start : first + size])
    shown = b",".join(item for item in rendered if item is not None)
    has_next = applied_quirks.endless or len(items) > first + size
    links = _links(page_query, call.url().rstrip("/"), extra_query, has_next=has_next)
    total = len(items) + applied_quirks.extra_count
    tail = b',"totalCount":%d}' % total if page_query.include_count else b"}"
    return call.raw_response(b'{"links":%b,"results":[%b]%b' % (to_json(links), shown, tail))


def _links(page_query: PageQuery, url: str, extra_query: str, *, has_next: bool) -> Json:
    count = "true" if page_query.include_count else "false"
    start = f"{url}?includeCount={count}&{extra_query}"

    def page_url(number: int) -> str:
        return f"{start}itemsPerPage={page_query.size}&pageNum={number}"

    own = f"{start}pageNum={page_query.number}&itemsPerPage={page_query.size}"
    links = [{"href": own, "rel": "self"}]
    if page_query.number > 1:
        links.append({"href": page_url(page_query.number - 1), "rel": "previous"})
    if has_next:
        links.append({"href": page_url(page_query.number + 1), "rel": "next"})
    return links

"""Operation, Call, pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import parse_qs

from invite_sweeper.simulator.auth import Access, Account
from invite_sweeper.simulator.data import Paging
from invite_sweeper.simulator.responses import Answer, Json, Retirement, dump, error
from invite_sweeper.simulator.throttling import EndpointSet

if TYPE_CHECKING:
    from invite_sweeper.simulator.state import SimulatedAtlas


# A request that has passed the door: what the operations see, and what an operation is.


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        scope_id: The project or organization in the path; empty where there is none.
        item_id: The invitation, user or endpoint set in the path; empty where there is none.
        version: The version that answers.
        base_url: The server's own address, without a slash at its end.
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

    def url(self) -> str:
        """This resource's address as links have it."""
        return (self.sim.paging.link_host or self.base_url) + self.path

    def raw(self, body: bytes, status: int = 200) -> Answer:
        """An answer in the version's media type."""
        return Answer(status, body, media_type(self.version))

    def json(self, document: Json, status: int = 200) -> Answer:
        """An answer in the version's media type."""
        return self.raw(dump(document), status)


Handler: TypeAlias = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does at one path.

    Attributes:
        family: Its name among the versions that are gone.
        java_method: As the `X-Java-Method` header names it.
        needs: The least access to the project or organization.
        versions: Oldest first.
        retirements: What the answers of a version say of its end, where they say anything.
    """

    handler: Handler
    family: str
    java_method: str
    endpoint_set: EndpointSet
    needs: Access
    versions: tuple[str, ...]
    retirements: Mapping[str, Retirement]


def media_type(version: str) -> str:
    """The media type of a version. Source: the recordings; no space before `charset`."""
    return f"application/vnd.atlas.{version}+json;charset=utf-8"


# Pages of a list, even or odd.


_Item = TypeVar("_Item")
_DEFAULT: Final = 100
_MAX: Final = 500


_EVEN: Final = Paging()


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What a request says of pages."""

    number: int = 1
    size: int = _DEFAULT
    count: bool = True
    rest: dict[str, list[str]] = field(default_factory=dict)


def page_query(query: str) -> PageQuery | Answer:
    """Read `pageNum`, `itemsPerPage` and `includeCount`, or say what is wrong with them.

    Source: bounds of the OpenAPI document; the code of the 400 from the list of errors.
    """
    rest = parse_qs(query, keep_blank_values=True)
    numbers = {}
    for name, default, most in (("pageNum", 1, 1 << 31), ("itemsPerPage", _DEFAULT, _MAX)):
        text = rest.pop(name, [str(default)])[0]
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
            detail = f"An invalid value was specified for the query parameter {name}."
            return error(400, "INVALID_QUERY_PARAMETER", detail, name)
        numbers[name] = int(text)
    count = rest.pop("includeCount", ["true"])[0] != "false"
    return PageQuery(numbers["pageNum"], numbers["itemsPerPage"], count, rest)


def page(
    call: Call,
    items: Sequence[_Item],
    render: Callable[[_Item], bytes | None],
    asked: PageQuery,
    oddities: Paging | None = None,
    names: str = "",
) -> Answer:
    """One page as Atlas writes it; only what is on it is rendered.

    An item rendered as None holds a place and is counted, but is not shown. `names` are
    query parameters that the links have before those of pages, as `name=&`.

    Source: order of keys and of the links' parameters as in the recordings.
    """
    odd = oddities or _EVEN
    size = min(asked.size, odd.page_size or asked.size)
    number = 1 if odd.loop else asked.number
    first = (number - 1) * size
    start = max(0, first - odd.repeats) if number > 1 else first
    rendered = (render(item) for item in items[start : first + size])
    shown = b",".join(item for item in rendered if item is not None)
    more = odd.loop or len(items) > first + size
    links = _links(asked, call.url().rstrip("/"), names, more=more)
    total = len(items) + odd.extra_count
    tail = b',"totalCount":%d}' % total if asked.count else b"}"
    return call.raw(b'{"links":%b,"results":[%b]%b' % (dump(links), shown, tail))


def _links(asked: PageQuery, url: str, names: str, *, more: bool) -> Json:
    count = "true" if asked.count else "false"
    start = f"{url}?includeCount={count}&{names}"

    def turn(number: int) -> str:
        return f"{start}itemsPerPage={asked.size}&pageNum={number}"

    own = f"{start}pageNum={asked.number}&itemsPerPage={asked.size}"
    links = [{"href": own, "rel": "self"}]
    if asked.number > 1:
        links.append({"href": turn(asked.number - 1), "rel": "previous"})
    if more:
        links.append({"href": turn(asked.number + 1), "rel": "next"})
    return links

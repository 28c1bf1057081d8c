"""Pages of a list, with the oddities that Atlas has been seen to have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qs

from .answers import Answer, error
from .calls import Call
from .json_types import Json, dump

_Item = TypeVar("_Item")
_DEFAULT: Final = 100
_MAX: Final = 500


@dataclass(slots=True)
class Paging:
    """What is odd about the pages of a list; by default nothing is.

    Attributes:
        extra_count: Added to `totalCount`.
        page_size: A page holds at most so many, whatever was asked for, and has a `next` where
            there is more: short pages that are not the last. None for no such bound.
        repeats: The last so many of a page come again on the next one.
        loop: Every page is the first one, and has a `next`.
        unsorted: Projects come in the order of their making, not by name.
        link_host: Links name this host instead of the server's own.
    """

    extra_count: int = 0
    page_size: int | None = None
    repeats: int = 0
    loop: bool = False
    unsorted: bool = False
    link_host: str | None = None


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

"""Pages of a list, even or odd."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qs

from invite_sweeper.simulator.answers import Answer, error
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.json_types import Json, dump
from invite_sweeper.simulator.oddities import Paging

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

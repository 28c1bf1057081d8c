"""A request from its arrival to its response, and the pages of lists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qs, unquote

from invite_sweeper.simulator.auth import Account
from invite_sweeper.simulator.responses import Json, Rejected, SimulatedResponse, api_error, to_json

if TYPE_CHECKING:
    from invite_sweeper.simulator.state import PagingQuirks, SimulatedAtlas

API_PREFIX: Final = "/api/atlas/v2"
_Item = TypeVar("_Item")


@dataclass(slots=True, eq=False)
class Call:
    """A request.

    Attributes:
        target: Path and query as sent.
        headers: A case-insensitive mapping.
        base_url: The server's URL, without a trailing slash.
        path: The target without its query.
        query: The values of each parameter.
        template: The path below `/api/atlas/v2` with `{}` for each id; empty if it is another.
        scope_id: The project or organization in the path; empty if it has none.
        item_id: The invitation or user in the path; empty if it has none.
        account: Whose it is, once it is authenticated.
        version: The API version of the response, once the endpoint is known.
    """

    sim: "SimulatedAtlas"
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    client_ip: str
    base_url: str
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)
    template: str = field(init=False, default="")
    scope_id: str = field(init=False, default="")
    item_id: str = field(init=False, default="")
    account: Account = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        """Parse the target.

        A trailing slash is ignored: `/groups/` is `/groups`.
        Source: recordings of `GET /groups/` and `DELETE /groups/`.
        """
        self.path, _, query = self.target.partition("?")
        self.query = parse_qs(query)
        start, _, resource = self.path.partition(f"{API_PREFIX}/")
        if not start:
            parts = resource.removesuffix("/").split("/")
            ids = [unquote(each) for each in parts[1::2]]
            parts[1::2] = ["{}"] * len(ids)
            self.template = "/" + "/".join(parts)
            self.scope_id, self.item_id = (*ids, "", "")[:2]

    def self_links(self, collection: str, own_id: str) -> Json:
        """Return the links of a project or organization."""
        return [{"href": f"{self.base_url}{API_PREFIX}/{collection}/{own_id}", "rel": "self"}]

    def raw_response(self, body: bytes, status: int = 200) -> SimulatedResponse:
        """Return a response with the version's media type.

        Source: the recordings; no space before `charset`.
        """
        media = f"application/vnd.atlas.{self.version}+json;charset=utf-8"
        return SimulatedResponse(status, body, media)

    def json_response(self, document: Json, status: int = 200) -> SimulatedResponse:
        """Return a JSON response with the version's media type."""
        return self.raw_response(to_json(document), status)

    def page_response(
        self,
        items: Sequence[_Item],
        document: Callable[[_Item], Json],
        quirks: "PagingQuirks | None" = None,
        extra_query: str = "",
    ) -> SimulatedResponse:
        """Return one page of `items`; its links repeat `extra_query`, such as `name=&`.

        Source: the recordings, in which the link to this page has another order of parameters.
        """
        number, asked = self._number("pageNum", 1, 1 << 31), self._number("itemsPerPage", 100, 500)
        size, start, endless = asked, (number - 1) * asked, False
        if quirks is not None:
            endless = quirks.endless
            size = min(asked, quirks.page_size or asked)
            start = 0 if endless else max(0, (number - 1) * size - quirks.repeated_items)
        end = size if endless else number * size
        count = self.query.get("includeCount", ["true"])[0]
        url = f"{self.base_url}{self.path.rstrip('/')}?includeCount={count}&{extra_query}"
        links = [{"href": f"{url}pageNum={number}&itemsPerPage={asked}", "rel": "self"}]
        others = {
            "previous": (number - 1, number > 1),
            "next": (number + 1, endless or end < len(items)),
        }
        links += [
            {"href": f"{url}itemsPerPage={asked}&pageNum={other}", "rel": rel}
            for rel, (other, exists) in others.items()
            if exists
        ]
        page: dict[str, Json] = {"links": links, "results": [*map(document, items[start:end])]}
        return self.json_response(page | ({} if count == "false" else {"totalCount": len(items)}))

    def _number(self, name: str, default: int, max_value: int) -> int:
        """Return a paging parameter. Source: bounds from the OpenAPI document."""
        text = self.query.get(name, [str(default)])[0]
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= max_value:
            raise invalid_parameter(name)
        return int(text)


def invalid_parameter(name: str) -> Rejected:
    """Return the 400 for an invalid query parameter; its code is from the list of errors."""
    detail = f"An invalid value was specified for the query parameter {name}."
    return Rejected(api_error(400, "INVALID_QUERY_PARAMETER", detail, name))

"""An operation: a request with valid credentials, executed on the simulated Atlas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from invite_sweeper.simulator.auth import Account
from invite_sweeper.simulator.responses import (
    Call,
    Json,
    SimulatedResponse,
    render_json,
)
from invite_sweeper.simulator.state import Group, SimulatedAtlas, SimulatedOrganization

_Item = TypeVar("_Item")


@dataclass(slots=True, eq=False)
class Operation:
    """What a handler is given.

    Attributes:
        account: Whose credentials the request has.
        version: The API version of the response.
        group: The project in the path; None if it has none.
        organization: That in the path, or of the project in the path. Not set for a list of what
            the account can see.
    """

    sim: SimulatedAtlas
    call: Call
    account: Account
    version: str
    group: Group | None = field(init=False, default=None)
    organization: SimulatedOrganization = field(init=False)

    def respond(self, document: Json | bytes, status: int = 200) -> SimulatedResponse:
        """Return a response with the version's media type; bytes are a rendered document.

        Source: the recordings; no space before `charset`.
        """
        body = document if isinstance(document, bytes) else render_json(document)
        media = f"application/vnd.atlas.{self.version}+json;charset=utf-8"
        return SimulatedResponse(status, body, media)

    def respond_with_page(
        self, items: Sequence[_Item], document: Callable[[_Item], Json]
    ) -> SimulatedResponse:
        """Return one page of `items`. Of its links, clients read whether there is a next page."""
        number = int(self.call.query.get("pageNum", ["1"])[0])
        size = int(self.call.query.get("itemsPerPage", ["100"])[0])
        end = number * size
        shown = items[end - size : end]
        results = [document(item) for item in shown]
        page: dict[str, Json] = {"results": results, "links": [], "totalCount": len(items)}
        if end < len(items):
            page["links"] = [{"href": f"{self.call.path}?pageNum={number + 1}", "rel": "next"}]
        return self.respond(page)

"""A request that has passed the door: what the operations see, and what an operation is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from invite_sweeper.simulator.accounts import Access, Account
from invite_sweeper.simulator.answers import Answer
from invite_sweeper.simulator.endpoint_sets import EndpointSet
from invite_sweeper.simulator.heads import Retirement
from invite_sweeper.simulator.json_types import Json, dump

if TYPE_CHECKING:
    from invite_sweeper.simulator.state import SimulatedAtlas


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

"""A request before it is sent; only what `operations` knows can become one."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from invite_sweeper.atlas.answers import Result
from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import Operation
from invite_sweeper.atlas.target import UnsendableError, is_sendable, target
from invite_sweeper.outcome import Trail


class Request(NamedTuple):
    """One request, before it is sent. A named tuple, as one is made for every request.

    Attributes:
        key: The bucket that it draws from.
        read: Makes a value of a 200's body or raises Nonsense, which is then tried again.
        trail: Told about what happens to it.
        body: JSON; None where there is none.
        part_of: The deletion that it is a step of, and is called off with.
        before_again: Asked before each further try; a result that it gives ends the request.
    """

    operation: Operation
    path: str
    key: BucketKey
    read: Callable[[bytes], object] | None = None
    trail: Trail | None = None
    body: bytes | None = None
    part_of: Trail | None = None
    before_again: Callable[[], Awaitable[Result | None]] | None = None

    @property
    def may_be_called_off(self) -> bool:
        """Whether somebody can say that nothing more may be sent for it."""
        return self.trail is not None or self.part_of is not None

    @property
    def owner(self) -> Trail | None:
        """The deletion that it is of; None where it is of none."""
        return self.trail or self.part_of

    def called_off(self) -> bool:
        """Tell whether nothing more may be sent for it."""
        owner = self.owner
        return owner is not None and owner.called_off


def request_for(
    operation: Operation,
    *ids: str,
    scope_id: str,
    page: int | None = None,
    read: Callable[[bytes], object] | None = None,
    trail: Trail | None = None,
    body: bytes | None = None,
) -> Request:
    """Make a request; nothing but `OPERATIONS` can be made.

    Raises:
        UnsendableError: As `target.target`.
    """
    path = target(operation, *ids, page=page)
    return Request(operation, path, BucketKey(operation.endpoint_set, scope_id), read, trail, body)


def raise_if_unsendable(request: Request) -> None:
    """Let only what `target.target` makes pass, whoever has made the request.

    Raises:
        UnsendableError: It is something else.
    """
    if not is_sendable(request.operation, request.path):
        raise UnsendableError(f"not a request of ours: {request.operation.method} {request.path}")

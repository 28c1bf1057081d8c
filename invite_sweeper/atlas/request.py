"""A request before it is sent; only what `operations` knows can become one."""

from collections.abc import Callable
from typing import NamedTuple

from invite_sweeper.atlas.operations import Operation, target
from invite_sweeper.atlas.ratelimit import BucketKey
from invite_sweeper.outcome import Trail


class Request(NamedTuple):
    """One request, before it is sent. A named tuple, as one is made for every request.

    Attributes:
        key: The bucket that it draws from.
        read: Makes a value of a 200's body or raises Nonsense, which is then tried again.
        trail: Told about what happens to it.
    """

    operation: Operation
    path: str
    key: BucketKey
    read: Callable[[bytes], object] | None = None
    trail: Trail | None = None

    def called_off(self) -> bool:
        """Tell whether nothing more may be sent for it."""
        return self.trail is not None and self.trail.called_off


def request_for(
    operation: Operation,
    *ids: str,
    scope_id: str,
    page: int | None = None,
    read: Callable[[bytes], object] | None = None,
    trail: Trail | None = None,
) -> Request:
    """Make a request; nothing but `OPERATIONS` can be made.

    Raises:
        UnsendableError: As `operations.target`.
    """
    path = target(operation, *ids, page=page)
    return Request(operation, path, BucketKey(operation.endpoint_set, scope_id), read, trail)

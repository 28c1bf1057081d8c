"""What one source asks of Atlas; each of the four fills this in, in a file of its own."""

from collections.abc import Callable
from typing import NamedTuple

from invite_sweeper.atlas.buckets import BucketKey
from invite_sweeper.atlas.operations import Operation
from invite_sweeper.inventory import Invitation, Project, Source


class Rows(NamedTuple):
    """One answer to the listing.

    Attributes:
        has_next: There is another page; never so for a list that is not paged.
    """

    invitations: tuple[Invitation, ...]
    has_next: bool = False


class Calls(NamedTuple):
    """One source's own calls, and how its answers are read.

    Attributes:
        listing: One id in its path: the project's or the organization's.
        deletion: That id and the invitation's.
        rows: Reads an answer to the listing; the project stands for an organization, too.
        turns: The turns at Atlas's buckets that one deletion takes, in their order, by the
            id in the path and the organization's.
        reading: Reads one user, just before the deletion; None where an accepted invitation
            cannot be hit. The two ids of the deletion.
    """

    source: Source
    listing: Operation
    deletion: Operation
    rows: Callable[[bytes, Project], Rows]
    turns: Callable[[str, str], tuple[BucketKey, ...]]
    reading: Operation | None = None

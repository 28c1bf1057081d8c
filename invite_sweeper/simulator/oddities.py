"""What has been seen to be odd about the pages of Atlas's lists."""

from dataclasses import dataclass


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

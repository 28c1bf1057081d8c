"""What the simulated Atlas has been asked and what it did."""

from collections import Counter, deque
from typing import Final, NamedTuple

from invite_sweeper.simulator.records import Removal

_KEPT: Final = 10_000


class Asked(NamedTuple):
    """One request and its answer.

    Attributes:
        path: As it was sent, with its query.
        status: 0 where the connection was reset or nothing was answered.
        at_s: Monotonic time of its arrival.
    """

    method: str
    path: str
    status: int
    at_s: float


class Journal:
    """Requests, newest last, and counters.

    Attributes:
        enabled: Whether requests are kept; counters always are.
        requests: The last 10,000.
        statuses: How often each status was answered; 0 for no answer.
        received: How often each method arrived, whatever came of it.
        deleted: Ids of invitations and users in the order in which they were deleted.
        removed: The users among them, with what they were.
        confirmed: Ids whose deletion was answered with 204.
        deletes_after_confirmation: Ids that were asked to be deleted after that, once a time.
    """

    def __init__(self) -> None:
        self.enabled = True
        self.requests: deque[Asked] = deque(maxlen=_KEPT)
        self.statuses: Counter[int] = Counter()
        self.received: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.removed: list[Removal] = []
        self.confirmed: set[str] = set()
        self.deletes_after_confirmation: list[str] = []

    def arrived(self, method: str, item_id: str) -> None:
        """A request has arrived; nothing is known of its answer."""
        self.received[method] += 1
        if method == "DELETE" and item_id in self.confirmed:
            self.deletes_after_confirmation.append(item_id)

    def answered(self, asked: Asked, item_id: str) -> None:
        """A request was answered."""
        self.statuses[asked.status] += 1
        if asked.method == "DELETE" and asked.status == 204:  # noqa: PLR2004 - No Content
            self.confirmed.add(item_id)
        if self.enabled:
            self.requests.append(asked)

"""One of several runs that divide the projects between them. Pure."""

import hashlib
from dataclasses import dataclass

from typing_extensions import override

from invite_sweeper.errors import UsageFault
from invite_sweeper.policy import Limits

MOST = 100
"""So many shards can share Atlas's smallest buckets (300, and 100 a minute), and each goes on."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, counted from 1.

    A project belongs to just one shard, whatever else there is: its id alone decides.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, *, completion_index: str | None = None) -> "Shard":
        """Read `I/N`, or `auto/N` where I is one above the index of an Indexed Job's pod.

        Raises:
            UsageFault: Not of that form, I is not from 1 to N, or there are too many.
        """
        first, slash, second = text.partition("/")
        if first == "auto" and completion_index is not None and completion_index.isdecimal():
            first = str(int(completion_index) + 1)
        whole = slash and all(part.isascii() and part.isdecimal() for part in (first, second))
        if not whole or not 1 <= int(first) <= int(second) <= MOST:
            raise UsageFault(
                f"--shard {text!r} is no shard.",
                hint=f"Write I/N with I from 1 to N and N up to {MOST}, as 2/3; or auto/N inside "
                "an Indexed Job, which reads JOB_COMPLETION_INDEX.",
            )
        return cls(int(first), int(second))

    def holds(self, project_id: str) -> bool:
        """Tell whether the project belongs to this shard."""
        digest = hashlib.sha256(project_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def share_of(self, limits: Limits) -> Limits:
        """Give this shard's part of the run's limits; the parts add up to the whole.

        What counts within one project, or relative to what is seen, stays as it is.
        """
        return limits.model_copy(
            update={
                "max_deletions": self._part(limits.max_deletions),
                "max_unreadable_projects": self._part(limits.max_unreadable_projects),
            }
        )

    def _part(self, whole: int) -> int:
        return (whole + self.count - self.index) // self.count

    @override
    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

"""Checks after a sweep that the deleted invitations are gone from their lists."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from invite_sweeper.errors import Interrupted, RunError
from invite_sweeper.models import (
    DeletionResult,
    Invitation,
    ListRef,
    Outcome,
    PlannedDeletion,
    Project,
    Timestamp,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.discovery import ListReader

MAX_LISTS_VERIFIED: Final = 500
"""Lists that are read again. Atlas allows 250 projects in an organization by default."""
MAX_DELETIONS_VERIFIED: Final = 10_000
"""Deletions that are remembered, so that memory stays flat."""


class DeletionVerifier:
    """Reads each list again from which an invitation was deleted, once.

    A list that cannot be read again, or not before a stop, proves nothing about its deletions.

    Attributes:
        verified: Deletions whose invitation is no longer in its list, by organization id.
        still_there: Invitations that Atlas confirmed as deleted and that are in their list.
    """

    def __init__(self, reader: ListReader, stop: StopRequest) -> None:
        self._reader = reader
        self._stop = stop
        self._deleted: dict[ListRef, dict[str, Timestamp]] = {}
        self._recorded = 0
        self.verified: Counter[str] = Counter()
        self.still_there: list[Invitation] = []

    def record(self, planned: PlannedDeletion, result: DeletionResult) -> None:
        """Record the result of one deletion."""
        if result.outcome is not Outcome.DELETED or self._recorded >= MAX_DELETIONS_VERIFIED:
            return
        self._recorded += 1
        one = planned.invitation
        list_ref = ListRef(Project(one.project_id, one.project_name, one.org_id), one.source)
        self._deleted.setdefault(list_ref, {})[one.id] = one.created_at

    async def run(self, *, workers: int) -> None:
        """Read the lists again, until all are read or a stop is requested; nothing is raised.

        Args:
            workers: The number of lists to read at a time.
        """
        if self._stop.reason is None and self._deleted:
            with suppress(Interrupted):  # the rest is not verified
                await self._stop.run_unless_stopped(self._read_all(workers))

    async def _read_all(self, workers: int) -> None:
        pending = iter(list(self._deleted.items())[:MAX_LISTS_VERIFIED])
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(self._deleted))):
                group.create_task(self._work(pending))

    async def _work(self, pending: Iterator[tuple[ListRef, dict[str, Timestamp]]]) -> None:
        with suppress(RunError):  # Atlas or the credentials are gone: the rest is not verified
            for list_ref, deleted in pending:
                found = await self._reader.invitations(list_ref.project, list_ref.source)
                if isinstance(found, tuple):
                    self._compare(list_ref.project.org_id, deleted, found)

    def _compare(
        self, org_id: str, deleted: dict[str, Timestamp], found: tuple[Invitation, ...]
    ) -> None:
        # Another date is a new invitation: a user keeps the id when invited again.
        left = [one for one in found if one.id in deleted and deleted[one.id] == one.created_at]
        self.still_there += left
        self.verified[org_id] += len(deleted) - len(left)

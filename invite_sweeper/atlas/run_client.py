"""The client of one run: what reads, deletes and invites, and the limits that all clients share."""

import asyncio
from collections.abc import Container, Iterable
from functools import cached_property

from invite_sweeper import clock as run_clock
from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.models import InvitationKey, Source
from invite_sweeper.policy import Execution


class AtlasClient(Client):
    """The client of one run. Code that takes no deleter or inviter from it can only read."""

    @cached_property
    def reader(self) -> AtlasReader:
        """Reads projects, invitations and users."""
        return AtlasReader(self)

    def deleter(
        self, sources: Iterable[Source], absent: Container[InvitationKey] = ()
    ) -> AtlasDeleter:
        """Return a deleter for these lists only. A dry run never calls this.

        Args:
            absent: As in `AtlasDeleter`.
        """
        return AtlasDeleter(self, sources, absent)

    def inviter(self) -> AtlasInviter:
        """Return an inviter. Only `restore` calls this."""
        return AtlasInviter(self)


def open_limiter(execution: Execution) -> RateLimiter:
    """Return the rate limits of a run, which all its clients share."""
    return RateLimiter(
        run_clock.seconds,
        asyncio.sleep,
        reserve=execution.reserve,
        max_requests_per_second=execution.max_requests_per_second,
    )

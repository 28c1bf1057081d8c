"""The four lists in which Atlas keeps invited people; a file each for what differs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from invite_sweeper.atlas.sources import invites, org_invites, org_users, users
from invite_sweeper.atlas.sources.calls import Calls, Rows
from invite_sweeper.inventory import Source

SOURCES: Final[Mapping[Source, Calls]] = MappingProxyType(
    {each.CALLS.source: each.CALLS for each in (invites, users, org_users, org_invites)}
)
"""Nothing can be asked of, or deleted from, a list that is not here."""

__all__ = ["SOURCES", "Calls", "Rows"]

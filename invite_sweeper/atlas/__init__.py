"""Client of the MongoDB Atlas Administration API."""

from invite_sweeper.atlas.connection import RateLimitedAtlasClient, connect
from invite_sweeper.atlas.credentials import (
    ApiKey,
    BearerToken,
    Credentials,
    Secret,
    ServiceAccount,
    read_credentials,
)
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.http import parse_base_url
from invite_sweeper.atlas.inviter import AtlasInviter
from invite_sweeper.atlas.limits import RateLimiter
from invite_sweeper.atlas.reader import AtlasReader

__all__ = [
    "ApiKey",
    "AtlasDeleter",
    "AtlasInviter",
    "AtlasReader",
    "BearerToken",
    "Credentials",
    "RateLimitedAtlasClient",
    "RateLimiter",
    "Secret",
    "ServiceAccount",
    "connect",
    "parse_base_url",
    "read_credentials",
]

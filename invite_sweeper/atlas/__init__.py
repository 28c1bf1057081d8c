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
from invite_sweeper.atlas.limiter import RateLimiter
from invite_sweeper.atlas.limits import BucketKey
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.atlas.retry import RetryPolicy

__all__ = [
    "ApiKey",
    "AtlasDeleter",
    "AtlasInviter",
    "AtlasReader",
    "BearerToken",
    "BucketKey",
    "Credentials",
    "RateLimitedAtlasClient",
    "RateLimiter",
    "RetryPolicy",
    "Secret",
    "ServiceAccount",
    "connect",
    "parse_base_url",
    "read_credentials",
]

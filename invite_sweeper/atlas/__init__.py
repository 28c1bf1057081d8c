"""All that speaks to MongoDB Atlas, and nothing of sweeping."""

from invite_sweeper.atlas.client import AtlasClient, connect
from invite_sweeper.atlas.credentials import (
    ApiKey,
    BearerToken,
    Credentials,
    Secret,
    ServiceAccount,
    credentials_from,
)
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.atlas.http import parse_base_url
from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import BucketKey
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.atlas.retry import RetryPolicy

__all__ = [
    "ApiKey",
    "AtlasClient",
    "AtlasDeleter",
    "AtlasReader",
    "BearerToken",
    "BucketKey",
    "Credentials",
    "RateLimiter",
    "RetryPolicy",
    "Secret",
    "ServiceAccount",
    "connect",
    "credentials_from",
    "parse_base_url",
]

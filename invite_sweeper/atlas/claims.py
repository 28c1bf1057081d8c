"""What a ready token says of itself. Pure; nothing of it is believed but its end."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Final

import orjson

from invite_sweeper.atlas.identity import Secret

_PARTS: Final = 3


def ends_at(token: Secret) -> datetime | None:
    """Give the instant at which a token ends by its own word, aware UTC; None where it has none.

    Source: RFC 7519, 4.1.4: `exp`, in seconds since 1970, in the second part of the token.
    """
    parts = token.reveal().split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims: object = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (binascii.Error, ValueError):
        return None
    ends_s = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(ends_s, bool) or not isinstance(ends_s, int | float):
        return None
    try:
        return datetime.fromtimestamp(ends_s, UTC)
    except (OverflowError, OSError, ValueError):
        return None

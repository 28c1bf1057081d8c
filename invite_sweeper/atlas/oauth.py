"""The token endpoint: its paths and what it answers. Pure."""

from typing import Final, NamedTuple

import orjson

from invite_sweeper.atlas.identity import Secret

TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"

_LIFE_S: Final = 3600.0


class ToldToken(NamedTuple):
    """What the token endpoint gives: the token, and for how long it is good."""

    token: Secret
    life_s: float


def parse_token(body: bytes) -> ToldToken | None:
    """Read the answer of the token endpoint; None where it gives no bearer token.

    Source: https://www.mongodb.com/docs/atlas/api/api-authentication (read 2026-08).
    """
    try:
        loaded: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    told = loaded if isinstance(loaded, dict) else {}
    token, life_s = told.get("access_token"), told.get("expires_in")
    kind = told.get("token_type", "Bearer")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        return None
    if not token or " " in token or not isinstance(kind, str) or kind.lower() != "bearer":
        return None
    if not isinstance(life_s, int | float) or life_s <= 0:
        life_s = _LIFE_S
    return ToldToken(Secret(token), float(life_s))

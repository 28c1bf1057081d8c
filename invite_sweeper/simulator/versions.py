"""API versions: which one answers a request, and when it ends."""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from re import compile as pattern
from typing import Final

from invite_sweeper.simulator.responses import Rejected, Retirement, SimulatedResponse, api_error

V2023: Final = "2023-01-01"
V2024_SERVICE_ACCOUNTS: Final = "2024-08-05"
V2025_USERS: Final = "2025-02-19"
V2025_RATE_LIMITS: Final = "2025-03-12"

_SUNSET: Final = "Thu, 1 Jul 2027 00:00:00 GMT"
_ORG_INVITES: Final = Retirement("Wed, 19 Feb 2025 00:00:00 GMT", _SUNSET)
_RETIREMENTS: Final = {
    "invites": Retirement("Wed, 4 Oct 2023 00:00:00 GMT", _SUNSET),
    "org_invites": _ORG_INVITES,
    "users": _ORG_INVITES,
    "org_users": _ORG_INVITES,
}
"""Of version 2023-01-01, by family of endpoints. The day has no leading zero.

Source: recordings of 2026-08-10 for both lists of invitations. The OpenAPI document has the
sunset of the lists of users; their headers are assumed.
"""
_ACCEPT_PATTERN: Final = pattern(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json")


class VersionResolver:
    """Resolves a requested date to the newest version not after it.

    Attributes:
        exact_only: Accept only the exact date of a version, as documented.
        retired: Families of endpoints and versions that return a 410; `*` for all versions.
        sunsets: `Sunset` header by family, instead of the default.
    """

    def __init__(self) -> None:
        self.exact_only = False
        self.retired: set[tuple[str, str]] = set()
        self.sunsets: dict[str, str] = {}

    def resolve(self, accept: str, versions: Sequence[str], family: str, path: str) -> str:
        """Return the version to use; raise Rejected with a 406 or 410.

        Source: fact sheet, section 2. Clients may send dates between versions.
        """
        requested = _requested_version(accept)
        version = max((each for each in versions if each <= requested), default="")
        if not version or (self.exact_only and version != requested):
            raise Rejected(not_acceptable())
        if self.retired and ((family, version) in self.retired or (family, "*") in self.retired):
            resource = path.lstrip("/")
            detail = f"Version {version} of {resource} is no longer available."
            raise Rejected(api_error(410, "VERSION_GONE", detail, version, resource))
        return version

    def retirement(self, family: str, version: str) -> Retirement | None:
        """Return the headers of a version that ends; None for one that does not."""
        found = _RETIREMENTS.get(family) if version == V2023 else None
        sunset = self.sunsets.get(family)
        return found if found is None or sunset is None else found._replace(sunset=sunset)


def media_type(version: str) -> str:
    """Return the media type of a version. Source: the recordings; no space before `charset`."""
    return f"application/vnd.atlas.{version}+json;charset=utf-8"


def not_acceptable() -> SimulatedResponse:
    """Return a 406 for a bad `Accept` header. Source: quoted in the fact sheet, section 2."""
    return api_error(406, "INVALID_VERSION_DATE", "Invalid accept header or version date.")


@lru_cache(maxsize=256)
def _requested_version(accept: str) -> str:
    """Return the date in `Accept`, or an empty text, which sorts before all versions."""
    found = _ACCEPT_PATTERN.search(accept)
    if found is None:
        return ""
    try:
        return date.fromisoformat(found[1]).isoformat()
    except ValueError:
        return ""

"""Which version of an operation answers, as `Accept` asks for it."""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from re import compile as pattern
from typing import Final

from invite_sweeper.simulator.answers import Answer, error

_VERSIONED: Final = pattern(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json")


class Versions:
    """Resolves the asked date down to the newest version that is not after it.

    Attributes:
        exact: Whether only a version's own date is taken, as the documentation has it.
        gone: Family of operations and version that are no longer served; `*` for all versions.
        sunsets: What the `Sunset` header of a family says instead of the ordinary.
    """

    def __init__(self) -> None:
        self.exact = False
        self.gone: set[tuple[str, str]] = set()
        self.sunsets: dict[str, str] = {}

    def resolve(
        self, accept: str, versions: Sequence[str], family: str, path: str
    ) -> tuple[str, Answer | None]:
        """The version that answers, or the 406 or 410 that does.

        Source: fact sheet, section 2; working clients send dates between versions.
        """
        asked = _asked(accept)
        version = max((each for each in versions if each <= asked), default="")
        if not version or (self.exact and version != asked):
            return "", not_acceptable()
        if self.gone and ((family, version) in self.gone or (family, "*") in self.gone):
            resource = path.lstrip("/")
            detail = f"Version {version} of {resource} is no longer available."
            return "", error(410, "VERSION_GONE", detail, version, resource)
        return version, None


def not_acceptable() -> Answer:
    """406 for a missing or wrong `Accept`. Source: quoted in the fact sheet, section 2."""
    return error(406, "INVALID_VERSION_DATE", "Invalid accept header or version date.")


@lru_cache(maxsize=256)
def _asked(accept: str) -> str:
    """The date that `Accept` asks for; empty, and so before every version, where there is none."""
    found = _VERSIONED.search(accept)
    if found is None:
        return ""
    try:
        return date.fromisoformat(found[1]).isoformat()
    except ValueError:
        return ""

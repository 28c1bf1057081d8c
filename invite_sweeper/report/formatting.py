"""The words of the terminal: roles, reasons, ages, durations, counts."""

from collections.abc import Iterable
from typing import Final

from rich.text import Text

from invite_sweeper.sweep.selection import KEEP_REASONS
from invite_sweeper.text import escape_unprintable, plural_form

_ORDINARY_ROLES: Final = {
    "GROUP_READ_ONLY": "read only",
    "GROUP_DATA_ACCESS_READ_ONLY": "data access read only",
    "GROUP_DATA_ACCESS_READ_WRITE": "data access read write",
    "GROUP_OBSERVABILITY_VIEWER": "observability viewer",
    "GROUP_SEARCH_INDEX_EDITOR": "search index editor",
    "ORG_MEMBER": "organization member",
    "ORG_READ_ONLY": "organization read only",
    "ORG_BILLING_READ_ONLY": "organization billing read only",
}
"""Those that neither administer nor own. Source: Atlas documentation, "Atlas User Roles"
(read 2026-11-25). The set is open: a role that is not here stands out."""
_PRIVILEGED = ("OWNER", "ADMIN")

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def format_roles(names: Iterable[str]) -> Text:
    """Give an invitation's roles, a line each.

    The usual ones are said in words. Owners, administrators and everything unusual stay as
    Atlas writes them, in capitals and bold: they stand out without colour, too.
    """
    return Text("\n").join(map(_format_role, names))


def _format_role(role: str) -> Text:
    if role in _ORDINARY_ROLES:
        return Text(_ORDINARY_ROLES[role])
    strong = any(word in role for word in _PRIVILEGED)
    return Text(role, style="bold magenta" if strong else "bold")


def describe_keep_reason(key: str) -> str:
    """Say why invitations were kept, from the summary's key."""
    kind, _, entry = key.partition(":")
    if kind == "keep":
        return f"keep entry {escape_unprintable(entry)}"
    return KEEP_REASONS.get(key) or escape_unprintable(key).replace("_", " ")


def format_age(age_days: float | None) -> str:
    """Give an age in days."""
    return "?" if age_days is None else f"{age_days:,.1f} d"


def format_duration(seconds: float) -> str:
    """Give a time as a person says it."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S:,} h {whole % _HOUR_S // _MINUTE_S} min"


def format_countdown(seconds: float) -> str:
    """Give a time that counts down, as `0:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes}:{rest:02}"
    return f"{minutes // _MINUTE_S}:{minutes % _MINUTE_S:02}:{rest:02}"


def describe_estimate(estimate_s: float) -> str:
    """Say how long Atlas's limits make a run's deletions take, from the estimate in seconds."""
    if estimate_s < 1:
        return "Atlas's limits ask for no wait"
    return f"about {format_duration(estimate_s)} by Atlas's limits"


def describe_trimmed(trimmed: int) -> str:
    """Say how many stale invitations a trimmed plan leaves."""
    return f"{trimmed:,} more {plural_form(trimmed, 'is', 'are')} left for another night"

"""Words that several outputs share: names, instants, and what became of invitations as counts."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from invite_sweeper.counts import Counts
from invite_sweeper.models import parse_timestamp
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import escape_unprintable, plural_form, pluralize, truncate

_MAX_NAME_LENGTH: Final = 120
MAX_SENTENCE_LENGTH: Final = 500


def display_text(value: str | None, max_length: int = _MAX_NAME_LENGTH) -> str:
    """Return a name as it is shown: without secrets, truncated, unprintable characters escaped."""
    return escape_unprintable(truncate(SECRETS.redact(value or ""), max_length))


def describe_instant(text: str) -> str:
    """Return an instant of the log to the minute."""
    instant = parse_timestamp(text)
    return f"{instant:%Y-%m-%d %H:%M} UTC" if instant is not None else "an unknown time"


_DELETIONS: Final[Mapping[str, str]] = {
    "deleted": "deleted",
    "already_gone": "already gone",
    "changed": "changed since the list was read, nothing sent",
    "accepted_before": "accepted before the deletion, nothing sent",
    "failed": "failed",
    "unknown": "without a response",
    "skipped": "skipped",
}
"""The words behind the number of each outcome, in the order in which they are shown."""


def describe_deletions(counts: Counts) -> str:
    """Return what became of the deletions, and who stays invited."""
    words = dict(_DELETIONS)
    if counts.still_invited:
        words["deleted"] = "deleted from their projects"
    parts: list[str] = []
    for outcome, did in words.items():
        count = getattr(counts, outcome)
        if count:
            parts.append(f"{count:,} {did}")
    text = ", ".join(parts)
    if counts.still_invited:
        stay = plural_form(counts.still_invited, "stays", "stay")
        text += f"; {counts.still_invited:,} {stay} invited to the organization"
    return text


def describe_recorded_deletions(outcomes: Mapping[str, int]) -> str:
    """Return the outcomes in the lines of a killed sweep; empty without one."""
    parts = []
    for outcome, words in _DELETIONS.items():
        count = outcomes.get(outcome, 0)
        if count:
            parts.append(f"{count:,} {words}")
    return ", ".join(parts)


class _Words(NamedTuple):
    """The words behind a number of invitations: a person may have several."""

    singular: str
    plural: str


_INVITATIONS: Final[Mapping[str, _Words]] = {
    "restored": _Words("invitation sent again", "invitations sent again"),
    "active": _Words("active membership at once", "active memberships at once"),
    "already_there": _Words("there already", "there already"),
    "failed": _Words("failed", "failed"),
    "unknown": _Words("without a response", "without a response"),
    "skipped": _Words("skipped", "skipped"),
}
"""Outcomes of a restore, in the order in which they are shown."""


def describe_restored(counts: Mapping[str, int]) -> str:
    """Return what became of the invitations of a restore; empty without an outcome."""
    parts = []
    for outcome, words in _INVITATIONS.items():
        count = counts.get(outcome, 0)
        if count:
            parts.append(pluralize(count, words.singular, words.plural))
    return ", ".join(parts)

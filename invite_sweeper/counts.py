"""What a run counts: one additive value, for an organization, a run or a whole command."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import add, attrgetter
from typing import Any, Final


def _shown(*, metric: str = "", tile: str = "") -> Any:  # noqa: ANN401  a field
    """Return a count that outputs show.

    Args:
        metric: The help text of its metric, `invite_sweeper_NAME`; empty for none.
        tile: Its heading on the page, unless it is 0; empty for none.
    """
    return field(default=0, metadata={"metric": metric, "tile": tile})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run saw and did; a new count is a field here, and is added where it is counted.

    Attributes:
        projects_seen: In scope, including those that could not be read or were gone.
        projects_unreadable: Lists that could not be read; nothing is deleted there.
        projects_gone: Deleted after Atlas had listed them; not a failure.
        invitations_seen: In scope; `stale` and `kept` together.
        invitations_by_source: Adds up to `invitations_seen`; only sources that Atlas serves.
        trimmed: Stale, but left for a later run by `over_limit: trim`.
        kept_by_reason: Adds up to `kept`.
        announced: Found stale for the first time, where the policy has a `notice`.
        changed: Not what the plan had listed when the deletion was due; nothing was sent.
        accepted_before: Active members when the deletion was due; they were not removed.
        accepted_during: Became active members while the DELETE was in flight.
        verified: Deleted, and in none of its lists when they were read again after the sweep.
        still_there: Of `failed`, those whose answer said deleted or gone and that a list still
            shows.
        not_verified: Deleted, but one of its lists could not be read again, or not in time.
        missing_role: Lists not read and deletions that failed, because a role is missing.
        recovered: Intents that an interrupted run left open, resolved by this run.
    """

    projects_seen: int = _shown(metric="Projects in the policy's scope.")
    projects_unreadable: int = _shown(
        metric="Projects in scope that could not be read; nothing is deleted there.",
        tile="Projects not read",
    )
    projects_gone: int = 0
    invitations_seen: int = _shown(metric="Pending invitations in scope.")
    invitations_by_source: Mapping[str, int] = field(default_factory=dict)
    stale: int = _shown(metric="Invitations that a rule matches and no keep entry protects.")
    trimmed: int = _shown(
        metric="Stale invitations left for a later run, to stay within the limits.", tile="Trimmed"
    )
    kept: int = 0
    kept_by_reason: Mapping[str, int] = field(default_factory=dict)
    announced: int = _shown(
        metric="Invitations that the last run announced, where the policy has a notice.",
        tile="Announced",
    )
    deleted: int = 0
    already_gone: int = 0
    changed: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    verified: int = 0
    still_there: int = 0
    not_verified: int = 0
    missing_role: int = 0
    recovered: int = 0

    @property
    def planned(self) -> int:
        """The planned deletions; in a dry run, those that a sweep would plan."""
        return self.stale - self.trimmed

    def __add__(self, other: "Counts") -> "Counts":
        sums: dict[str, Any] = dict(
            zip(_NUMBER_NAMES, map(add, _NUMBERS(self), _NUMBERS(other)), strict=True)
        )
        for name in _KEYED_NAMES:
            both = Counter(getattr(self, name))
            both.update(getattr(other, name))  # unlike `+`, it keeps zeros
            sums[name] = dict(sorted(both.items()))
        return Counts(**sums)


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum."""
    return sum(counts, start=Counts())


def count_values(counts: Counts) -> dict[str, Any]:
    """Return the counts alone, by name, of a value that has other fields, too."""
    return {name: getattr(counts, name) for name in COUNT_NAMES}


def _texts(kind: str) -> dict[str, str]:
    return {each.name: each.metadata[kind] for each in fields(Counts) if each.metadata.get(kind)}


METRICS: Final = _texts("metric")
TILES: Final = _texts("tile")
COUNT_NAMES: Final = tuple(each.name for each in fields(Counts))
_KEYED_NAMES: Final = ("invitations_by_source", "kept_by_reason")
_NUMBER_NAMES: Final = tuple(name for name in COUNT_NAMES if name not in _KEYED_NAMES)
_NUMBERS: Final = attrgetter(*_NUMBER_NAMES)

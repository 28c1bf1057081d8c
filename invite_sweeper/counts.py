"""What a run counts: one additive value, for an organization or a whole run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Counts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a run saw and did; a new count is a field here, and is added where it is counted.

    Invitations are counted, not the entries of lists that show them.

    Attributes:
        projects_seen: In scope, including those that could not be read or were gone.
        projects_unreadable: Lists that could not be read; nothing is deleted there.
        projects_gone: Deleted after Atlas had listed them; not a failure.
        invitations_seen: In scope; `stale` and `kept` together.
        invitations_by_source: Entries by list; only sources that Atlas serves.
        stale: A rule matches and nothing keeps it: `due`, `trimmed` and `waiting` together.
        due: Planned deletions; in a dry run, those that a sweep would plan.
        trimmed: Stale, but left for a later run by `over_limit: trim`.
        waiting: Stale, but its notice is not over; those that this run announced included.
        kept_by_reason: Adds up to `kept`.
        announced: Found stale for the first time, where the policy has a `notice`.
        changed: Not what the plan had listed when the deletion was due; nothing was sent.
        accepted_before: Active members when the deletion was due; they were not removed.
        still_invited: People deleted from projects who stay invited to the organization, where the
            policy reads no list of it.
        missing_role: Lists not read and deletions that failed, because a role is missing.
        recovered: Deletions that an earlier run left without an outcome or an answer, and whose
            invitation is gone.
        restored: Invited by a restore, and pending again.
        active: Added by Atlas as members at once in a restore, without an acceptance.
        already_there: Invited or members without the restore.
        requests: Sent to Atlas, sign-in included; those of credentials count for the first of their
            organizations.
        retries: Attempts after the first of each request.
        rate_limited: Answers with status 429.
    """

    projects_seen: int = 0
    projects_unreadable: int = 0
    projects_gone: int = 0
    invitations_seen: int = 0
    invitations_by_source: Mapping[str, int] = {}
    stale: int = 0
    due: int = 0
    trimmed: int = 0
    waiting: int = 0
    kept: int = 0
    kept_by_reason: Mapping[str, int] = {}
    announced: int = 0
    deleted: int = 0
    already_gone: int = 0
    changed: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    still_invited: int = 0
    missing_role: int = 0
    recovered: int = 0
    restored: int = 0
    active: int = 0
    already_there: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        # The fields of `Counts` alone: the other one may be a struct with more of its own.
        counts = {name: getattr(other, name) for name in Counts.__struct_fields__}
        return self.plus(**counts)

    def plus(self, **more: int | Mapping[str, int]) -> "Counts":
        """Return the sum with some counts."""
        sums: dict[str, Any] = {}
        for name, count in more.items():
            own_count = getattr(self, name)
            if isinstance(count, Mapping):
                sums[name] = _sum_by_key(own_count, count)
            elif count:  # most calls add to few of the counts
                sums[name] = own_count + count
        return msgspec.structs.replace(self, **sums)


def _sum_by_key(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of the counts of each key, sorted, so that equal runs write equal lines."""
    sums = Counter(first)
    sums.update(second)
    return dict(sorted(sums.items()))


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum."""
    return sum(counts, start=Counts())

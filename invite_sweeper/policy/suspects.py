"""Entries that are valid and probably not what was meant.

Such as a regular expression where a glob is expected, or a role that Atlas does not have.
"""

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

Suspicion: TypeAlias = tuple[str, str]
"""What is suspicious about a value, and what to write instead.

Sentences without their subject, which is the value, and without their full stop.
"""

_MAX_COMPARED_LENGTH: Final = 64
"""A longer word is not a typing error, and comparing it is slow."""


def join_or(words: Iterable[str]) -> str:
    """Join words as alternatives: `a`, `b` or `c`."""
    *others, last = [f"`{word}`" for word in words]
    return f"{', '.join(others)} or {last}" if others else last


def suggest(
    word: object, candidates: Collection[str], otherwise: str = "", *, cutoff: float = 0.55
) -> str:
    """Return the hint to write the candidate that is most similar to `word`.

    Args:
        otherwise: The hint if none is similar enough; by default to write one of all.
        cutoff: Minimum difflib ratio; 1 means identical. The default matches `EXPIRED` with
            `INVITATION_EXPIRED`.
    """
    folded = {candidate.casefold(): candidate for candidate in candidates}
    if isinstance(word, str) and len(word) <= _MAX_COMPARED_LENGTH:
        for found in difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff):
            return f"write `{folded[found]}`"
    return otherwise or f"write {join_or(candidates)}"


# fmt: off
KNOWN_ROLES: Final = frozenset({
    "GROUP_ACCESS_MANAGER", "GROUP_ALERTS_MANAGER", "GROUP_BACKUP_CREATOR",
    "GROUP_BACKUP_EXPORT_OPERATOR", "GROUP_BACKUP_MANAGER", "GROUP_BACKUP_RECOVERY_OPERATOR",
    "GROUP_CLUSTER_CREATOR", "GROUP_CLUSTER_LOG_VIEWER", "GROUP_CLUSTER_MANAGER",
    "GROUP_CLUSTER_RESILIENCE_TESTER", "GROUP_DATABASE_ACCESS_ADMIN", "GROUP_DATA_ACCESS_ADMIN",
    "GROUP_DATA_ACCESS_READ_ONLY", "GROUP_DATA_ACCESS_READ_WRITE", "GROUP_INDEX_MANAGER",
    "GROUP_MODEL_OWNER", "GROUP_NETWORK_ACCESS_MANAGER", "GROUP_OBSERVABILITY_VIEWER",
    "GROUP_OWNER", "GROUP_READ_ONLY", "GROUP_REAL_TIME_PERFORMANCE_OPERATOR",
    "GROUP_REPLICA_SET_MANAGER", "GROUP_SEARCH_INDEX_EDITOR", "GROUP_STREAM_PROCESSING_OWNER",
    "GROUP_SUPPORT_ACCESS_MANAGER", "GROUP_TRIGGER_MANAGER", "ORG_BILLING_ADMIN",
    "ORG_BILLING_READ_ONLY", "ORG_GROUP_CREATOR", "ORG_MEMBER", "ORG_OWNER", "ORG_READ_ONLY",
    "ORG_STREAM_PROCESSING_ADMIN",
    # Older ones, which the Administration API still names.
    "GROUP_ATLAS_ADMIN", "GROUP_AUTOMATION_ADMIN", "GROUP_BACKUP_ADMIN", "GROUP_BILLING_ADMIN",
    "GROUP_CHARTS_ADMIN", "GROUP_MONITORING_ADMIN", "GROUP_USER_ADMIN", "ORG_TEAM_MEMBERS_ADMIN",
})
# fmt: on
"""Atlas adds roles, so another one is worth a warning, never an error.

Source: a copy of https://www.mongodb.com/docs/atlas/reference/user-roles, and the enums of the
Administration API.
"""


_ROLE_SIMILARITY: Final = 0.8


def suspicious_role(role: str) -> Suspicion | None:
    """Return a suspicion about the name of a role; None if Atlas documents it."""
    if role in KNOWN_ROLES:
        return None
    spelled = re.sub(r"\W+", "_", role.upper())
    for word, prefix in (("PROJECT_", "GROUP_"), ("ORGANIZATION_", "ORG_")):
        if spelled.startswith(word):  # As the web interface names it.
            spelled = prefix + spelled.removeprefix(word)
    unknown = "check its spelling; Atlas may add roles"
    hint = suggest(spelled, KNOWN_ROLES, unknown, cutoff=_ROLE_SIMILARITY)
    return "is not a role that Atlas documents", hint


_REGEX_SIGNS: Final = re.compile(
    r"""
      ^\^ | \$$                        # anchors
    | ^/ .+ / [gimsux]*$               # in slashes, as Perl and JavaScript write it
    | \\                               # an escape, as in \. or \d
    | \|                               # alternatives
    | \(\?                             # a group with flags
    | \[\^                             # a negated class: globs write [!
    | \]\+ (?= @ | \. | $ )            # a repeated class: [a-z]+@
    | [])*.] \{ [0-9]                  # a repetition: [a-z]{2,}
    | (?: ^ | (?<=[@_(-]) ) \. [*+]    # any text, where no name has a dot: .*@gmail.com
    | \.\+ (?= @ | $ )                 # any text again: ada.+@gmail.com
    """,
    re.VERBOSE,
)
_BRACES: Final = re.compile(r"\{[^{}]*,[^{}]*\}")
_EACH_ALTERNATIVE: Final = "an entry for each alternative"


def suspicious_pattern(pattern: str) -> Suspicion | None:
    """Return a suspicion about a glob that is written like a regular expression, or with braces.

    `a.*@x` and `[ab]+c@x` may be either, and are accepted as globs.
    """
    if _REGEX_SIGNS.search(pattern):
        hint = f"write `*` for any text, `?` for one character, and {_EACH_ALTERNATIVE}"
        return "is a regular expression, and patterns are globs", hint
    if _BRACES.search(pattern):
        return "is a glob, and globs have no braces", f"write {_EACH_ALTERNATIVE}"
    return None

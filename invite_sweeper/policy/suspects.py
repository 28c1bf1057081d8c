"""Entries that are valid and probably not what was meant.

Such as a regular expression where a glob is expected, or a role that Atlas does not have.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from invite_sweeper.policy.messages import Finding, KeyPath, closest, quote

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


class Suspect(NamedTuple):
    """What is suspicious about a value, and what to write instead.

    Attributes:
        message: A sentence without its subject, which is the value, and without its full stop.
        hint: Likewise.
    """

    message: str
    hint: str

    def finding(self, path: KeyPath, value: str, where: str) -> Finding:
        """Return the suspicion about a value in an entry, as a warning."""
        hint = f"{self.hint[:1].upper()}{self.hint[1:]}."
        return Finding(path, f"{quote(value)} in {where} {self.message}.", hint)


def suspicious_role(role: str) -> Suspect | None:
    """Return a suspicion about the name of a role; None if Atlas documents it."""
    if role in KNOWN_ROLES:
        return None
    suggestion = closest(role, KNOWN_ROLES, _ROLE_SIMILARITY)
    hint = f"write `{suggestion}`" if suggestion else "check its spelling; Atlas may add roles"
    return Suspect("is not a role that Atlas documents", hint)


_REGEX_SIGNS: Final = re.compile(
    r"""
      ^\^ | \$$                        # anchors
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
_REPETITION: Final = r"(?: [*+] | \{[0-9]+,?[0-9]*\} ) \??"
_ANY_TEXT: Final = re.compile(rf"(?: \\[wS] | \. ) {_REPETITION}", re.VERBOSE)
_CLASS: Final = re.compile(rf"(\[ [^]]* \]) {_REPETITION}", re.VERBOSE)
_GROUP: Final = re.compile(r"\( (?:\?:)? ((?!\?)[^()]*) \) | \{ ([^{}]*,[^{}]*) \}", re.VERBOSE)
_MAX_SUGGESTIONS: Final = 4


def suspicious_pattern(pattern: str) -> Suspect | None:
    """Return a suspicion about a glob that is written like a regular expression, or with braces.

    `a.*@x` and `[ab]+c@x` may be either, and are accepted as globs.
    """
    if _REGEX_SIGNS.search(pattern):
        message = "is compared as a glob, not as a regular expression"
    elif _BRACES.search(pattern):
        message = "is a glob, and globs have no braces"
    else:
        return None
    return Suspect(message, _glob_hint(pattern))


def _glob_hint(pattern: str) -> str:
    """Return what to write instead; in general terms if the pattern is not a simple one."""
    globs = tuple(dict.fromkeys(map(_to_glob, _alternatives(pattern.removeprefix("(?i)")))))
    if len(globs) > _MAX_SUGGESTIONS or any(set(glob) & set("\\^$|(){}") for glob in globs):
        return "write `*` for any text, `?` for one character, and an entry for each alternative"
    named = " and ".join(f'"{glob}"' for glob in globs)
    return f"write {named}{', each as its own entry' if len(globs) > 1 else ''}"


def _alternatives(pattern: str) -> Iterator[str]:
    """Yield the pattern with each alternative of its first group: `(a|b)`, or `{a,b}`."""
    without = _CLASS.sub(r"\1*", pattern.replace(r"\d", "[0-9]"))
    group = _GROUP.search(without)
    if group is None:
        yield from without.split("|")
        return
    separator, text = ("|", group[1]) if group[1] is not None else (",", group[2])
    for alternative in text.split(separator):
        yield without[: group.start()] + alternative + without[group.end() :]


def _to_glob(pattern: str) -> str:
    """Return the glob that a simple regular expression stands for."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$")
    glob = _ANY_TEXT.sub("*", pattern.removeprefix("^").removesuffix("$"))
    glob = re.sub(r"\\(\W)", r"\1", glob).replace("[^", "[!")
    if ends and not begins:
        glob = f"*{glob.removeprefix('*')}"
    if (begins and not ends) or glob.endswith("@"):
        glob = f"{glob.removesuffix('*')}*"
    return glob

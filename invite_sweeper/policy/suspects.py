"""Entries that are valid and probably not what was meant.

Such as a regular expression where a glob is expected, or a role that Atlas does not have.
"""

import re
from collections.abc import Iterator
from itertools import islice
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


_ROLE_SIMILARITY: Final = 0.8


def suspicious_role(role: str) -> Suspect | None:
    """Return a suspicion about the name of a role; None if Atlas documents it."""
    if role in KNOWN_ROLES:
        return None
    spelled = re.sub(r"\W+", "_", role.upper())
    for word, prefix in (("PROJECT_", "GROUP_"), ("ORGANIZATION_", "ORG_")):
        if spelled.startswith(word):  # As the web interface names it.
            spelled = prefix + spelled.removeprefix(word)
    suggestion = closest(spelled, KNOWN_ROLES, _ROLE_SIMILARITY)
    hint = f"write `{suggestion}`" if suggestion else "check its spelling; Atlas may add roles"
    return Suspect("is not a role that Atlas documents", hint)


_REGEX_SIGNS: Final = re.compile(
    r"""
      ^/?\^ | \$/?$                    # anchors
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
_GROUP: Final = re.compile(
    r"\( (?:\?:)? ((?!\?)[^()]*) \) (\??) (?![*+{]) | \{ ([^{}]*,[^{}]*) \}", re.VERBOSE
)
_OPTIONAL: Final = re.compile(r"(\\\W | [\w@%-]) \?", re.VERBOSE)
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
    text = re.sub(r"^/(.+)/[a-z]*$", r"\1", pattern).removeprefix("(?i)").replace(r"\d", "[0-9]")
    text = _OPTIONAL.sub(r"(\1)?", _CLASS.sub(r"\1*", text))
    alternatives = islice(_alternatives(text), _MAX_SUGGESTIONS + 1)
    globs = tuple(dict.fromkeys(map(_to_glob, alternatives)))
    if len(globs) > _MAX_SUGGESTIONS or not all(map(_is_glob, globs)):
        return "write `*` for any text, `?` for one character, and an entry for each alternative"
    named = " and ".join(f'"{glob}"' for glob in globs)
    return f"write {named}{', each as its own entry' if len(globs) > 1 else ''}"


def _is_glob(text: str) -> bool:
    return bool(text) and not set(text) & set("\\^$|(){}")


def _alternatives(pattern: str) -> Iterator[str]:
    """Yield the pattern with each alternative of its groups: `(a|b)`, `(a)?` or `{a,b}`."""
    group = _GROUP.search(pattern) if pattern.count("(") <= _MAX_SUGGESTIONS else None
    if group is None:
        yield from pattern.split("|")
        return
    in_parentheses, optional, in_braces = group.groups()
    texts = in_braces.split(",") if in_parentheses is None else in_parentheses.split("|")
    for text in [*texts, ""] if optional else texts:
        yield from _alternatives(pattern[: group.start()] + text + pattern[group.end() :])


def _to_glob(pattern: str) -> str:
    """Return the glob that a simple regular expression stands for."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$")
    glob = _ANY_TEXT.sub("*", pattern.removeprefix("^").removesuffix("$"))
    glob = re.sub(r"\\([*?[])", r"[\1]", glob)
    glob = re.sub(r"\\(\W)", r"\1", glob).replace("[^", "[!")
    if ends and not begins:
        glob = f"*{glob.removeprefix('*')}"
    if (begins and not ends) or glob.endswith("@"):
        glob = f"{glob.removesuffix('*')}*"
    return glob


_ONE_EACH: Final = "write each address as its own entry"
_NO_ADDRESS: Final = "is not an address and has no wildcard"
_UNMATCHED_USERNAMES: Final = (
    (r"(?i:mailto:)(.*)", "starts with `mailto:`", 'write "{}"'),
    (r".*<([^>]*)>?.*", "contains `<`", 'write "{}"'),
    (r"(.*?)\s*#.*", "contains `#`", 'write "{}"'),
    (r".*([,;]).*", "contains `{}`", _ONE_EACH),
    (r".*\s.*", "contains white space", f"remove it, or {_ONE_EACH}"),
    (r"@(.*)", "starts with `@`, and an address never does", 'write "*@{}"'),
    (r"([^@*?[]+\.[^@*?[]+)", _NO_ADDRESS, 'write "*@{}", or the whole address'),
    (r"([^@*?[]+)", _NO_ADDRESS, 'write "{}@*", or the whole address'),
)
"""A pattern for the whole entry, the message and the hint with what its group matched."""


def unmatched_username(pattern: str) -> Suspect | None:
    """Return why no address can match a glob under `usernames`; None if one can."""
    as_regex = suspicious_pattern(pattern)
    for regex, message, hint in _UNMATCHED_USERNAMES:
        if found := re.fullmatch(regex, pattern):
            fix = as_regex.hint if as_regex else hint.format(*found.groups())
            return Suspect(message.format(*found.groups()), fix)
    return None


def unmatched_project(pattern: str) -> Suspect | None:
    """Return why no project can match an entry, a glob on the name or an id; None if one can."""
    if pattern.startswith("!"):
        name = quote(pattern.removeprefix("!"))
        hint = f"write {name}, under `include` to read it or under `exclude` to skip it"
        return Suspect("starts with `!`, which does not negate", hint)
    if pattern.endswith("/"):
        return Suspect("ends with `/`, and no project's name does", f"write {quote(pattern[:-1])}")
    if re.fullmatch("(?!.{24}$)[0-9a-fA-F]{20,28}", pattern):
        return Suspect(f"has {len(pattern)} hex digits; an id has 24", "check the id")
    return None

"""A valid policy, and its entries that are probably not what was meant.

Such as a regular expression where a glob is expected, or a role that Atlas does not have.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple, TypeAlias

from typing_extensions import override

from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy.messages import KeyPath, closest, quote
from invite_sweeper.policy.model import Keep, PolicyFile, Rule

KNOWN_ROLES: Final = frozenset(
    {
        *("ORG_OWNER", "ORG_MEMBER", "ORG_GROUP_CREATOR", "ORG_BILLING_ADMIN"),
        *("ORG_BILLING_READ_ONLY", "ORG_STREAM_PROCESSING_ADMIN", "ORG_READ_ONLY"),
        *("GROUP_OWNER", "GROUP_READ_ONLY", "GROUP_ACCESS_MANAGER", "GROUP_NETWORK_ACCESS_MANAGER"),
        *("GROUP_CLUSTER_MANAGER", "GROUP_CLUSTER_CREATOR", "GROUP_CLUSTER_LOG_VIEWER"),
        *("GROUP_CLUSTER_RESILIENCE_TESTER", "GROUP_REPLICA_SET_MANAGER"),
        *("GROUP_DATA_ACCESS_ADMIN", "GROUP_DATA_ACCESS_READ_WRITE", "GROUP_DATA_ACCESS_READ_ONLY"),
        *("GROUP_DATABASE_ACCESS_ADMIN", "GROUP_STREAM_PROCESSING_OWNER", "GROUP_BACKUP_MANAGER"),
        *("GROUP_BACKUP_CREATOR", "GROUP_BACKUP_EXPORT_OPERATOR", "GROUP_BACKUP_RECOVERY_OPERATOR"),
        *("GROUP_OBSERVABILITY_VIEWER", "GROUP_TRIGGER_MANAGER", "GROUP_INDEX_MANAGER"),
        *("GROUP_SEARCH_INDEX_EDITOR", "GROUP_REAL_TIME_PERFORMANCE_OPERATOR"),
        *("GROUP_SUPPORT_ACCESS_MANAGER", "GROUP_ALERTS_MANAGER", "GROUP_MODEL_OWNER"),
        # Older ones, which the Administration API still names.
        *("ORG_TEAM_MEMBERS_ADMIN", "GROUP_USER_ADMIN", "GROUP_CHARTS_ADMIN", "GROUP_ATLAS_ADMIN"),
        *("GROUP_MONITORING_ADMIN", "GROUP_AUTOMATION_ADMIN", "GROUP_BACKUP_ADMIN"),
        "GROUP_BILLING_ADMIN",
    }
)
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


PLACEHOLDER_ORGANIZATION: Final = "0" * 24
"""In the policies of `config/`; no organization has this id."""
_INVITATION_LIFETIME: Final = timedelta(days=30)
"""Lifetime of an invitation in the `invites` list. Source: every recorded response."""
_PATTERN_KEYS: Final = ("usernames", "inviters", "projects")


class PolicyWarning(NamedTuple):
    """A valid entry that is probably not what was meant.

    Attributes:
        path: Where the entry is in the file.
        message: One sentence.
        hint: What to write instead, as a sentence; empty if nothing.
    """

    path: KeyPath
    message: str
    hint: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


_Entry: TypeAlias = tuple[KeyPath, str, Rule | Keep]


class Policy(PolicyFile):
    """A valid policy, made by `parse_policy`, which checks more than the types do.

    Attributes:
        sha256: Hash of the file's bytes, 64 hex digits.
    """

    sha256: str

    @property
    def organization_ids(self) -> frozenset[str]:
        """Return the ids of the allow-list."""
        return frozenset(organization.id for organization in self.organizations)

    def warnings(self, today: date) -> tuple[str, ...]:
        """Return warnings about entries that are valid but probably not intended.

        Args:
            today: The day of the run, in UTC.
        """
        return tuple(map(str, self.suspicious_entries(today)))

    def suspicious_entries(self, today: date) -> Iterator[PolicyWarning]:
        """Yield each warning with the place of its entry.

        Args:
            today: The day of the run, in UTC.
        """
        yield from self._placeholder_warnings()
        yield from self._never_matching_warnings()
        yield from self._pending_not_named_warnings()
        yield from self._expired_keep_warnings(today)
        yield from self._role_warnings()
        yield from self._pattern_warnings()

    def _entries(self) -> Iterator[_Entry]:
        """Yield each rule and keep entry with its path and what it is called in a sentence."""
        for number, rule in enumerate(self.rules):
            yield ("rules", number), f"the rule `{rule.name}`", rule
        for number, keep in enumerate(self.keep):
            yield ("keep", number), f"the keep entry `{keep.name}`", keep

    def _placeholder_warnings(self) -> Iterator[PolicyWarning]:
        for number, organization in enumerate(self.organizations):
            if organization.id == PLACEHOLDER_ORGANIZATION:
                yield PolicyWarning(
                    ("organizations", number),
                    f"{PLACEHOLDER_ORGANIZATION} stands for your organization's id: replace it.",
                    "In Atlas it is in Organization Settings.",
                )

    def _never_matching_warnings(self) -> Iterator[PolicyWarning]:
        for number, rule in enumerate(self.rules if Source.INVITES in self.sources else ()):
            if rule.older_than is not None and rule.older_than >= _INVITATION_LIFETIME:
                yield PolicyWarning(
                    ("rules", number, "older_than"),
                    f"The rule `{rule.name}` may never match: invitations in the `invites` "
                    f"list expire after {_INVITATION_LIFETIME.days} days.",
                )
        for path, _, entry in self._entries():
            if entry.expired and entry.expires_within is not None:
                yield PolicyWarning(
                    (*path, "expires_within"),
                    f"`{entry.name}` never matches: `expired: true` contradicts `expires_within`.",
                )

    def _pending_not_named_warnings(self) -> Iterator[PolicyWarning]:
        lists = [source.value for source in self.sources if source in SOURCES_OF_USERS]
        for number, rule in enumerate(self.rules):
            if lists and rule.statuses is None:
                yield PolicyWarning(
                    ("rules", number),
                    f"The rule `{rule.name}` names no status, so PENDING people of "
                    f"{' and '.join(lists)} are kept, because deleting them removes the person.",
                    "Add statuses: [PENDING, …] to include them.",
                )

    def _expired_keep_warnings(self, today: date) -> Iterator[PolicyWarning]:
        for number, entry in enumerate(self.keep):
            if not entry.is_active(today):
                yield PolicyWarning(
                    ("keep", number, "until"),
                    f"The keep entry `{entry.name}` ended on {entry.until} and no longer applies.",
                )

    def _role_warnings(self) -> Iterator[PolicyWarning]:
        for path, name, entry in self._entries():
            for number, role in enumerate(entry.roles or ()):
                if (suspect := suspicious_role(role)) is not None:
                    yield PolicyWarning(
                        (*path, "roles", number),
                        f"{quote(role)} in {name} {suspect.message}.",
                        _sentence(suspect.hint),
                    )

    def _pattern_warnings(self) -> Iterator[PolicyWarning]:
        for path, name, pattern in self._patterns():
            if (suspect := suspicious_pattern(pattern)) is not None:
                yield PolicyWarning(
                    path,
                    f"{quote(pattern)} in {name} {suspect.message}.",
                    _sentence(suspect.hint),
                )

    def _patterns(self) -> Iterator[tuple[KeyPath, str, str]]:
        """Yield each glob with its path and the entry that contains it."""
        for key, patterns in (
            ("include", self.projects.include),
            ("exclude", self.projects.exclude),
        ):
            for number, pattern in enumerate(patterns):
                yield ("projects", key, number), f"`projects.{key}`", pattern
        for path, name, entry in self._entries():
            for key in _PATTERN_KEYS:
                for number, pattern in enumerate(getattr(entry, key) or ()):
                    yield (*path, key, number), name, pattern


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:]}."

"""A valid policy, and warnings about entries that are probably not what was meant."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple, TypeAlias

from typing_extensions import override

from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy.messages import KeyPath, quote
from invite_sweeper.policy.model import Keep, PolicyFile, Rule
from invite_sweeper.policy.suspects import suspicious_pattern, suspicious_role

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

"""The policy: its keys, warnings about its entries, and its JSON Schema.

A warning is about a policy that is valid: it refuses nothing. `issues` finds the errors.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha256
from itertools import permutations
from typing import Final, NamedTuple

from pydantic import PrivateAttr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from invite_sweeper.models import (
    INVITATION_LIFETIME,
    SOURCES_OF_USERS,
    MembershipStatus,
    Source,
)
from invite_sweeper.policy import model, types
from invite_sweeper.policy.model import Keep, Rule, key
from invite_sweeper.policy.yaml_reader import KeyPath, format_path, quote

PLACEHOLDER_ORGANIZATION: Final = "0" * 24
"""In the policies of `config/`; no organization has this id."""


class Finding(NamedTuple):
    """An error of several values, or a warning about a valid one.

    Attributes:
        path: Where the value is in the file.
        message: Without its subject, which is the path; a warning is a sentence.
        hint: What to write instead; empty if nothing.
        is_told_by_runs: Whether each run gives the warning, too.
    """

    path: KeyPath
    message: str
    hint: str = ""
    is_told_by_runs: bool = True


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


_REGEX_SIGNS: Final = re.compile(
    r"""
      ^\^ | \$$                        # anchors
    | ^/ .+ / [gimsux]*$               # in slashes, as Perl and JavaScript write it
    | \\                               # an escape, as in \. or \d
    | \|                               # alternatives
    | \{ [^{}]* , [^{}]* \}            # alternatives of a shell, and a repetition
    | \(\?                             # a group with flags
    | \[\^                             # a negated class: globs write [!
    | \]\+ (?= @ | \. | $ )            # a repeated class: [a-z]+@
    | [])*.] \{ [0-9]                  # a repetition: [a-z]{2}
    | (?: ^ | (?<=[@_(-]) ) \. [*+]    # any text, where no name has a dot: .*@gmail.com
    | \.\+ (?= @ | $ )                 # any text again: ada.+@gmail.com
    """,
    re.VERBOSE,
)
"""What globs do not have; `a.*@x` and `[ab]+c@x` may be either."""


class Policy(model.StrictModel):
    """The keys of a policy file."""

    version: types.Version = key(..., "Version of the policy format.", 1)
    organizations: types.OneOrMore[model.OrganizationEntry] = key(
        ...,
        "Allow-list: projects of other organizations are never changed.",
        ["5efda682a3f2ed2e7dd6cde4"],
    )
    projects: model.ProjectScope = key(
        model.ProjectScope(), "Which projects are read; all by default.", {"exclude": ["prod-*"]}
    )
    sources: types.OneOrMore[types.KnownSource] = key(
        (Source.INVITES,), "Which of Atlas's lists of invitations are read.", list(map(str, Source))
    )
    rules: types.OneOrMore[Rule] = key(
        ...,
        "An invitation is stale if any rule matches; the audit log names the first.",
        [{"name": "forgotten", "older_than": "14d"}],
    )
    keep: tuple[Keep, ...] = key(
        (),
        "A matching entry keeps the invitation; it overrides the rules. It has the keys of a "
        "rule, `reason` and `until`.",
        [{"name": "board", "usernames": ["*@board.example.com"]}],
    )
    limits: model.Limits = key(model.Limits(), "Limits of a run.", {"max_deletions": 100})
    execution: model.Execution = key(
        model.Execution(), "How requests are sent.", {"concurrency": 20}
    )
    audit: model.AuditSettings = key(
        model.AuditSettings(),
        "Where the audit log is, and what it records.",
        {"directory": "audit", "record": "all"},
    )
    notice: model.NoticeSettings | None = key(
        None, "Announce an invitation first, and delete it in a later sweep.", {"wait": "7d"}
    )
    notify: tuple[model.Notification, ...] = key(
        (),
        "Notifications about runs.",
        [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}],
    )

    _file_bytes: bytes = PrivateAttr(b"")

    @override
    def model_post_init(self, context: bytes | None, /) -> None:
        self._file_bytes = context or b""

    @property
    def text(self) -> str:
        """Return the text of the file, byte for byte."""
        return self._file_bytes.decode()

    @property
    def sha256(self) -> str:
        """Return the hash of the file's bytes, 64 hex digits."""
        return sha256(self._file_bytes).hexdigest()

    @property
    def organization_ids(self) -> frozenset[str]:
        """Return the ids of the allow-list."""
        return frozenset(organization.id for organization in self.organizations)

    @property
    def leaves_invited(self) -> bool:
        """Whether people whom a run deletes from projects stay invited to the organization.

        It reads `users` and no list of the organization. Source: MongoDB removes such people with
        a program of its own (terraform-provider-mongodbatlas a0b7733d3).
        """
        return Source.USERS in self.sources and not self._reads_organization

    @property
    def _reads_organization(self) -> bool:
        return any(source.is_organization_level for source in self.sources)

    def warnings(self, today: date) -> tuple[str, ...]:
        """Return what each run says of values that are valid but probably not intended."""
        return tuple(
            f"{format_path(finding.path)}: {finding.message} {finding.hint}".rstrip()
            for finding in self.findings(today)
            if finding.is_told_by_runs
        )

    def findings(self, today: date) -> Iterator[Finding]:
        """Yield what is valid but probably not intended."""
        for number, organization in enumerate(self.organizations):
            if organization.id == PLACEHOLDER_ORGANIZATION:
                yield Finding(
                    ("organizations", number),
                    f"{PLACEHOLDER_ORGANIZATION} stands for your organization's id: replace it.",
                    "In Atlas it is in Organization Settings.",
                )
        yield from self._suspicious_lists()
        for path, clause in self._clauses():
            if isinstance(clause, Keep) and not clause.is_active(today):
                yield Finding(
                    (*path, "until"),
                    f"The keep entry `{clause.name}` ended on {clause.until} "
                    "and no longer applies.",
                )
            is_without_notice = self.notice is None  # else it is an error
            if is_without_notice and isinstance(clause, Rule) and self._never_deletes(clause):
                yield Finding(
                    path,
                    f"Atlas ends PENDING invitations after {INVITATION_LIFETIME.days} days, before "
                    "the rule applies to them.",
                    "Shorten `older_than`.",
                )
            if clause.older_than is not None and clause.older_than < timedelta(hours=1):
                yield Finding(
                    (*path, "older_than"),
                    "The age is under one hour: `m` are minutes and `s` seconds.",
                    "Write days or hours, such as `14d` or `12h`.",
                )
        for path, part in ((("projects",), self.projects), *self._clauses()):
            for name in ("include", "exclude", *model.SELECTIONS):
                for number, value in enumerate(getattr(part, name, None) or ()):
                    yield from self._suspicious_value((*path, name, number), value)

    def _suspicious_lists(self) -> Iterator[Finding]:
        """Yield a warning about each list that ends, or is left out, and what that means."""
        path = ("sources",)
        if not self._reads_organization:
            yield Finding(
                path,
                f"The policy reads {' and '.join(self.sources)} and no list of the organization: "
                "who is deleted from a project may stay invited to the organization.",
                "Add org_users and org_invites.",
                is_told_by_runs=self.leaves_invited,
            )
        for read, unread in permutations((Source.ORG_USERS, Source.ORG_INVITES)):
            if read in self.sources and unread not in self.sources:
                yield Finding(
                    path,
                    f"The policy reads {read} and not {unread}: what {unread} shows of a person "
                    "is not judged, not even by `keep`, and it ends with the invitation.",
                    f"Add {unread}.",
                    is_told_by_runs=False,
                )
        if all(source.replacements for source in self.sources):
            yield Finding(
                path,
                f"Atlas has announced the end of each list that the policy reads "
                f"({' and '.join(self.sources)}), and its web interface does not fill them.",
                "Under sources, add users and org_users: `invite-sweeper help sources`",
            )

    def _suspicious_value(self, path: KeyPath, value: str) -> Iterator[Finding]:
        """Yield a warning about a role or a glob that probably never matches."""
        if path[-2] == "roles":
            if value not in KNOWN_ROLES:
                yield Finding(
                    path,
                    f"{quote(value)} is not a role that Atlas documents.",
                    "Write it as the API does, such as `GROUP_OWNER`; Atlas may add roles.",
                )
            elif value.startswith("ORG_") and not self._reads_organization:
                yield Finding(
                    path,
                    f"{quote(value)} never matches: the lists of projects show roles in the "
                    "project alone.",
                    "Read `org_users` too, or remove the role.",
                )
        elif _REGEX_SIGNS.search(value):
            yield Finding(
                path,
                f"{quote(value)} is a regular expression, and patterns are globs.",
                "Write `*` for any text, `?` for one character, and an entry for each alternative.",
            )

    def _clauses(self) -> Iterator[tuple[KeyPath, Rule | Keep]]:
        """Yield each rule and keep entry with its path."""
        for number, rule in enumerate(self.rules):
            yield ("rules", number), rule
        for number, keep in enumerate(self.keep):
            yield ("keep", number), keep

    def rules_without_effect(self) -> Iterator[Finding]:
        """Yield an error for each rule whose invitations Atlas ends before a notice is over."""
        for number, rule in enumerate(self.rules):
            if self.notice is not None and self._never_deletes(rule):
                yield Finding(
                    ("rules", number),
                    f"never deletes: Atlas ends PENDING invitations after "
                    f"{INVITATION_LIFETIME.days} days, and its time and `notice.wait` together "
                    "reach that",
                    "shorten one of them",
                )

    def _never_deletes(self, rule: Rule) -> bool:
        """Return whether a rule is for PENDING invitations alone, and Atlas ends them before it.

        Only the lists of users show invitations that have expired or were rejected.
        """
        is_only_pending = SOURCES_OF_USERS.isdisjoint(self.sources)
        if rule.statuses is not None:
            is_only_pending = set(rule.statuses) == {MembershipStatus.PENDING}
        stale_at = rule.older_than or timedelta()
        if rule.expires_within is not None:
            stale_at = max(stale_at, INVITATION_LIFETIME - rule.expires_within)
        wait = self.notice.wait if self.notice is not None else timedelta()
        return is_only_pending and not rule.expired and stale_at + wait >= INVITATION_LIFETIME


_SCHEMA_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors with YAML support understand."""


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a policy file, for editors.

    It accepts slightly more than `parse_policy`, which also finds duplicate names and
    invisible characters.
    """
    schema: dict[str, object] = Policy.model_json_schema(schema_generator=_FileSchemaGenerator)
    return {"$schema": _SCHEMA_DRAFT, **schema, "title": "Policy of invite-sweeper"}


class _FileSchemaGenerator(GenerateJsonSchema):
    """Describes files, where a key without a value is left out, never null."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") in (None, (), {}):  # Not useful as an editor's suggestion.
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    @override
    def encode_default(self, dft: object) -> object:
        if isinstance(dft, timedelta):
            return types.format_duration(dft)
        return super().encode_default(dft)

    @override
    def field_title_should_be_set(self, schema: object) -> bool:
        return False

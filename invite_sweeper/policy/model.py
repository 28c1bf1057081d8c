"""The policy as frozen models, named as the keys of the file, and its JSON Schema."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from invite_sweeper.models import Source
from invite_sweeper.policy.types import (
    AtlasId,
    Count,
    CredentialsName,
    Day,
    DirectoryPath,
    Duration,
    DurationOrZero,
    KnownSource,
    OnlyTrue,
    ProjectPattern,
    ProjectPatterns,
    Rate,
    Sentence,
    Share,
    Status,
    Tags,
    Text,
    Texts,
    UsernamePatterns,
    Variable,
    Version,
)


def _key(default: object, description: str, *examples: object) -> Any:  # noqa: ANN401
    """Return a key of the file.

    Args:
        default: `...` for a key that is required.
        examples: In plain YAML; by default the default.
    """
    return Field(default=default, description=description, examples=[*examples] or [default])


class StrictModel(BaseModel):
    """A part of the policy that allows no unknown keys and converts no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


CONDITIONS = ("older_than", "expired", "expires_within", "statuses", "inviter_gone")
"""Conditions that make an invitation stale. A rule needs at least one."""
SELECTIONS = ("usernames", "inviters", "roles", "projects")
"""Conditions that only narrow a rule. One is enough for a keep entry."""


def _any_required(*keys: str) -> list[JsonValue]:
    return [{"required": [key]} for key in keys]


class Matcher(StrictModel):
    """Selects invitations. All given conditions must match."""

    name: Text = _key(..., "Name in the audit log.", "forgotten")
    older_than: Duration | None = _key(None, "Minimum age of the invitation.", "14d", "36h", "P14D")
    expired: bool | None = Field(
        default=None,
        description="True: the invitation has expired. False: it has not.",
        examples=[True],
    )
    expires_within: Duration | None = _key(
        None, "The invitation has not expired and will within this time.", "3d"
    )
    usernames: UsernamePatterns | None = _key(
        None, "Quoted globs on the invited address; one must match.", ["*@gmail.com"]
    )
    inviters: Texts | None = _key(
        None,
        "Globs on the inviter: an address, or an API key's public key; one must match.",
        ["*@contractor.example.com"],
    )
    roles: Texts | None = _key(
        None, "Role names; the invitation must have one of them.", ["GROUP_OWNER"]
    )
    projects: ProjectPatterns | None = _key(
        None, "Globs on the project's name, or project ids; one must match.", ["sandbox-*"]
    )
    statuses: Annotated[tuple[Status, ...], Field(min_length=1)] | None = _key(
        None,
        "Statuses; the invitation must have one of them. All by default.",
        ["INVITATION_EXPIRED", "INVITATION_REJECTED"],
    )
    inviter_gone: OnlyTrue | None = Field(
        default=None,
        description="The inviter is an address that no active member of the organization has; "
        "where that is not known, the invitation is kept.",
        examples=[True],
    )


class Rule(Matcher):
    """Makes an invitation stale. Needs at least one time or status condition."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS)})


class Keep(Matcher):
    """Keeps an invitation; overrides the rules."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS, *SELECTIONS)})

    reason: Sentence | None = _key(None, "The reason, for the auditor.", "they travel")
    until: Day | None = _key(None, "The last day (UTC) on which the entry applies.", "2027-03-31")

    def is_active(self, today: date) -> bool:
        """Return whether the entry applies on `today`; it does on its last day."""
        return self.until is None or today <= self.until


class Limits(StrictModel):
    """The limits of a run; each is inclusive.

    0 means zero, never "no limit". Two are ignored for small numbers, even if they are 0:
    `max_share` when 10 or fewer are stale, `max_population_drop` for a count of 10 or fewer.
    """

    max_deletions: Count = _key(100, "Maximum deletions within `period`.")
    max_deletions_per_project: Count = _key(25, "Maximum deletions in one project in a run.")
    max_share: Share = _key(
        0.5, "Maximum stale share of all invitations; ignored when 10 or fewer are stale."
    )
    max_unreadable_projects: Count = _key(
        10, "Maximum unreadable projects; above it, nothing is deleted."
    )
    period: DurationOrZero = _key(
        timedelta(hours=20),
        "Time within which the deletions of earlier runs count; 0s: none do.",
        "20h",
    )
    over_limit: Literal["refuse", "trim"] = _key(
        "refuse", "Above a limit: refuse all deletions, or trim to the oldest invitations."
    )
    max_population_drop: Share = _key(
        0.3,
        "Maximum drop in projects or invitations since the last complete run, as a share; "
        "above it, nothing is deleted.",
    )
    max_bounces: Count = _key(
        3, "Keep an invitation that was re-created after this many deletions."
    )
    max_failure_share: Share = _key(
        0.2, "Maximum failure share of the last responses; above it, the run stops."
    )
    max_already_gone_share: Share = _key(
        0.5, 'Maximum "already gone" share of the last responses; above it, the run stops.'
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = _key(
        50, "Number of last responses that these two shares are computed from."
    )
    canary: Count = _key(
        5, "Deletions to send first; if most of them fail, the run stops. 0: none."
    )


class Execution(StrictModel):
    """Concurrency, rate, retries and timeouts of requests."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = _key(20, "Maximum requests in flight.")
    max_requests_per_second: Rate = _key(
        None, "Maximum rate of all requests; null for no limit.", 10
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = _key(
        5, "Maximum attempts of one request, including the first; a 429 does not count as one."
    )
    deadline: Duration = _key(timedelta(hours=1), "Maximum duration of the run.", "1h")
    grace: Duration = _key(
        timedelta(seconds=20),
        "Time for requests in flight to finish after a signal or the deadline.",
        "20s",
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = _key(
        0.1, "Share of Atlas's rate limits left to other programs."
    )


class AuditSettings(StrictModel):
    """Settings of the audit log."""

    directory: DirectoryPath = _key(
        "audit",
        "Directory with one file for each run, relative to the policy's folder; "
        "created if missing.",
    )
    record: Literal["planned", "all"] = _key(
        "planned", "all: a line for every kept invitation, too, with its reason."
    )
    stdout: bool = _key(
        default=False,
        description="true: each line on standard output as well, for the logs of a container.",
    )


class Notice(StrictModel):
    """Announces an invitation before a later sweep deletes it."""

    wait: Duration = _key(..., "Minimum time between the announcement and the deletion.", "7d")


class Notification(StrictModel):
    """A notification about a run. URLs and secrets are in the environment, never here."""

    kind: Literal["slack", "webhook", "ping"] = _key(
        ..., "A Slack-compatible webhook, a plain JSON webhook, or a dead-man ping.", "slack"
    )
    url_env: Variable = _key(..., "Name of the environment variable with the URL.", "SLACK_URL")
    secret_env: Variable | None = _key(
        None,
        "For `webhook`: name of the environment variable with the signing key.",
        "WEBHOOK_SECRET",
    )
    when: Literal["always", "changes", "failures"] = _key(
        "always", "Runs to notify about.", "failures"
    )
    details: bool = Field(
        default=False,
        description="Name up to 10 of the planned invitations' users; otherwise no user is named.",
        examples=[True],
    )


class Organization(StrictModel):
    """An organization whose projects may be swept."""

    id: AtlasId = _key(
        ..., "The organization's id: 24 hex digits, in quotes.", "5efda682a3f2ed2e7dd6cde4"
    )
    credentials: CredentialsName | None = _key(
        None,
        "Suffix of the environment variables with this organization's credentials: "
        "PROD means MONGODB_ATLAS_CLIENT_ID_PROD and so on.",
        "PROD",
    )


def _organization_from_id(value: object) -> object:
    """Return an entry that is not a mapping as a mapping with that id."""
    return value if isinstance(value, dict | Organization) else {"id": value}


class _OrganizationIdSchema:
    """Adds the short form, a bare id, to the JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": "^[0-9a-f]{24}$"}, handler(schema)]}


OrganizationEntry: TypeAlias = Annotated[
    Organization, BeforeValidator(_organization_from_id), _OrganizationIdSchema
]


class ProjectScope(StrictModel):
    """Which projects of the organizations are read."""

    include: ProjectPatterns = _key(
        ("*",), "Globs on a project's name, or project ids; one must match.", ["*"], ["sandbox-*"]
    )
    exclude: tuple[ProjectPattern, ...] = _key(
        (), "Globs or ids of projects to skip; overrides `include`.", ["prod-*"]
    )
    tags: Tags = _key((), "Tags that a project must have; all must match.", {"env": "sandbox"})


class PolicyFile(StrictModel):
    """The keys of a policy file."""

    version: Version = _key(..., "Version of the policy format.", 1)
    organizations: Annotated[tuple[OrganizationEntry, ...], Field(min_length=1)] = _key(
        ...,
        "Allow-list: projects of other organizations are never changed.",
        ["5efda682a3f2ed2e7dd6cde4"],
    )
    projects: ProjectScope = _key(
        ProjectScope(), "Which projects are read; all by default.", {"exclude": ["prod-*"]}
    )
    sources: Annotated[tuple[KnownSource, ...], Field(min_length=1)] = _key(
        (Source.INVITES,), "Which of Atlas's lists of invitations are read.", list(map(str, Source))
    )
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] = _key(
        ...,
        "An invitation is stale if any rule matches; the audit log names the first.",
        [{"name": "forgotten", "older_than": "14d"}],
    )
    keep: tuple[Keep, ...] = _key(
        (),
        "A matching entry keeps the invitation; it overrides the rules.",
        [{"name": "board", "usernames": ["*@board.example.com"]}],
    )
    limits: Limits = _key(Limits(), "Limits of a run.", {"max_deletions": 100})
    execution: Execution = _key(Execution(), "How requests are sent.", {"concurrency": 20})
    audit: AuditSettings = _key(
        AuditSettings(),
        "Where the audit log is, and what it records.",
        {"directory": "audit", "record": "all"},
    )
    notice: Notice | None = _key(
        None, "Announce an invitation first, and delete it in a later sweep.", {"wait": "7d"}
    )
    notify: tuple[Notification, ...] = _key(
        (),
        "Notifications about runs.",
        [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}],
    )


_SCHEMA_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors with YAML support understand."""


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a policy file, for editors.

    It accepts slightly more than `parse_policy`, which also finds duplicate names and
    invisible characters.
    """
    schema: dict[str, object] = PolicyFile.model_json_schema(schema_generator=_FileSchemaGenerator)
    return {"$schema": _SCHEMA_DRAFT, **schema, "title": "Policy of invite-sweeper"}


class _FileSchemaGenerator(GenerateJsonSchema):
    """Describes files, where a key without a value is left out, never null."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") in (None, ()):  # Not useful as an editor's suggestion.
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    @override
    def field_title_should_be_set(self, schema: object) -> bool:
        return False

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
    NullInFile,
    OnlyTrue,
    ProjectPattern,
    ProjectPatterns,
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

    name: Text = Field(description="Name in the audit log.", examples=["forgotten"])
    older_than: Duration | None = Field(
        default=None, description="Minimum age of the invitation.", examples=["14d", "36h", "P14D"]
    )
    expired: bool | None = Field(
        default=None,
        description="True: the invitation has expired. False: it has not.",
        examples=[True],
    )
    expires_within: Duration | None = Field(
        default=None,
        description="The invitation has not expired and will within this time.",
        examples=["3d"],
    )
    usernames: UsernamePatterns | None = Field(
        default=None,
        description="Quoted globs on the invited address; one must match.",
        examples=[["*@gmail.com"]],
    )
    inviters: Texts | None = Field(
        default=None,
        description="Globs on the inviter: an address, or an API key's public key; one must match.",
        examples=[["*@contractor.example.com"]],
    )
    roles: Texts | None = Field(
        default=None,
        description="Role names; the invitation must have one of them.",
        examples=[["GROUP_OWNER"]],
    )
    projects: ProjectPatterns | None = Field(
        default=None,
        description="Globs on the project's name, or project ids; one must match.",
        examples=[["sandbox-*"]],
    )
    statuses: Annotated[tuple[Status, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Statuses; the invitation must have one of them. All by default.",
        examples=[["INVITATION_EXPIRED", "INVITATION_REJECTED"]],
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

    reason: Sentence | None = Field(
        default=None, description="The reason, for the auditor.", examples=["they travel"]
    )
    until: Day | None = Field(
        default=None,
        description="The last day (UTC) on which the entry applies.",
        examples=["2027-03-31"],
    )

    def is_active(self, today: date) -> bool:
        """Return whether the entry applies on `today`; it does on its last day."""
        return self.until is None or today <= self.until


def _setting(*, default: object, description: str, example: object = None) -> Any:  # noqa: ANN401
    """Return a field with its default as its example, or another example in plain YAML."""
    return Field(
        default=default, description=description, examples=[default if example is None else example]
    )


class Limits(StrictModel):
    """The limits of a run; each is inclusive.

    0 means zero, never "no limit". Two are ignored for small numbers, even if they are 0:
    `max_share` when 10 or fewer are stale, `max_population_drop` for a count of 10 or fewer.
    """

    max_deletions: Count = _setting(default=100, description="Maximum deletions within `period`.")
    max_deletions_per_project: Count = _setting(
        default=25, description="Maximum deletions in one project in a run."
    )
    max_share: Share = _setting(
        default=0.5,
        description="Maximum stale share of all invitations; ignored when 10 or fewer are stale.",
    )
    max_unreadable_projects: Count = _setting(
        default=10, description="Maximum unreadable projects; above it, nothing is deleted."
    )
    period: DurationOrZero = _setting(
        default=timedelta(hours=20),
        description="Time within which the deletions of earlier runs count; 0s: none do.",
        example="20h",
    )
    over_limit: Literal["refuse", "trim"] = _setting(
        default="refuse",
        description="Above a limit: refuse all deletions, or trim to the oldest invitations.",
    )
    max_population_drop: Share = _setting(
        default=0.3,
        description=(
            "Maximum drop in projects or invitations since the last complete run, as a share; "
            "above it, nothing is deleted."
        ),
    )
    max_bounces: Count = _setting(
        default=3, description="Keep an invitation that was re-created after this many deletions."
    )
    max_failure_share: Share = _setting(
        default=0.2,
        description="Maximum failure share of the last responses; above it, the run stops.",
    )
    max_already_gone_share: Share = _setting(
        default=0.5,
        description='Maximum "already gone" share of the last responses; above it, the run stops.',
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = _setting(
        default=50, description="Number of last responses that these two shares are computed from."
    )
    canary: Count = _setting(
        default=5,
        description="Deletions to send first; if most of them fail, the run stops. 0: none.",
    )


class Execution(StrictModel):
    """Concurrency, rate, retries and timeouts of requests."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = _setting(
        default=20, description="Maximum requests in flight."
    )
    max_requests_per_second: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, NullInFile
    ] = Field(
        default=None, description="Maximum rate of all requests; null for no limit.", examples=[10]
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = _setting(
        default=5,
        description=(
            "Maximum attempts of one request, including the first; a 429 does not count as one."
        ),
    )
    deadline: Duration = _setting(
        default=timedelta(hours=1), description="Maximum duration of the run.", example="1h"
    )
    grace: Duration = _setting(
        default=timedelta(seconds=20),
        description="Time for requests in flight to finish after a signal or the deadline.",
        example="20s",
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = _setting(
        default=0.1, description="Share of Atlas's rate limits left to other programs."
    )


class AuditSettings(StrictModel):
    """Settings of the audit log."""

    directory: DirectoryPath = _setting(
        default="audit",
        description="Directory with one file for each run, relative to the policy's folder; "
        "created if missing.",
    )
    record: Literal["planned", "all"] = _setting(
        default="planned",
        description="all: a line for every kept invitation, too, with its reason.",
    )
    stdout: bool = _setting(
        default=False,
        description="true: each line on standard output as well, for the logs of a container.",
    )


class Notice(StrictModel):
    """Announces an invitation before a later sweep deletes it."""

    wait: Duration = Field(
        description="Minimum time between the announcement and the deletion.", examples=["7d"]
    )


class Notification(StrictModel):
    """A notification about a run. URLs and secrets are in the environment, never here."""

    kind: Literal["slack", "webhook", "ping"] = Field(
        description="A Slack-compatible webhook, a plain JSON webhook, or a dead-man ping.",
        examples=["slack"],
    )
    url_env: Variable = Field(
        description="Name of the environment variable with the URL.", examples=["SLACK_URL"]
    )
    secret_env: Variable | None = Field(
        default=None,
        description="For `webhook`: name of the environment variable with the signing key.",
        examples=["WEBHOOK_SECRET"],
    )
    when: Literal["always", "changes", "failures"] = Field(
        default="always", description="Runs to notify about.", examples=["failures"]
    )
    details: bool = Field(
        default=False,
        description="Name up to 10 of the planned invitations' users; otherwise no user is named.",
        examples=[True],
    )


class Organization(StrictModel):
    """An organization whose projects may be swept."""

    id: AtlasId = Field(
        description="The organization's id: 24 hex digits, in quotes.",
        examples=["5efda682a3f2ed2e7dd6cde4"],
    )
    credentials: CredentialsName | None = Field(
        default=None,
        description=(
            "Suffix of the environment variables with this organization's credentials: "
            "PROD means MONGODB_ATLAS_CLIENT_ID_PROD and so on."
        ),
        examples=["PROD"],
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

    include: ProjectPatterns = Field(
        default=("*",),
        description="Globs on a project's name, or project ids; one must match.",
        examples=[["*"], ["sandbox-*"]],
    )
    exclude: tuple[ProjectPattern, ...] = Field(
        default=(),
        description="Globs or ids of projects to skip; overrides `include`.",
        examples=[["prod-*"]],
    )
    tags: Tags = Field(
        default=(),
        description="Tags that a project must have; all must match.",
        examples=[{"env": "sandbox"}],
    )


class PolicyFile(StrictModel):
    """The keys of a policy file."""

    version: Version = Field(description="Version of the policy format.", examples=[1])
    organizations: Annotated[tuple[OrganizationEntry, ...], Field(min_length=1)] = Field(
        description="Allow-list: projects of other organizations are never changed.",
        examples=[["5efda682a3f2ed2e7dd6cde4"]],
    )
    projects: ProjectScope = Field(
        default=ProjectScope(),
        description="Which projects are read; all by default.",
        examples=[{"exclude": ["prod-*"]}],
    )
    sources: Annotated[tuple[KnownSource, ...], Field(min_length=1)] = Field(
        default=(Source.INVITES,),
        description="Which of Atlas's lists of invitations are read.",
        examples=[list(map(str, Source))],
    )
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] = Field(
        description="An invitation is stale if any rule matches; the audit log names the first.",
        examples=[[{"name": "forgotten", "older_than": "14d"}]],
    )
    keep: tuple[Keep, ...] = Field(
        default=(),
        description="A matching entry keeps the invitation; it overrides the rules.",
        examples=[[{"name": "board", "usernames": ["*@board.example.com"]}]],
    )
    limits: Limits = Field(
        default=Limits(), description="Limits of a run.", examples=[{"max_deletions": 100}]
    )
    execution: Execution = Field(
        default=Execution(), description="How requests are sent.", examples=[{"concurrency": 20}]
    )
    audit: AuditSettings = Field(
        default=AuditSettings(),
        description="Where the audit log is, and what it records.",
        examples=[{"directory": "audit", "record": "all"}],
    )
    notice: Notice | None = Field(
        default=None,
        description="Announce an invitation first, and delete it in a later sweep.",
        examples=[{"wait": "7d"}],
    )
    notify: tuple[Notification, ...] = Field(
        default=(),
        description="Notifications about runs.",
        examples=[[{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]],
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

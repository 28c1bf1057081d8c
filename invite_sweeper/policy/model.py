"""Policy, Rule, KeepRule, Limits, Execution, Notification; JSON Schema."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from invite_sweeper.models import SOURCES_OF_USERS, Source
from invite_sweeper.policy.messages import Placeholder
from invite_sweeper.policy.types import (
    AtlasId,
    Count,
    CredentialsName,
    Day,
    Duration,
    KnownSource,
    Sentence,
    Share,
    Status,
    Tags,
    Text,
    Texts,
    Variable,
    Version,
)

# What every part of a policy has in common.


class StrictModel(BaseModel):
    """A part of the policy: no key but its own, no value turned from one type to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


# Rules and keep entries: what picks an invitation.


CONDITIONS = ("older_than", "expired", "expires_within", "statuses")
"""What makes an invitation stale by itself; a rule has one of them."""
SELECTIONS = ("usernames", "inviters", "roles", "projects")
"""What only narrows a rule; enough for a keep entry."""


def _any_required(*keys: str) -> list[JsonValue]:
    return [{"required": [key]} for key in keys]


class Matcher(StrictModel):
    """What picks an invitation: all that is given must hold."""

    name: Text = Field(description="Its name in the audit log.", examples=["forgotten"])
    older_than: Duration | None = Field(
        default=None,
        description="At least this long since the invitation was made.",
        examples=["14d", "36h", "P14D"],
    )
    expired: bool | None = Field(
        default=None,
        description="True: its end has passed. False: it has not.",
        examples=[True],
    )
    expires_within: Duration | None = Field(
        default=None,
        description="Its end has not passed, and will within this time.",
        examples=["3d"],
    )
    usernames: Texts | None = Field(
        default=None,
        description="Globs on the invited address, in quotes; any may match.",
        examples=[["*@gmail.com"]],
    )
    inviters: Texts | None = Field(
        default=None,
        description="Globs on who invited: an address, or the public key of an API key.",
        examples=[["*@contractor.example.com"]],
    )
    roles: Texts | None = Field(
        default=None,
        description="Role names; the invitation has any of them.",
        examples=[["GROUP_OWNER"]],
    )
    projects: Texts | None = Field(
        default=None,
        description="Globs on the project's name, or 24-hex ids; any may match.",
        examples=[["sandbox-*"]],
    )
    statuses: Annotated[tuple[Status, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="The invitation's status is any of them.",
        examples=[["INVITATION_EXPIRED", "INVITATION_REJECTED"]],
    )


class Rule(Matcher):
    """What makes an invitation stale. It has a condition of time or status, always."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS)})


class Keep(Matcher):
    """What keeps an invitation, whatever the rules say."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS, *SELECTIONS)})

    reason: Sentence | None = Field(
        default=None, description="Why, for the auditor.", examples=["they travel"]
    )
    until: Day | None = Field(
        default=None,
        description="The last day on which the entry holds (UTC).",
        examples=["2027-03-31"],
    )

    def is_active(self, today: date) -> bool:
        """Tell whether the entry is still in force; it is on its last day."""
        return self.until is None or today <= self.until


# Limits, execution, audit and notification: how a run is held and told of.


def _setting(*, default: object, description: str, example: object = None) -> Any:  # noqa: ANN401
    """Return a field with its default, which is its example too, unless it is not plain YAML."""
    return Field(
        default=default,
        description=description,
        examples=[default if example is None else example],
    )


class Limits(StrictModel):
    """What a run may not pass.

    Zero means zero, never "no limit"; only `max_share` says nothing where 10 or fewer are stale.
    """

    max_deletions: Count = _setting(default=100, description="Deletions in one run.")
    max_deletions_per_project: Count = _setting(
        default=25, description="Deletions in one project and one run."
    )
    max_share: Share = _setting(
        default=0.5, description="Stale among the invitations seen, where more than 10 are stale."
    )
    max_unreadable_projects: Count = _setting(
        default=10, description="With more unreadable projects than this nothing is deleted."
    )
    over_limit: Literal["refuse", "trim"] = _setting(
        default="refuse", description="More stale than a limit: refuse all, or trim to the oldest."
    )
    quarantine: bool = _setting(
        default=False,
        description="A changed policy makes the next run a dry run that shows the difference.",
    )
    max_population_drop: Share = _setting(
        default=0.3,
        description=(
            "When projects or invitations are fewer than at the last complete run by more than "
            "this share, nothing is deleted."
        ),
    )
    max_bounces: Count = _setting(
        default=3, description="An invitation that came back this often after its deletion is kept."
    )
    max_failure_share: Share = _setting(
        default=0.2,
        description="Failures among the last answers; above it the sweep stops sending.",
    )
    max_already_gone_share: Share = _setting(
        default=0.5,
        description='"Already gone" among the last answers; above it the sweep stops sending.',
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = _setting(
        default=50, description="How many of the last answers these shares count."
    )
    canary: Count = _setting(
        default=5,
        description="The first deletions, sent alone; if most fail the sweep stops. 0: none.",
    )


class Execution(StrictModel):
    """How the requests are sent."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = _setting(
        default=20, description="Requests in flight."
    )
    max_requests_per_second: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        BeforeValidator(lambda value: None if value is Placeholder.EMPTY else value),
        WithJsonSchema({"type": ["number", "null"], "exclusiveMinimum": 0}),
    ] = Field(
        default=None,
        description="A ceiling of one's own over all requests; null for none.",
        examples=[10],
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = _setting(
        default=5,
        description=(
            "Tries of one request, the first included; those that a 429 answers do not count."
        ),
    )
    deadline: Duration = _setting(
        default=timedelta(hours=1), description="For the run, from its start.", example="1h"
    )
    grace: Duration = _setting(
        default=timedelta(seconds=20),
        description="For what is in flight when a signal or the deadline comes.",
        example="20s",
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = _setting(
        default=0.1, description="The share of Atlas's rate limits that is left to other programs."
    )


class AuditSettings(StrictModel):
    """Where the audit log is."""

    path: Text = _setting(
        default="audit/invite-sweeper.jsonl",
        description="A file; it is made, with its folder, where there is none.",
    )


class Notification(StrictModel):
    """Who is told of a run. Addresses and secrets are in the environment, never here."""

    kind: Literal["slack", "webhook", "ping"] = Field(
        description="A Slack-compatible webhook, a plain one in JSON, or a dead-man ping.",
        examples=["slack"],
    )
    url_env: Variable = Field(
        description="The environment variable that holds the address.", examples=["SLACK_URL"]
    )
    secret_env: Variable | None = Field(
        default=None,
        description="For a webhook: the variable that holds the key of its signature.",
        examples=["WEBHOOK_SECRET"],
    )
    when: Literal["always", "changes", "failures"] = Field(
        default="always", description="After which runs.", examples=["failures"]
    )


# A policy that is right: frozen values, named as the keys of the file.


_INVITATION_LIFETIME = timedelta(days=30)
"""The life of an invitation of the `invites` list. Source: every recorded answer."""


class Organization(StrictModel):
    """An organization whose projects may be swept."""

    id: AtlasId = Field(
        description="The organization's id; a text of 24 hex digits, in quotes.",
        examples=["5efda682a3f2ed2e7dd6cde4"],
    )
    credentials: CredentialsName | None = Field(
        default=None,
        description=(
            "The end of the names of the environment variables that hold this organization's "
            "credentials: PROD stands for MONGODB_ATLAS_CLIENT_ID_PROD and so on."
        ),
        examples=["PROD"],
    )


def _organization_from_id(value: object) -> object:
    """Let an entry that is no mapping stand for its id."""
    return value if isinstance(value, dict | Organization) else {"id": value}


class _OrganizationIdSchema:
    """Tells editors of the short form."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": "^[0-9a-f]{24}$"}, handler(schema)]}


OrganizationEntry: TypeAlias = Annotated[
    Organization, BeforeValidator(_organization_from_id), _OrganizationIdSchema
]


class ProjectScope(StrictModel):
    """Which projects of the organizations are looked at."""

    include: Texts = Field(
        default=("*",),
        description="Globs on a project's name, or 24-hex ids; any may match.",
        examples=[["*"], ["sandbox-*"]],
    )
    exclude: tuple[Text, ...] = Field(
        default=(),
        description="The same; a project that matches is left alone, whatever include says.",
        examples=[["prod-*"]],
    )
    tags: Tags = Field(
        default=(),
        description="Keys and values; all must be on the project.",
        examples=[{"env": "sandbox"}],
    )


class PolicyFile(StrictModel):
    """What stands in the file."""

    version: Version = Field(description="The version of this format.", examples=[1])
    organizations: Annotated[tuple[OrganizationEntry, ...], Field(min_length=1)] = Field(
        description="The allow-list: a project of another organization is never touched.",
        examples=[["5efda682a3f2ed2e7dd6cde4"]],
    )
    projects: ProjectScope = Field(
        default=ProjectScope(),
        description="Which projects; by default all of them.",
        examples=[{"exclude": ["prod-*"]}],
    )
    sources: Annotated[tuple[KnownSource, ...], Field(min_length=1)] = Field(
        default=(Source.INVITES,),
        description="Which of Atlas's lists of pending people are read.",
        examples=[["invites"]],
    )
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] = Field(
        description="An invitation is stale when at least one matches; the first is named.",
        examples=[[{"name": "forgotten", "older_than": "14d"}]],
    )
    keep: tuple[Keep, ...] = Field(
        default=(),
        description="A match keeps the invitation, whatever the rules say.",
        examples=[[{"name": "board", "usernames": ["*@board.example.com"]}]],
    )
    limits: Limits = Field(
        default=Limits(), description="What a run may not pass.", examples=[{"max_deletions": 100}]
    )
    execution: Execution = Field(
        default=Execution(), description="How requests are sent.", examples=[{"concurrency": 20}]
    )
    audit: AuditSettings = Field(
        default=AuditSettings(),
        description="Where the log is.",
        examples=[{"path": "audit/invite-sweeper.jsonl"}],
    )
    notify: tuple[Notification, ...] = Field(
        default=(),
        description="Who is told of a run.",
        examples=[[{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]],
    )


class Policy(PolicyFile):
    """A policy that has no fault. `parse_policy` makes it, and checks more than the types do.

    Attributes:
        sha256: Of the file's bytes, 64 hex digits.
    """

    sha256: str

    @property
    def organization_ids(self) -> frozenset[str]:
        """The ids of the allow-list."""
        return frozenset(organization.id for organization in self.organizations)

    def warnings(self, today: date) -> tuple[str, ...]:
        """Say what is no fault and yet may not be meant; a sentence each, in the file's order.

        Args:
            today: The day of the run, in UTC.
        """
        return (
            *self._never_matching_warnings(),
            *self._pending_not_named_warnings(),
            *self._expired_keep_warnings(today),
        )

    def _never_matching_warnings(self) -> tuple[str, ...]:
        never_old_enough = [
            f"The rule `{rule.name}` may never match: Atlas ends an invitation of the `invites` "
            f"list after {_INVITATION_LIFETIME.days} days."
            for rule in self.rules
            if rule.older_than is not None and rule.older_than >= _INVITATION_LIFETIME
        ]
        contradictory = [
            f"`{entry.name}` never matches: what has expired does not expire within a time to come."
            for entry in (*self.rules, *self.keep)
            if entry.expired and entry.expires_within is not None
        ]
        return (*(never_old_enough if Source.INVITES in self.sources else ()), *contradictory)

    def _pending_not_named_warnings(self) -> tuple[str, ...]:
        lists = [source.value for source in self.sources if source in SOURCES_OF_USERS]
        return tuple(
            f"The rule `{rule.name}` names no status, so PENDING people of {' and '.join(lists)} "
            "are kept: deleting them removes the person. Add statuses: [PENDING, …] to include them."
            for rule in self.rules
            if lists and rule.statuses is None
        )

    def _expired_keep_warnings(self, today: date) -> tuple[str, ...]:
        return tuple(
            f"The keep entry `{entry.name}` ended on {entry.until} and no longer holds."
            for entry in self.keep
            if not entry.is_active(today)
        )


# The policy's JSON Schema, for editors.


_SCHEMA_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors with YAML support read."""


def json_schema() -> dict[str, object]:
    """Describe a policy file for an editor: keys, types, words, examples, defaults.

    It is a little wider than `parse_policy`: what only the whole file shows (names that
    stand twice, characters that nobody sees) is left to that.
    """
    schema: dict[str, object] = PolicyFile.model_json_schema(schema_generator=_FileSchemaGenerator)
    return {"$schema": _SCHEMA_DRAFT, **schema, "title": "Policy of invite-sweeper"}


class _FileSchemaGenerator(GenerateJsonSchema):
    """Describes files, where a key that has no value is left out and never null."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") in (None, ()):  # Nothing that an editor could fill in.
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    @override
    def field_title_should_be_set(self, schema: object) -> bool:
        return False

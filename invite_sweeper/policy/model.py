"""The parts of the policy as frozen models, named as the keys of the file."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from invite_sweeper.policy.types import (
    AtlasId,
    Count,
    CredentialsName,
    Day,
    DirectoryPath,
    Duration,
    DurationOrZero,
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
)


def described(default: object, description: str, *examples: object) -> Any:  # noqa: ANN401
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

    name: Text = described(..., "Name in the audit log.", "forgotten")
    older_than: Duration | None = described(
        None, "Minimum age of the invitation.", "14d", "36h", "P14D"
    )
    expired: bool | None = Field(
        default=None,
        description="True: the invitation has expired. False: it has not.",
        examples=[True],
    )
    expires_within: Duration | None = described(
        None, "The invitation has not expired and will within this time.", "3d"
    )
    usernames: UsernamePatterns | None = described(
        None, "Quoted globs on the invited address; one must match.", ["*@gmail.com"]
    )
    inviters: Texts | None = described(
        None,
        "Globs on the inviter: an address, or an API key's public key; one must match.",
        ["*@contractor.example.com"],
    )
    roles: Texts | None = described(
        None, "Role names; the invitation must have one of them.", ["GROUP_OWNER"]
    )
    projects: ProjectPatterns | None = described(
        None, "Globs on the project's name, or project ids; one must match.", ["sandbox-*"]
    )
    statuses: Annotated[tuple[Status, ...], Field(min_length=1)] | None = described(
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

    reason: Sentence | None = described(None, "The reason, for the auditor.", "they travel")
    until: Day | None = described(
        None, "The last day (UTC) on which the entry applies.", "2027-03-31"
    )

    def is_active(self, today: date) -> bool:
        """Return whether the entry applies on `today`; it does on its last day."""
        return self.until is None or today <= self.until


class Limits(StrictModel):
    """The limits of a run; each is inclusive.

    0 means zero, never "no limit". Two are ignored for small numbers, even if they are 0:
    `max_share` when 10 or fewer are stale, `max_population_drop` for a count of 10 or fewer.
    """

    max_deletions: Count = described(100, "Maximum deletions within `period`.")
    max_deletions_per_project: Count = described(25, "Maximum deletions in one project in a run.")
    max_share: Share = described(
        0.5, "Maximum stale share of all invitations; ignored when 10 or fewer are stale."
    )
    max_unreadable_projects: Count = described(
        10, "Maximum unreadable projects; above it, nothing is deleted."
    )
    period: DurationOrZero = described(
        timedelta(hours=20),
        "Time within which the deletions of earlier runs count; 0s: none do.",
        "20h",
    )
    over_limit: Literal["refuse", "trim"] = described(
        "refuse", "Above a limit: refuse all deletions, or trim to the oldest invitations."
    )
    max_population_drop: Share = described(
        0.3,
        "Maximum drop in projects or invitations since the last complete run, as a share; "
        "above it, nothing is deleted.",
    )
    max_bounces: Count = described(
        3, "Keep an invitation that was re-created after this many deletions."
    )
    max_failure_share: Share = described(
        0.2, "Maximum failure share of the last responses; above it, the run stops."
    )
    max_already_gone_share: Share = described(
        0.5, 'Maximum "already gone" share of the last responses; above it, the run stops.'
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = described(
        50, "Number of last responses that these two shares are computed from."
    )
    canary: Count = described(
        5, "Deletions to send first; if most of them fail, the run stops. 0: none."
    )


class Execution(StrictModel):
    """Concurrency, rate, retries and timeouts of requests."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = described(
        20, "Maximum requests in flight."
    )
    max_requests_per_second: Rate = described(
        None, "Maximum rate of all requests; null for no limit.", 10
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = described(
        5, "Maximum attempts of one request, including the first; a 429 does not count as one."
    )
    deadline: Duration = described(timedelta(hours=1), "Maximum duration of the run.", "1h")
    grace: Duration = described(
        timedelta(seconds=20),
        "Time for requests in flight to finish after a signal or the deadline.",
        "20s",
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = described(
        0.1, "Share of Atlas's rate limits left to other programs."
    )


class AuditSettings(StrictModel):
    """Settings of the audit log."""

    directory: DirectoryPath = described(
        "audit",
        "Directory with one file for each run, relative to the policy's folder; "
        "created if missing.",
    )
    record: Literal["planned", "all"] = described(
        "planned", "all: a line for every kept invitation, too, with its reason."
    )
    stdout: bool = described(
        default=False,
        description="true: each line on standard output as well, for the logs of a container.",
    )


class Notice(StrictModel):
    """Announces an invitation before a later sweep deletes it."""

    wait: Duration = described(..., "Minimum time between the announcement and the deletion.", "7d")


class Notification(StrictModel):
    """A notification about a run. URLs and secrets are in the environment, never here."""

    kind: Literal["slack", "webhook", "ping"] = described(
        ..., "A Slack-compatible webhook, a plain JSON webhook, or a dead-man ping.", "slack"
    )
    url_env: Variable = described(
        ..., "Name of the environment variable with the URL.", "SLACK_URL"
    )
    secret_env: Variable | None = described(
        None,
        "For `webhook`: name of the environment variable with the signing key.",
        "WEBHOOK_SECRET",
    )
    when: Literal["always", "changes", "failures"] = described(
        "always", "Runs to notify about.", "failures"
    )
    details: bool = Field(
        default=False,
        description="Name up to 10 of the planned invitations' users; otherwise no user is named.",
        examples=[True],
    )


class Organization(StrictModel):
    """An organization whose projects may be swept."""

    id: AtlasId = described(
        ..., "The organization's id: 24 hex digits, in quotes.", "5efda682a3f2ed2e7dd6cde4"
    )
    credentials: CredentialsName | None = described(
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

    include: ProjectPatterns = described(
        ("*",), "Globs on a project's name, or project ids; one must match.", ["*"], ["sandbox-*"]
    )
    exclude: tuple[ProjectPattern, ...] = described(
        (), "Globs or ids of projects to skip; overrides `include`.", ["prod-*"]
    )
    tags: Tags = described({}, "Tags that a project must have; all must match.", {"env": "sandbox"})

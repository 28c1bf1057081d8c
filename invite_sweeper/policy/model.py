"""The parts of the policy as frozen models, named as the keys of the file.

An invitation is deleted only if a rule matches it and no keep entry does. Of a rule or an entry,
all conditions must match; a condition about a value that Atlas did not send keeps the invitation.
Limits, notice and guards can only keep more.
"""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from invite_sweeper.policy import types


def key(default: object, description: str, *examples: object) -> Any:  # noqa: ANN401  of any type
    """Return a key of the file.

    Args:
        default: `...` for a key that is required.
        examples: In plain YAML; by default the default.
    """
    return Field(default=default, description=description, examples=[*examples] or [default])


class StrictModel(BaseModel):
    """A part of the policy that allows no unknown keys and converts no types."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        defer_build=True,  # only `Policy` is parsed: its parts need no validator of their own
    )


CONDITIONS = ("older_than", "expired", "expires_within", "statuses", "inviter_gone")
"""Conditions that make an invitation stale. A rule needs at least one."""
SELECTIONS = ("usernames", "not_usernames", "inviters", "roles", "projects", "organizations")
"""Conditions that only narrow a rule. One is enough for a keep entry."""


def _any_required(*keys: str) -> list[JsonValue]:
    return [{"required": [key]} for key in keys]


class Conditions(StrictModel):
    """Selects invitations. All of its conditions must match."""

    name: types.Text = key(..., "Name in the audit log.", "forgotten")
    older_than: types.Duration | None = key(
        None, "Minimum age of the invitation.", "14d", "36h", "P14D"
    )
    expired: bool | None = Field(
        default=None,
        description="True: the invitation has expired. False: it has not.",
        examples=[True],
    )
    expires_within: types.Duration | None = key(
        None, "The invitation has not expired and will within this time.", "3d"
    )
    usernames: types.OneOrMore[types.UsernamePattern] | None = key(
        None, "Quoted globs on the invited address; one must match.", ["*@gmail.com"]
    )
    not_usernames: types.OneOrMore[types.OwnPattern] | None = key(
        None,
        "Quoted globs on the invited address; none may match, as for all people outside the "
        "company's own domains.",
        ["*@example.com"],
    )
    inviters: types.OneOrMore[types.Text] | None = key(
        None,
        "Globs on the inviter: an address, or an API key's public key; one must match.",
        ["*@contractor.example.com"],
    )
    roles: types.OneOrMore[types.Text] | None = key(
        None, "Role names; the invitation must have one of them.", ["GROUP_OWNER"]
    )
    projects: types.OneOrMore[types.ProjectPattern] | None = key(
        None, "Globs on the project's name, or project ids; one must match.", ["sandbox-*"]
    )
    organizations: types.OneOrMore[types.OrganizationPattern] | None = key(
        None, "Globs on the organization's name, or ids; one must match.", ["Acme Sandbox*"]
    )
    statuses: types.OneOrMore[types.InvitedStatus] | None = key(
        None,
        "Statuses; the invitation must have one of them. All by default. Rows of invites and "
        "org_invites are PENDING until they expire.",
        ["INVITATION_EXPIRED", "INVITATION_REJECTED"],
    )
    inviter_gone: types.OnlyTrue | None = Field(
        default=None,
        description="The inviter is an address that no active member of the organization has; "
        "where that is not known, the invitation is kept.",
        examples=[True],
    )


class Rule(Conditions):
    """Makes an invitation stale. Needs at least one time or status condition."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS)})


class Keep(Conditions):
    """Keeps an invitation; overrides the rules."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _any_required(*CONDITIONS, *SELECTIONS)})

    reason: types.Sentence | None = key(None, "The reason, for the auditor.", "they travel")
    until: types.Day | None = key(
        None, "The last day (UTC) on which the entry applies.", "2027-03-31"
    )

    def is_active(self, today: date) -> bool:
        """Return whether the entry applies on `today`; it does on its last day."""
        return self.until is None or today <= self.until


class Limits(StrictModel):
    """The limits of a run; each is inclusive.

    0 means zero, never "no limit"; `max_share` is ignored when 10 or fewer are stale, even if it
    is 0.
    """

    max_deletions: types.Count = key(
        100, "Maximum deletions within `period`, by all runs of the audit directory together."
    )
    max_deletions_per_project: types.Count = key(
        25,
        "Maximum deletions in one project, or in the lists of one organization, within `period`, "
        "by all runs of the audit directory together.",
    )
    max_share: types.Share = key(
        0.5, "Maximum stale share of all invitations; ignored when 10 or fewer are stale."
    )
    max_unreadable_projects: types.Count = key(
        10, "Maximum unreadable projects; above it, nothing is deleted."
    )
    period: types.DurationOrZero = key(
        timedelta(hours=20),
        "Time within which the deletions of earlier runs count; 0s: none do.",
        "20h",
    )
    over_limit: Literal["refuse", "trim"] = key(
        "refuse", "Above a limit: refuse all deletions, or trim to the oldest invitations."
    )
    max_failure_share: types.Share = key(
        0.2, "Maximum failure share of the last responses; above it, the run stops."
    )
    max_already_gone_share: types.Share = key(
        0.5, 'Maximum "already gone" share of the last responses; above it, the run stops.'
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = key(
        50, "Number of last responses that these two shares are computed from."
    )
    canary: types.Count = key(
        5, "Deletions to send first; if most of them fail, the run stops. 0: none."
    )


class Execution(StrictModel):
    """Concurrency, rate, retries and timeouts of requests."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = key(20, "Maximum requests in flight.")
    max_requests_per_second: types.Rate = key(
        None, "Maximum rate of all requests; null for no limit.", 10
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = key(
        5, "Maximum attempts of one request, including the first; a 429 does not count as one."
    )
    deadline: types.Duration = key(timedelta(hours=1), "Maximum duration of the run.", "1h")
    grace: types.Duration = key(
        timedelta(seconds=20),
        "Time for requests in flight to finish after a signal or the deadline.",
        "20s",
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = key(
        0.1, "Share of Atlas's rate limits left to other programs."
    )


class AuditSettings(StrictModel):
    """Settings of the audit log."""

    directory: types.DirectoryPath = key(
        "audit",
        "Directory with one file for each run, relative to the policy's folder; "
        "created if missing.",
    )
    record: Literal["planned", "all"] = key(
        "planned", "all: a line for every kept invitation, too, with its reason."
    )
    stdout: bool = key(
        default=False,
        description="true: each line on standard output as well, for the logs of a container.",
    )


class NoticeSettings(StrictModel):
    """Announces an invitation before a later sweep deletes it."""

    wait: types.Wait = key(
        ..., "Minimum time between the announcement and the deletion, up to 90 days.", "7d"
    )


ReceiverKind: TypeAlias = Literal["slack", "teams", "webhook", "ping"]
SIGNING_KIND: ReceiverKind = "webhook"
"""The kind whose messages are signed with the key in `secret_env`."""
UNSIGNED: Final = "unsigned"
NOT_SIGNED: Final = "not_signed"
"""Errors: no such key for that kind, and one for another."""


class Notification(StrictModel):
    """A notification about a run. URLs and secrets are in the environment, never here."""

    kind: ReceiverKind = key(
        ...,
        "A Slack-compatible webhook, a Teams workflow, a plain JSON webhook, or a dead-man ping.",
        "slack",
    )
    url_env: types.Variable = key(
        ...,
        "Name of the environment variable with the URL; one for each receiver, which metrics know "
        "by that name.",
        "SLACK_URL",
    )
    secret_env: types.Variable | None = Field(
        default=None,
        description="For `webhook`: name of the environment variable with the signing key.",
        examples=["WEBHOOK_SECRET"],
        validate_default=True,
    )
    when: Literal["always", "changes", "failures"] = key(
        "always", "Runs to notify about.", "failures"
    )
    details: bool = Field(
        default=False,
        description="Name up to 10 users whose invitation is planned, and 10 whose is announced (a "
        "webhook gets all that are announced); otherwise no user is named.",
        examples=[True],
    )

    @field_validator("secret_env")
    @classmethod
    def _only_for_webhooks(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")  # a kind that is not valid is an error of its own
        if kind == SIGNING_KIND and value is None:
            raise PydanticCustomError(UNSIGNED, "missing")
        if kind not in (None, SIGNING_KIND) and value is not None:
            raise PydanticCustomError(NOT_SIGNED, "not needed")
        return value


class Organization(StrictModel):
    """An organization whose projects may be swept."""

    id: types.AtlasId = key(
        ..., "The organization's id: 24 hex digits, in quotes.", "5efda682a3f2ed2e7dd6cde4"
    )
    credentials: types.CredentialsName | None = key(
        None,
        "Suffix of the environment variables with this organization's credentials: "
        "PROD means MONGODB_ATLAS_CLIENT_ID_PROD and so on.",
        "PROD",
    )


def _organization_from_id(value: object) -> object:
    """Return an entry that is not a mapping as a mapping with that id."""
    return value if isinstance(value, dict) else {"id": value}


OrganizationEntry: TypeAlias = Annotated[
    Organization,
    BeforeValidator(_organization_from_id, json_schema_input_type=types.AtlasId | Organization),
]


class ProjectScope(StrictModel):
    """Which projects of the organizations are read."""

    include: types.OneOrMore[types.ProjectPattern] = key(
        ("*",), "Globs on a project's name, or project ids; one must match.", ["*"], ["sandbox-*"]
    )
    exclude: tuple[types.ProjectPattern, ...] = key(
        (), "Globs or ids of projects to skip; overrides `include`.", ["prod-*"]
    )
    tags: dict[types.Text, types.Text] = key(
        {}, "Tags that a project must have; all must match.", {"env": "sandbox"}
    )

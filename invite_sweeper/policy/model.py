"""A policy that is right: frozen values, named as the keys of the file."""

from datetime import date, timedelta
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from invite_sweeper.inventory import Source
from invite_sweeper.policy.fields import (
    AtlasId,
    CredentialsName,
    KnownSource,
    Tags,
    Text,
    Texts,
    Version,
)
from invite_sweeper.policy.matchers import Keep, Rule
from invite_sweeper.policy.part import Part
from invite_sweeper.policy.settings import AuditSettings, Execution, Limits, Notification

_ATLAS_ENDS_AFTER = timedelta(days=30)
"""The life of an invitation of the `invites` list. Source: every recorded answer."""


class Organization(Part):
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


def _organization(value: object) -> object:
    """Let an entry that is no mapping stand for its id."""
    return value if isinstance(value, dict | Organization) else {"id": value}


class _OrId:
    """Tells editors of the short form."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": "^[0-9a-f]{24}$"}, handler(schema)]}


OrganizationEntry: TypeAlias = Annotated[Organization, BeforeValidator(_organization), _OrId]


class ProjectScope(Part):
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


class PolicyFile(Part):
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
        return (*self._never_matching(), *self._ended(today))

    def _never_matching(self) -> tuple[str, ...]:
        old = [
            f"The rule `{rule.name}` may never match: Atlas ends an invitation of the `invites` "
            f"list after {_ATLAS_ENDS_AFTER.days} days."
            for rule in self.rules
            if rule.older_than is not None and rule.older_than >= _ATLAS_ENDS_AFTER
        ]
        never = [
            f"`{entry.name}` never matches: what has expired does not expire within a time to come."
            for entry in (*self.rules, *self.keep)
            if entry.expired and entry.expires_within is not None
        ]
        return (*(old if Source.INVITES in self.sources else ()), *never)

    def _ended(self, today: date) -> tuple[str, ...]:
        return tuple(
            f"The keep entry `{entry.name}` ended on {entry.until} and no longer holds."
            for entry in self.keep
            if not entry.holds(today)
        )

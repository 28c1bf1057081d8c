"""Rules and keep entries: what picks an invitation."""

from datetime import date
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from invite_sweeper.policy.fields import Day, Duration, Sentence, Status, Text, Texts
from invite_sweeper.policy.part import Part

CONDITIONS = ("older_than", "expired", "expires_within", "statuses")
"""What makes an invitation stale by itself; a rule has one of them."""
SELECTIONS = ("usernames", "inviters", "roles", "projects")
"""What only narrows a rule; enough for a keep entry."""


def _one_of(*keys: str) -> list[JsonValue]:
    return [{"required": [key]} for key in keys]


class Matcher(Part):
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

    model_config = ConfigDict(json_schema_extra={"anyOf": _one_of(*CONDITIONS)})


class Keep(Matcher):
    """What keeps an invitation, whatever the rules say."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _one_of(*CONDITIONS, *SELECTIONS)})

    reason: Sentence | None = Field(
        default=None, description="Why, for the auditor.", examples=["they travel"]
    )
    until: Day | None = Field(
        default=None,
        description="The last day on which the entry holds (UTC).",
        examples=["2027-03-31"],
    )

    def holds(self, today: date) -> bool:
        """Tell whether the entry is still in force; it is on its last day."""
        return self.until is None or today <= self.until

"""Limits, execution, audit and notification: how a run is held and told of."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from invite_sweeper.policy.fields import Count, Duration, Share, Text, Variable
from invite_sweeper.policy.part import Part
from invite_sweeper.policy.words import Mark


class Limits(Part):
    """What a run may not pass.

    Zero means zero, never "no limit"; only `max_share` says nothing where 10 or fewer are stale.
    """

    max_deletions: Count = Field(default=100, description="Deletions in one run.", examples=[100])
    max_deletions_per_project: Count = Field(
        default=25, description="Deletions in one project and one run.", examples=[25]
    )
    max_share: Share = Field(
        default=0.5,
        description="Stale among the invitations seen, where more than 10 are stale.",
        examples=[0.5],
    )
    max_unreadable_projects: Count = Field(
        default=10,
        description="With more unreadable projects than this nothing is deleted.",
        examples=[10],
    )
    over_limit: Literal["refuse", "trim"] = Field(
        default="refuse",
        description="More stale than a limit: refuse all, or trim to the oldest.",
        examples=["refuse"],
    )
    quarantine: bool = Field(
        default=False,
        description="A changed policy makes the next run a dry run that shows the difference.",
        examples=[False],
    )
    max_population_drop: Share = Field(
        default=0.3,
        description=(
            "When projects or invitations are fewer than at the last complete run by more than "
            "this share, nothing is deleted."
        ),
        examples=[0.3],
    )
    max_bounces: Count = Field(
        default=3,
        description="An invitation that came back this often after its deletion is kept.",
        examples=[3],
    )
    max_failure_share: Share = Field(
        default=0.2,
        description="Failures among the last answers; above it the sweep stops sending.",
        examples=[0.2],
    )
    max_already_gone_share: Share = Field(
        default=0.5,
        description='"Already gone" among the last answers; above it the sweep stops sending.',
        examples=[0.5],
    )
    breaker_window: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=50, description="How many of the last answers these shares count.", examples=[50]
    )
    canary: Count = Field(
        default=5,
        description="The first deletions, sent alone; if most fail the sweep stops. 0: none.",
        examples=[5],
    )


class Execution(Part):
    """How the requests are sent."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=20, description="Requests in flight.", examples=[20]
    )
    max_requests_per_second: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        BeforeValidator(lambda value: None if value is Mark.EMPTY else value),
        WithJsonSchema({"type": ["number", "null"], "exclusiveMinimum": 0}),
    ] = Field(
        default=None,
        description="A ceiling of one's own over all requests; null for none.",
        examples=[10],
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=5,
        description=(
            "Tries of one request, the first included; those that a 429 answers do not count."
        ),
        examples=[5],
    )
    deadline: Duration = Field(
        default=timedelta(hours=1), description="For the run, from its start.", examples=["1h"]
    )
    grace: Duration = Field(
        default=timedelta(seconds=20),
        description="For what is in flight when a signal or the deadline comes.",
        examples=["20s"],
    )
    reserve: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = Field(
        default=0.1,
        description="The share of Atlas's rate limits that is left to other programs.",
        examples=[0.1],
    )


class AuditSettings(Part):
    """Where the audit log is."""

    path: Text = Field(
        default="audit/invite-sweeper.jsonl",
        description="A file; it is made, with its folder, where there is none.",
        examples=["audit/invite-sweeper.jsonl"],
    )


class Notification(Part):
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

"""Limits, execution, audit and notification: how a run is held and told of."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from invite_sweeper.policy.fields import Count, Duration, Share, Text, Variable
from invite_sweeper.policy.part import Part
from invite_sweeper.policy.words import Mark


def _setting(*, default: object, description: str, example: object = None) -> Any:  # noqa: ANN401
    """Return a field with its default, which is its example too, unless it is not plain YAML."""
    return Field(
        default=default,
        description=description,
        examples=[default if example is None else example],
    )


class Limits(Part):
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


class Execution(Part):
    """How the requests are sent."""

    concurrency: Annotated[int, Field(ge=1, le=1_000)] = _setting(
        default=20, description="Requests in flight."
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


class AuditSettings(Part):
    """Where the audit log is."""

    path: Text = _setting(
        default="audit/invite-sweeper.jsonl",
        description="A file; it is made, with its folder, where there is none.",
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

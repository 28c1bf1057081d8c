"""The options that several commands share, spelt once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from invite_sweeper.errors import ExitCode


class Output(StrEnum):
    """What stdout carries."""

    TEXT = "text"
    JSON = "json"


PolicyPath: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--policy",
        envvar="INVITE_SWEEPER_POLICY",
        help="The policy.",
        metavar="PATH",
    ),
]
BaseUrl: TypeAlias = Annotated[
    str,
    typer.Option(
        "--base-url",
        envvar="MONGODB_ATLAS_BASE_URL",
        help="Where Atlas is; https only, but for loopback.",
        metavar="URL",
    ),
]
AuditPath: TypeAlias = Annotated[
    str | None,
    typer.Option("--audit-log", help="The audit log, instead of the policy's.", metavar="PATH"),
]
PlanOut: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", help="Save the plan, for sweep --plan.", metavar="FILE"),
]
Format: TypeAlias = Annotated[
    Output, typer.Option("--output", help="What stdout carries.", case_sensitive=False)
]
DetailedExitCode: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--detailed-exitcode",
        help=f"A dry run that finds stale invitations ends with {ExitCode.STALE}.",
    ),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Ask no question on a terminal.")]
ShardOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Take part I of N of the projects; auto/N reads JOB_COMPLETION_INDEX.",
        metavar="I/N",
    ),
]
MetricsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--metrics-file", help="Write a Prometheus textfile.", metavar="PATH"),
]
Pushgateway: TypeAlias = Annotated[
    str | None,
    typer.Option("--pushgateway", help="Push the metrics there, too.", metavar="URL"),
]
Deadline: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--deadline", help="End the run after this long, as 30m or 1h.", metavar="DURATION"
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("-q", "--quiet", help="No result as text; warnings and errors alone.")
]
Verbose: TypeAlias = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say more; a run names what it keeps.")
]

SavedPlanFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--plan", help="Keep to what this saved plan lists.", metavar="FILE"),
]
PlanMaxAge: TypeAlias = Annotated[
    str, typer.Option("--plan-max-age", help="How old the plan may be.", metavar="DURATION")
]
RequireApproval: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--require-approval",
        help="The plan must be signed by the holder of this public key.",
        metavar="KEYFILE",
    ),
]
AcceptPolicy: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--accept-policy", help="Lift the quarantine of this policy once.", metavar="SHA256"
    ),
]
AcceptPopulation: TypeAlias = Annotated[
    bool,
    typer.Option("--accept-population", help="Let a fall of projects or invitations pass once."),
]

DEFAULT_POLICY = Path("config/policy.yaml")
DEFAULT_BASE_URL = "https://cloud.mongodb.com"
DEFAULT_PLAN_MAX_AGE = "24h"

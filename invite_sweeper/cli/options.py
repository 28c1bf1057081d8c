"""Options that several commands share, and the layout of `--help`."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from itertools import chain, repeat
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

import typer

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import RunError

TARGET: Final = "Target"
SAFETY: Final = "Safety"
OUTPUT: Final = "Output"
INTEGRATION: Final = "Integration"
_SECTIONS: Final = ("Arguments", TARGET, SAFETY, OUTPUT, INTEGRATION, "Options")

DOCUMENTATION: Final = "Documentation: invite-sweeper help TOPIC"
MAX_WIDTH: Final = 200
"""Of `--help`, which is as wide as the terminal; longer lines are hard to read."""
_MIN_TEXT: Final = 20


def with_sections(command: Any) -> Any:  # noqa: ANN401
    """Return a command, or a group with its commands, whose `--help` has this layout.

    They are typed as Any: Typer keeps those types private.
    """
    command.format_options = lambda ctx, formatter: _write_options(command, ctx, formatter)
    command.epilog = f"{command.epilog}\n\n{DOCUMENTATION}" if command.epilog else DOCUMENTATION
    for each in getattr(command, "commands", {}).values():
        with_sections(each)
    return command


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
    """Write each section that has options; `rich_help_panel` names the section of an option."""
    sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            name = record[0].partition(" <")[0]  # without its Python type
            sections["Arguments"].append((name, record[1]))
        else:
            section = getattr(parameter, "rich_help_panel", None) or "Options"
            sections[section].append(record)
    for name, records in sections.items():
        if records:
            with formatter.section(name):
                _write_records(records, formatter)
    if commands := getattr(command, "commands", {}):
        with formatter.section("Commands"):
            _write_records(
                [(name, each.get_short_help_str(MAX_WIDTH)) for name, each in commands.items()],
                formatter,
            )


def _write_records(records: Sequence[tuple[str, str]], formatter: Any) -> None:  # noqa: ANN401
    """Write two columns; unlike Typer's, they never break an option's name at a hyphen."""
    indent = " " * formatter.current_indent
    column = 2 + max(len(name) for name, _ in records)
    width = max(formatter.width - len(indent) - column, _MIN_TEXT)
    for name, text in records:
        lines = wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
        for first, line in zip(chain([name], repeat("")), lines, strict=False):
            formatter.write(f"{indent}{first:<{column}}{line}\n")


class LogFormat(StrEnum):
    """The format of the log on stderr."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class Output(StrEnum):
    """The format of the result on stdout."""

    TEXT = "text"
    JSON = "json"


PolicyPath: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--policy",
        envvar="INVITE_SWEEPER_POLICY",
        help="The policy file.",
        metavar="PATH",
        rich_help_panel=TARGET,
    ),
]
BaseUrl: TypeAlias = Annotated[
    str,
    typer.Option(
        "--base-url",
        envvar="MONGODB_ATLAS_BASE_URL",
        help="The URL of Atlas; https, except for loopback.",
        metavar="URL",
        rich_help_panel=TARGET,
    ),
]
AuditPath: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--audit-log",
        help="The audit log; overrides the policy's path.",
        metavar="PATH",
        rich_help_panel=OUTPUT,
    ),
]
PlanOut: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Save the plan for sweep --plan.", metavar="FILE", rich_help_panel=OUTPUT
    ),
]
OutputOption: TypeAlias = Annotated[
    Output,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="Format of the result on stdout: text or json.",
        case_sensitive=False,
        rich_help_panel=OUTPUT,
    ),
]
LogFormatOption: TypeAlias = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        metavar="FORMAT",
        help="Format of the log on stderr: auto, text or json; auto is text on a terminal and "
        "JSON elsewhere.",
        case_sensitive=False,
        rich_help_panel=OUTPUT,
    ),
]
DetailedExitCode: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--detailed-exitcode",
        help=f"A dry run that finds stale invitations ends with {ExitCode.STALE}.",
        rich_help_panel=OUTPUT,
    ),
]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do not ask for confirmation.", rich_help_panel=SAFETY)
]
ShardOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Process part I of N of the policy's credentials, with their organizations; "
        "auto/N reads JOB_COMPLETION_INDEX.",
        metavar="I/N",
        rich_help_panel=TARGET,
    ),
]
PopulationOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--population",
        help="Write every invitation seen and its decision to FILE.csv or FILE.jsonl.",
        metavar="FILE",
        rich_help_panel=OUTPUT,
    ),
]
MetricsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        help="Write a Prometheus textfile.",
        metavar="PATH",
        rich_help_panel=INTEGRATION,
    ),
]
Pushgateway: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--pushgateway",
        help="Push the metrics to this URL.",
        metavar="URL",
        rich_help_panel=INTEGRATION,
    ),
]
Deadline: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        help="Stop the run after this time, such as 30m or 1h.",
        metavar="DURATION",
        rich_help_panel=SAFETY,
    ),
]
Quiet: TypeAlias = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", help="Print nothing but what needs attention.", rich_help_panel=OUTPUT
    ),
]
Verbose: TypeAlias = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Print more; a run lists the invitations it keeps.",
        rich_help_panel=OUTPUT,
    ),
]

SavedPlanFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        help="Delete only what this saved plan lists.",
        metavar="FILE",
        rich_help_panel=SAFETY,
    ),
]
PlanMaxAge: TypeAlias = Annotated[
    str,
    typer.Option(
        "--plan-max-age",
        help="Maximum age of the plan.",
        metavar="DURATION",
        rich_help_panel=SAFETY,
    ),
]
RequireApproval: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--require-approval",
        help="Require the plan's signature by this public key.",
        metavar="KEYFILE",
        rich_help_panel=SAFETY,
    ),
]
AcceptPolicy: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--accept-policy",
        help="Accept this policy: no quarantine for this run.",
        metavar="SHA256",
        rich_help_panel=SAFETY,
    ),
]
AcceptPopulation: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--accept-population",
        help="Ignore a drop in projects or invitations for this run.",
        rich_help_panel=SAFETY,
    ),
]
CheckpointFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint-file",
        help="Write the signed end of the run here, too; not on the audit log's disk.",
        metavar="PATH",
        rich_help_panel=INTEGRATION,
    ),
]
NewLog: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--new-log",
        help="Start a new audit log: its earlier files are not here, on purpose.",
        rich_help_panel=OUTPUT,
    ),
]
PublicKeys: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="The end of every run must be signed by this key; repeat it after a rotation.",
    ),
]
SignedFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--signed-from", metavar="ID", help="The first signed run; the runs before it are not."
    ),
]

DEFAULT_POLICY = Path("config/policy.yaml")
DEFAULT_BASE_URL = "https://cloud.mongodb.com"
DEFAULT_PLAN_MAX_AGE = "24h"


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def offline(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorate a command that never calls Atlas: its errors have no consequence to report."""

    @wraps(command)
    def run(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        try:
            return command(*arguments, **options)
        except RunError as error:
            error.consequence = ""
            raise

    return run


def require_command(ctx: typer.Context) -> None:
    """Show the help of a group of commands and exit with 2, if no command was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(int(ExitCode.USAGE))


class SavedPlanOptions(NamedTuple):
    """The saved plan that a sweep must not exceed.

    Attributes:
        require_approval: The public key that must have signed the plan.
    """

    path: Path
    max_age: timedelta
    require_approval: Path | None = None


class RunOptions(NamedTuple):
    """The options of `sweep` and `plan`; `explain`, `doctor` and `restore` use a part of them.

    Attributes:
        out: Where to save the plan.
        quiet_progress: Print the result but neither progress nor messages below a warning.
    """

    policy: Path = DEFAULT_POLICY
    base_url: str = DEFAULT_BASE_URL
    audit_log: str | None = None
    dry_run: bool = False
    out: Path | None = None
    plan: SavedPlanOptions | None = None
    accept_policy: str | None = None
    accept_population: bool = False
    output: Output = Output.TEXT
    detailed_exitcode: bool = False
    yes: bool = False
    shard: str | None = None
    population: str | None = None
    metrics_file: Path | None = None
    pushgateway: str | None = None
    deadline: str | None = None
    log_format: LogFormat = LogFormat.AUTO
    quiet: bool = False
    verbose: bool = False
    quiet_progress: bool = False
    checkpoint_file: Path | None = None
    new_log: bool = False

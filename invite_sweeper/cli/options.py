"""Options that several commands share, and the layout of `--help`."""

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from enum import StrEnum
from functools import wraps
from itertools import chain, repeat
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, get_args, get_type_hints

import typer

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import RunError

_Command: TypeAlias = Callable[..., None]

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


DEFAULT_POLICY: Final = Path("config/policy.yaml")
DEFAULT_BASE_URL: Final = "https://cloud.mongodb.com"
DEFAULT_PLAN_MAX_AGE: Final = "24h"


def value(panel: str | None, metavar: str, text: str, *names: str, **more: Any) -> Any:  # noqa: ANN401
    """Return an option with a value, named after its parameter unless it has names.

    Args:
        panel: Its section of `--help`; None for the plain one.
        metavar: What `--help` calls its value.
        text: What `--help` says of it.
    """
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **more)


def flag(panel: str | None, text: str, *names: str) -> Any:  # noqa: ANN401
    """Return an option without a value."""
    return typer.Option(*names, help=text, rich_help_panel=panel)


OutputOption: TypeAlias = Annotated[
    Output,
    value(
        OUTPUT,
        "FORMAT",
        "Format of the result on stdout: text or json.",
        "-o",
        "--output",
        case_sensitive=False,
    ),
]
Yes: TypeAlias = Annotated[bool, flag(SAFETY, "Do not ask for confirmation.", "--yes")]
PlanMaxAge: TypeAlias = Annotated[str, value(SAFETY, "DURATION", "Maximum age of the plan.")]


class RunOptions(NamedTuple):
    """The options of `sweep` and `plan`, in the order of `--help`; `takes` gives a command some.

    Attributes:
        quiet_progress: Not an option: print neither progress nor messages below a warning.
    """

    policy: Annotated[
        Path, value(TARGET, "PATH", "The policy file.", envvar="INVITE_SWEEPER_POLICY")
    ] = DEFAULT_POLICY
    base_url: Annotated[
        str,
        value(
            TARGET,
            "URL",
            "The URL of Atlas; https, except for loopback.",
            envvar="MONGODB_ATLAS_BASE_URL",
        ),
    ] = DEFAULT_BASE_URL
    audit_log: Annotated[
        str | None, value(OUTPUT, "PATH", "The audit log; overrides the policy's path.")
    ] = None
    new_log: Annotated[
        bool,
        flag(
            OUTPUT,
            "Start a new audit log: its earlier files are not here, on purpose.",
            "--new-log",
        ),
    ] = False
    dry_run: Annotated[bool, flag(SAFETY, "Write the plan and delete nothing.", "--dry-run")] = (
        False
    )
    out: Annotated[Path | None, value(OUTPUT, "FILE", "Save the plan for sweep --plan.")] = None
    plan: Annotated[
        Path | None, value(SAFETY, "FILE", "Delete only what this saved plan lists.")
    ] = None
    plan_max_age: PlanMaxAge = DEFAULT_PLAN_MAX_AGE
    plan_sha256: Annotated[
        str | None, value(SAFETY, "HEX", "Delete nothing if the plan's file has another SHA-256.")
    ] = None
    accept_population: Annotated[
        bool,
        flag(
            SAFETY, "Ignore a drop in projects or invitations for this run.", "--accept-population"
        ),
    ] = False
    output: OutputOption = Output.TEXT
    detailed_exitcode: Annotated[
        bool,
        flag(
            OUTPUT,
            f"A dry run that finds stale invitations ends with {ExitCode.STALE}.",
            "--detailed-exitcode",
        ),
    ] = False
    yes: Yes = False
    shard: Annotated[
        str | None,
        value(
            TARGET,
            "I/N",
            "Process part I of N of the policy's credentials, with their organizations; "
            "auto/N reads JOB_COMPLETION_INDEX.",
        ),
    ] = None
    metrics_file: Annotated[
        Path | None, value(INTEGRATION, "PATH", "Write a Prometheus textfile.")
    ] = None
    pushgateway: Annotated[
        str | None, value(INTEGRATION, "URL", "Push the metrics to this URL.")
    ] = None
    deadline: Annotated[
        str | None, value(SAFETY, "DURATION", "Stop the run after this time, such as 30m or 1h.")
    ] = None
    log_format: Annotated[
        LogFormat,
        value(
            OUTPUT,
            "FORMAT",
            "Format of the log on stderr: auto, text or json; auto is text on a terminal and "
            "JSON elsewhere.",
            case_sensitive=False,
        ),
    ] = LogFormat.AUTO
    quiet: Annotated[
        bool, flag(OUTPUT, "Print nothing but what needs attention.", "-q", "--quiet")
    ] = False
    verbose: Annotated[
        bool, flag(OUTPUT, "Print more; a run lists the invitations it keeps.", "-v", "--verbose")
    ] = False
    quiet_progress: bool = False


ALL: Final = RunOptions._fields[:-1]
LOGGED: Final = ("output", "log_format", "quiet", "verbose")
"""The options of every command that calls Atlas."""


def takes(kind: type, *names: str, **texts: str) -> Callable[[_Command], _Command]:
    """Decorate a command whose first parameter has its options as one value.

    Args:
        kind: The type of that value, with an annotated field for each option.
        names: The fields that are options of this command; all without names and texts.
        texts: Further fields, with what `--help` says of them for this command.
    """
    hints = get_type_hints(kind, include_extras=True)
    fields = inspect.signature(kind).parameters
    chosen = [fields[name] for name in fields if name in {*names, *texts} or not (names or texts)]

    def decorate(command: _Command) -> _Command:
        signature = inspect.signature(command, eval_str=True)
        first, *own = signature.parameters.values()
        shared = []
        for each in chosen:
            annotation = hints[each.name]
            if each.name in texts:
                type_, option = get_args(annotation)
                annotation = Annotated[type_, _with_help(option, texts[each.name])]
            shared.append(each.replace(annotation=annotation))
        parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in (*own, *shared)]

        @wraps(command)
        def run(**given: Any) -> None:  # noqa: ANN401
            value = kind(**{each.name: given.pop(each.name) for each in chosen})
            command(**{first.name: value}, **given)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _with_help(option: Any, text: str) -> Any:  # noqa: ANN401
    changed = copy(option)
    changed.help = text
    return changed


def offline(command: _Command) -> _Command:
    """Decorate a command that never calls Atlas: its errors have no consequence to report."""

    @wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401
        try:
            command(**options)
        except RunError as error:
            error.consequence = ""
            raise

    return run


def require_command(ctx: typer.Context) -> None:
    """Show the help of a group of commands and exit with 2, if no command was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(int(ExitCode.USAGE))

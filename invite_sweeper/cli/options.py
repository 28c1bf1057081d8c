"""The options that several commands share, one row each, and the layout of `--help`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import click
from typing_extensions import override

from invite_sweeper.endings import ExitCode

Function: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Function], Function]

_SECTIONS: Final = ("Target", "Safety", "Filter", "Output", "Integration", "Options")
DOCUMENTATION: Final = "Documentation: invite-sweeper help TOPIC"
MAX_WIDTH: Final = 200
"""Of `--help`, which is as wide as the terminal; longer lines are hard to read."""
_UNBREAKABLE: Final = "\u2011"
"""A hyphen at which click breaks no line."""
DEFAULT_POLICY: Final = Path("config/policy.yaml")
DEFAULT_BASE_URL: Final = "https://cloud.mongodb.com"
DEFAULT_PLAN_MAX_AGE: Final = "24h"


class SectionOption(click.Option):
    """An option in a section of `--help`."""

    def __init__(self, *args: Any, section: str = "Options", **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self.section = section


class Command(click.Command):
    """A command whose `--help` has sections, and never breaks an option's name at a hyphen."""

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **{"epilog": DOCUMENTATION, **more})

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx) if isinstance(each, click.Option) else None
            if record is not None:
                name, text = record
                section = sections[getattr(each, "section", "Options")]
                section.append((name, text.replace("-", _UNBREAKABLE)))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=MAX_WIDTH)

    @override
    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_UNBREAKABLE, "-")


def option(section: str, *names: str, **more: Any) -> Decorator:  # noqa: ANN401
    """Return the decorator of an option in a section of `--help`; arguments as for click."""
    return click.option(*names, cls=SectionOption, section=section, **more)


class _PathType(click.Path):
    """A path; an empty text, such as of a variable that is not set, would be this folder."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("'' does not name a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


FILE: Final = _PathType(path_type=Path)
_OPTIONS: Final[dict[str, Decorator]] = {
    "policy": option(
        "Target", "--policy", metavar="PATH", type=FILE, envvar="INVITE_SWEEPER_POLICY",
        default=DEFAULT_POLICY, show_default=True, help="The policy file.",
    ),
    "base_url": option(
        "Target", "--base-url", metavar="URL", envvar="MONGODB_ATLAS_BASE_URL",
        default=DEFAULT_BASE_URL, help="The URL of Atlas; https, except for loopback.",
    ),
    "shard": option(
        "Target", "--shard", metavar="I/N",
        help="Process part I of N of the policy's organizations; auto/N reads "
        "JOB_COMPLETION_INDEX. Each part needs an audit directory of its own.",
    ),
    "dry_run": option(
        "Safety", "--dry-run", is_flag=True, help="Write the plan and delete nothing."
    ),
    "plan": option(
        "Safety", "--plan", metavar="PLAN",
        help="Delete only what this plan lists: the file of a dry run, or its number.",
    ),
    "plan_sha256": option(
        "Safety", "--plan-sha256", metavar="HEX",
        help="The plan must have this SHA-256: what a second person read.",
    ),
    "plan_max_age": option(
        "Safety", "--plan-max-age", metavar="DURATION", default=DEFAULT_PLAN_MAX_AGE,
        show_default=True, help="Maximum age of the plan.",
    ),
    "accept_population": option(
        "Safety", "--accept-population", is_flag=True,
        help="Ignore a drop in projects, entries or members for this run.",
    ),
    "deadline": option(
        "Safety", "--deadline", metavar="DURATION",
        help="Stop the run after this time, such as 30m or 1h.",
    ),
    "yes": option("Safety", "--yes", is_flag=True, help="Do not ask for confirmation."),
    "audit_dir": option(
        "Output", "--audit-dir", metavar="DIR", type=FILE, envvar="INVITE_SWEEPER_AUDIT_DIR",
        help="The audit directory; overrides the policy's.",
    ),
    "out": option(
        "Output", "--out", metavar="FILE", type=FILE, help="Copy the plan to this file, too."
    ),
    "output": option(
        "Output", "-o", "--output", metavar="FORMAT", default="text",
        type=click.Choice(("text", "json"), case_sensitive=False),
        help="Format of the result on stdout: text or json.",
    ),
    "detailed_exitcode": option(
        "Output", "--detailed-exitcode", is_flag=True,
        help=f"A dry run that finds stale invitations ends with {ExitCode.STALE}.",
    ),
    "log_format": option(
        "Output", "--log-format", metavar="FORMAT", default="auto",
        type=click.Choice(("auto", "text", "json"), case_sensitive=False),
        help="Format of the log on stderr: auto, text or json; auto is text on a terminal and JSON "
        "elsewhere.",
    ),
    "quiet": option(
        "Output", "-q", "--quiet", is_flag=True, help="Print nothing but what needs attention."
    ),
    "verbose": option("Output", "-v", "--verbose", is_flag=True, help="Log each request."),
    "metrics_file": option(
        "Integration", "--metrics-file", metavar="PATH", type=FILE,
        help="Write a Prometheus textfile.",
    ),
    "pushgateway": option(
        "Integration", "--pushgateway", metavar="URL", help="Push the metrics to this URL."
    ),
}  # fmt: skip
"""One row an option: its section, names and text."""


class RunOptions(NamedTuple):
    """The options of `sweep` and `plan`; other commands that call Atlas have some of them.

    Attributes:
        plan: A path, or the number of a run in the audit directory.
        quiet_progress: Not an option: print neither progress nor messages below a warning.
    """

    policy: Path = DEFAULT_POLICY
    base_url: str = DEFAULT_BASE_URL
    shard: str | None = None
    dry_run: bool = False
    plan: str | None = None
    plan_sha256: str | None = None
    plan_max_age: str = DEFAULT_PLAN_MAX_AGE
    accept_population: bool = False
    deadline: str | None = None
    yes: bool = False
    audit_dir: Path | None = None
    out: Path | None = None
    output: str = "text"
    detailed_exitcode: bool = False
    log_format: str = "auto"
    quiet: bool = False
    verbose: bool = False
    metrics_file: Path | None = None
    pushgateway: str | None = None
    quiet_progress: bool = False


SWEEP: Final = RunOptions._fields[:-1]
CONNECTED: Final = ("policy", "base_url", "audit_dir", "output", "log_format", "quiet", "verbose")
"""The options of every command that calls Atlas for a policy."""


def options(*names: str) -> Decorator:
    """Return the decorator of shared options, in the order of their names."""

    def decorate(function: Function) -> Function:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return decorate

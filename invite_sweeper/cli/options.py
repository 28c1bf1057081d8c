"""The options that several commands share, one row each, and the layout of `--help`."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import click
from typing_extensions import override

from invite_sweeper.endings import ExitCode

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_SECTIONS: Final = ("Target", "Safety", "Filter", "Output", "Integration", "Options")
DOCUMENTATION: Final = "Documentation: invite-sweeper help TOPIC"
MAX_WIDTH: Final = 200
"""Of `--help`, which is as wide as the terminal; longer lines are hard to read."""
_UNBREAKABLE: Final = "\u2011"
"""A hyphen at which click breaks no line."""
DEFAULT_POLICY: Final = Path("policy.yaml")
_POLICY_OF_A_CLONE: Final = Path("config/policy.yaml")
DEFAULT_POLICIES: Final = f"{DEFAULT_POLICY}, else {_POLICY_OF_A_CLONE}"
"""What `find_policy` takes, as `--help` has it."""
POLICY_VARIABLE: Final = "INVITE_SWEEPER_POLICY"
DEFAULT_BASE_URL: Final = "https://cloud.mongodb.com"


class SectionOption(click.Option):
    """An option in a section of `--help`."""

    def __init__(self, *args: Any, section: str = "Options", **more: Any) -> None:
        super().__init__(*args, **more)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose `--help` has sections, and never breaks an option's name at a hyphen."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"epilog": DOCUMENTATION, **more})

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # An option without its value has no context: the hint would name no command.
            error.ctx = error.ctx or ctx
            raise

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:  # a hidden option has none
                names, text = record
                section = sections[getattr(parameter, "section", "Options")]
                section.append((names, text.replace("-", _UNBREAKABLE)))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=MAX_WIDTH)

    @override
    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_UNBREAKABLE, "-")


def option(section: str, *names: str, **more: Any) -> Decorator:
    """Return the decorator of an option in a section of `--help`; arguments as for click."""
    return click.option(*names, cls=SectionOption, section=section, **more)


def option_once(section: str, *names: str, **more: Any) -> Decorator:
    """Return the decorator of an option that is an error if it is given twice, as `option` does.

    For one that `list` takes several times: click alone would use the last value, and ignore the
    others in silence.
    """
    return option(section, *names, multiple=True, callback=_check_once, **more)


def _check_once(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> str | None:
    if len(values) > 1:
        raise click.BadParameter("Give it once, and run the command again for the others.")
    return values[0] if values else None


def find_policy() -> Path:
    """Return the policy of a command that names none: the first of the defaults that exists."""
    if not DEFAULT_POLICY.exists() and _POLICY_OF_A_CLONE.exists():
        return _POLICY_OF_A_CLONE
    return DEFAULT_POLICY


class _PathType(click.Path):
    """A path; an empty text, such as of a variable that is not set, would be this folder."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("'' does not name a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


FILE: Final = _PathType(path_type=Path)
PRESENT: Final = _PathType(path_type=Path, exists=True)


class RunOptions(NamedTuple):
    """The options of `sweep` and `plan`; other commands that call Atlas have some of them.

    Attributes:
        plan: A path, or the number of a run in the audit directory.
        is_demo: Not an option: print neither progress nor messages below a warning, and no command
            that applies the plan, because its Atlas ends with the demo.
    """

    policy: Path = DEFAULT_POLICY
    base_url: str = DEFAULT_BASE_URL
    shard: str = "1/1"
    project: tuple[str, ...] = ()
    dry_run: bool = False
    plan: str | None = None
    plan_sha256: str | None = None
    plan_max_age: str = "24h"
    deadline: str | None = None
    accept_missing: bool = False
    yes: bool = False
    reason: str | None = None
    audit_dir: Path | None = None
    out: Path | None = None
    output: str = "text"
    detailed_exitcode: bool = False
    log_format: str = "auto"
    quiet: bool = False
    verbose: bool = False
    metrics_file: Path | None = None
    pushgateway: str | None = None
    is_demo: bool = False


_OPTIONS: Final[dict[str, Callable[..., Decorator]]] = {
    "policy": partial(
        option, "Target", metavar="PATH", type=FILE, envvar=POLICY_VARIABLE,
        show_default=DEFAULT_POLICIES, help="The policy file.",
    ),
    "base_url": partial(
        option, "Target", metavar="URL", envvar="MONGODB_ATLAS_BASE_URL",
        help="The URL of Atlas; https, except for loopback.",
    ),
    "shard": partial(
        option, "Target", metavar="I/N",
        help="Process part I of N of the policy's organizations; auto/N reads "
        "JOB_COMPLETION_INDEX. Each part needs an audit directory of its own.",
    ),
    "project": partial(
        option, "Target", metavar="NAME|ID", multiple=True,
        help="Only this project of the policy's scope; may be repeated.",
    ),
    "dry_run": partial(option, "Safety", help="Write the plan and delete nothing."),
    "plan": partial(
        option, "Safety", metavar="PLAN",
        help="Delete only what this plan lists: the file of a dry run, or its number.",
    ),
    "plan_sha256": partial(
        option, "Safety", metavar="HEX",
        help="The plan must have this SHA-256: what a second person read.",
    ),
    "plan_max_age": partial(
        option, "Safety", metavar="DURATION", show_default=True, help="Maximum age of the plan."
    ),
    "deadline": partial(
        option, "Safety", metavar="DURATION",
        help="Stop the run after this time, such as 30m or 1h.",
    ),
    "accept_missing": partial(
        option, "Safety",
        help="Go on without the files of earlier runs that are lost; it is recorded once.",
    ),
    "yes": partial(option, "Safety", help="Do not ask for confirmation."),
    "reason": partial(
        option, "Safety", metavar="TEXT", envvar="INVITE_SWEEPER_REASON",
        help="Why or for whom: a ticket, a name. It is recorded with the run and proves nothing by "
        "itself.",
    ),
    "audit_dir": partial(
        option, "Output", metavar="DIR", type=FILE, envvar="INVITE_SWEEPER_AUDIT_DIR",
        help="The audit directory; overrides the policy's.",
    ),
    "out": partial(
        option, "Output", metavar="FILE", type=FILE, help="Copy the plan to this file, too."
    ),
    "output": partial(
        option, "Output", "-o", metavar="FORMAT",
        type=click.Choice(("text", "json"), case_sensitive=False),
        help="Format of the result on stdout: text or json.",
    ),
    "detailed_exitcode": partial(
        option, "Output", help=f"A dry run that finds stale invitations ends with {ExitCode.STALE}."
    ),
    "log_format": partial(
        option, "Output", metavar="FORMAT",
        type=click.Choice(("auto", "text", "json"), case_sensitive=False),
        help="Format of the log on stderr: auto, text or json; auto is text on a terminal and JSON "
        "elsewhere.",
    ),
    "quiet": partial(option, "Output", "-q", help="Print nothing but what needs attention."),
    "verbose": partial(option, "Output", "-v", help="Log each request."),
    "metrics_file": partial(
        option, "Integration", metavar="PATH", type=FILE, help="Write a Prometheus textfile."
    ),
    "pushgateway": partial(
        option, "Integration", metavar="URL", help="Push the metrics to this URL."
    ),
}  # fmt: skip
"""One row an option. Its flag and its default are those of the field with its name."""


SWEEP: Final = tuple(_OPTIONS)
"""The options of `sweep`: all of them."""
CONNECTED: Final = ("policy", "base_url", "audit_dir", "output", "log_format", "quiet", "verbose")
"""The options of every command that calls Atlas for a policy."""


def options(*names: str) -> Decorator:
    """Return the decorator of shared options; `--help` has them in the order of their rows."""
    rows = sorted(names, key=SWEEP.index)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(rows):  # click lists first what was added last
            flag = f"--{name.replace('_', '-')}"
            default = RunOptions._field_defaults[name]
            is_flag = default is False  # an option without a value
            if name == "policy":
                default = find_policy
            add_option = _OPTIONS[name](flag, default=default, is_flag=is_flag)
            function = add_option(function)
        return function

    return decorate


ROWS_OUTPUT: Final = option(
    "Output", "-o", "--output", metavar="FORMAT", default="text",
    type=click.Choice(("text", "json", "csv")),
    help="Format of the result on stdout: text, json (lines) or csv.",
)  # fmt: skip
"""Of commands whose result is rows."""


def _parse_since(text: str, days: int = 0) -> datetime:
    """Return an instant; a date is the beginning of that day in UTC, plus `days`."""
    with suppress(ValueError, OverflowError):
        if len(text) == len("2026-11-25"):
            return datetime.fromisoformat(f"{text}T00:00Z") + timedelta(days)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise click.BadParameter(
        f"{text!r} is not a date such as 2026-11-25 or an instant such as 2026-11-25T01:00:00Z."
    )


def _parse_until(text: str) -> datetime:
    """Return the instant before which a period ends; a date is a day of the period."""
    return _parse_since(text, days=1)


def period_options(*, since: str = "", until: str = "") -> Decorator:
    """Return the decorator of `--since` and `--until`: a period from one instant to before another.

    Args:
        since: The default, as `--help` has it; "" for a period without a beginning.
        until: Likewise.
    """
    from_when = option(
        "Filter", "--since", metavar="TIME", type=_parse_since,
        help=f"From this date (UTC) or instant on{_default(since)}.",
    )  # fmt: skip
    up_to = option(
        "Filter", "--until", metavar="TIME", type=_parse_until,
        help=f"Up to this date, or before this instant{_default(until)}.",
    )  # fmt: skip
    return lambda function: from_when(up_to(function))


def _default(words: str) -> str:
    return f"; default: {words}" if words else ""

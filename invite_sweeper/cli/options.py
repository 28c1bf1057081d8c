"""The options that several commands share, one row each, the layout of `--help`, and what is read.

A command reads its policy, and runs of an audit directory.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from os.path import realpath
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from typing_extensions import override

from invite_sweeper.atlas.credentials import register_credentials
from invite_sweeper.audit import (
    AuditDirectory,
    RunFile,
    Verification,
    verify,
    verify_directory,
)
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.streams import DOCUMENTATION, MAX_WIDTH
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.policy import MAX_BYTES, Policy, parse_duration_option, parse_policy
from invite_sweeper.redaction import SECRETS, SIGNING_KEY_PREFIX
from invite_sweeper.text import shell_command

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_SECTIONS: Final = ("Target", "Safety", "Filter", "Output", "Integration", "Options")
_UNBREAKABLE: Final = "\u2011"
"""A hyphen at which click breaks no line."""
DEFAULT_POLICY: Final = Path("policy.yaml")
_POLICY_OF_A_CLONE: Final = Path("config/policy.yaml")
DEFAULT_POLICIES: Final = f"{DEFAULT_POLICY}, else {_POLICY_OF_A_CLONE}"
"""What `find_policy` takes, as `--help` has it."""
POLICY_VARIABLE: Final = "INVITE_SWEEPER_POLICY"
DEFAULT_BASE_URL: Final = "https://cloud.mongodb.com"
DEFAULT_PLAN_MAX_AGE: Final = "24h"


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


_OPTIONS: Final[dict[str, Decorator]] = {
    "policy": option(
        "Target", "--policy", metavar="PATH", type=FILE, envvar=POLICY_VARIABLE,
        default=find_policy, show_default=DEFAULT_POLICIES, help="The policy file.",
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
    "project": option(
        "Target", "--project", metavar="NAME|ID", multiple=True,
        help="Only this project of the policy's scope; may be repeated.",
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
    "deadline": option(
        "Safety", "--deadline", metavar="DURATION",
        help="Stop the run after this time, such as 30m or 1h.",
    ),
    "accept_missing": option(
        "Safety", "--accept-missing", is_flag=True,
        help="Go on without the files of earlier runs that are lost; it is recorded once.",
    ),
    "yes": option("Safety", "--yes", is_flag=True, help="Do not ask for confirmation."),
    "reason": option(
        "Safety", "--reason", metavar="TEXT", envvar="INVITE_SWEEPER_REASON",
        help="Why or for whom: a ticket, a name. It is recorded with the run and proves nothing by "
        "itself.",
    ),
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
    "verbose": option(
        "Output", "-v", "--verbose", is_flag=True, help="Log each request, and show ids."
    ),
    "metrics_file": option(
        "Integration", "--metrics-file", metavar="PATH", type=FILE,
        help="Write a Prometheus textfile.",
    ),
    "pushgateway": option(
        "Integration", "--pushgateway", metavar="URL", help="Push the metrics to this URL."
    ),
}  # fmt: skip
"""The options that several commands have, each as it is handed to their functions."""


SWEEP: Final = tuple(_OPTIONS)
"""The options of `sweep`: all of them."""
CONNECTED: Final = ("policy", "base_url", "audit_dir", "output", "log_format", "quiet", "verbose")
"""The options of every command that calls Atlas for a policy."""


def options(*names: str) -> Decorator:
    """Return the decorator of shared options; `--help` has them in the order of their rows."""
    rows = sorted(names, key=SWEEP.index)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(rows):  # click lists first what was added last
            function = _OPTIONS[name](function)
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


_NAMED_VARIABLE: Final = re.compile(
    r"""
    (?:url|secret)_env["']? \s*:\s*  # a key of YAML, quoted or not
    (?:[>|][-+0-9]*\s*)?  # the header of a block
    ["']?(\w+)
    """,
    re.ASCII | re.VERBOSE,
)


def receiver_variables(policy: str) -> list[str]:
    """Return the variables that the text of a policy, which may have errors, names."""
    return _NAMED_VARIABLE.findall(policy)


def register_receivers(variables: Iterable[str], environment: Mapping[str, str]) -> None:
    """Register the addresses and keys of receivers, which no output may show."""
    for name in variables:
        value = environment.get(name, "").strip()
        SECRETS.add_url(value)
        SECRETS.add(value.removeprefix(SIGNING_KEY_PREFIX))


def read_policy(path: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the bytes of a policy; every secret of the environment is registered before.

    The file may be that of a token, and the errors of a policy quote it.

    Raises:
        UsageError: A secret is in the wrong variable or in the policy, or it cannot be read.
    """
    register_credentials(environment)
    try:
        data = read_small_file(path, MAX_BYTES)  # at most one more than is allowed
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read: {error.strerror or error}.",
            hint="Set the path with --policy PATH or INVITE_SWEEPER_POLICY, or write a first "
            "policy:",
            command=shell_command("init", "PATH"),
        ) from None
    text = data.decode(errors="replace")
    register_receivers(receiver_variables(text), environment)
    check_has_no_secret(path, text)
    return data


def check_has_no_secret(path: Path, text: str) -> None:
    """Raise UsageError if a policy contains a known secret: each run records its policy."""
    if SECRETS.knows(text):
        lines = [n for n, line in enumerate(text.split("\n"), 1) if SECRETS.knows(line)]
        where = f" in line {lines[0]}" if lines else ""
        raise UsageError(
            f"The policy {path} contains a secret of the environment{where}.",
            hint="Remove it from the file, and replace the secret: others may have read it.",
        )


def load_policy(
    path: Path, environment: Mapping[str, str] = os.environ, *, deadline: str | None = None
) -> Policy:
    """Load a policy as `read_policy` reads it.

    Raises:
        UsageError: See `read_policy`; or the deadline is not a duration.
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy = parse_policy(read_policy(path, environment), str(path))
    if deadline is None:
        return policy
    changed = {"deadline": parse_duration_option("--deadline", deadline)}
    return policy.model_copy(update={"execution": policy.execution.model_copy(update=changed)})


PATHS: Final = click.argument(
    "paths", help="An audit directory, or files of runs.", metavar="[DIR or FILE…]",
    nargs=-1, type=PRESENT,
)  # fmt: skip


def find_directory(policy: Path, audit_dir: Path | None) -> AuditDirectory:
    """Return the audit directory: of the option, else that of the policy."""
    return AuditDirectory(audit_dir or policy.parent / load_policy(policy).audit.directory)


def check_outside(option: str, path: Path, directory: Path | None) -> None:
    """Raise UsageError if an output would be in an audit directory, or a run of another one.

    Args:
        directory: None where none is in use.
    """
    target = Path(realpath(path))
    folder = target.parent
    # A file that is named as that of a run would be one of another directory, or damage it.
    is_of_others = RunFile.of(target).number > 0 and (folder / "HEAD").exists()
    is_of_own = directory is not None and folder == Path(realpath(directory))
    if is_of_own or is_of_others:
        raise UsageError(
            f"{option} {path} is in the audit directory {folder}.",
            hint="Choose a file elsewhere.",
        )


def verify_runs(
    paths: Sequence[Path],
    policy: Path,
    audit_dir: Path | None,
    expect_head: str | None = None,
    fold: Fold | None = None,
) -> tuple[Sequence[RunFile], Verification]:
    """Verify the files that a command reads: all of a directory, or those that are named.

    Args:
        fold: As in `verify`.

    Raises:
        UsageError: There are none; the policy that names the directory cannot be read.
    """
    is_directory = len(paths) == 1 and paths[0].is_dir()
    if paths and not is_directory:
        files = sorted(RunFile.of(path.absolute()) for path in paths)
        return tuple(files), verify(files, None, expect_head, fold)
    directory = AuditDirectory(paths[0]) if paths else find_directory(policy, audit_dir)
    directory.check_not_empty()
    return directory.files(), verify_directory(directory, expect_head, fold)

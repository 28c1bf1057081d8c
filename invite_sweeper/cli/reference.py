"""Commands `validate`, `schema` and `help`: what needs no Atlas and no audit directory."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec.json import schema_components
from rich.markdown import Markdown

from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.audit import Verification
from invite_sweeper.audit.events import EVENTS, LineHeader
from invite_sweeper.cli.checks import DiagnosisResult
from invite_sweeper.cli.console import stdout_console, write_json
from invite_sweeper.cli.explain import Search
from invite_sweeper.cli.list import ListedInvitation
from invite_sweeper.cli.main import app
from invite_sweeper.cli.options import DEFAULT_POLICY, FILE, Command, options
from invite_sweeper.cli.session import read_policy
from invite_sweeper.endings import REFUSAL_REASONS, Advisor, ExitCode, Reason
from invite_sweeper.errors import ErrorParts, ErrorResult, UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import (
    InvalidPolicy,
    PolicyIssue,
    Severity,
    check_policy,
    json_schema,
)
from invite_sweeper.report.readback import RunResult
from invite_sweeper.restore import RestorePlan
from invite_sweeper.text import command, escape_unprintable


class Validation(msgspec.Struct, frozen=True):
    """The result of `validate`.

    Attributes:
        policy_sha256: SHA-256 of a valid policy's bytes.
        errors: Number of errors.
        warnings: Number of warnings; of a policy with errors, those about its valid parts.
        findings: The errors and the warnings, in the order of the file.
        error: None for a valid policy.
    """

    file: str
    valid: bool
    policy_sha256: str | None
    errors: int
    warnings: int
    findings: tuple[PolicyIssue, ...]
    exit_code: int
    error: ErrorParts | None


@click.command(cls=Command)
@click.argument(
    "path", help="The policy file.", metavar="[POLICY]", envvar="INVITE_SWEEPER_POLICY",
    type=FILE, default=DEFAULT_POLICY,
)  # fmt: skip
@options("output")
def validate(path: Path, output: str) -> None:
    """Check a policy offline and list all errors.

    Warnings are about valid parts, such as a pattern that is a regular expression. If the
    environment has credentials, organizations without any are among them.

    Example: invite-sweeper validate config/policy.yaml
    """
    today, names = datetime.now(UTC).date(), credentials_variables(os.environ)
    policy, issues = check_policy(read_policy(path), today, names)
    errors = tuple(each for each in issues if each.severity is Severity.ERROR)
    # The hint of other commands is to run this one.
    error = InvalidPolicy(str(path), errors).having(hint="") if errors else None
    if output == "json":
        result = Validation(
            file=str(path),
            valid=policy is not None,
            policy_sha256=policy.sha256 if policy is not None else None,
            errors=len(errors),
            warnings=len(issues) - len(errors),
            findings=issues,
            exit_code=int(ExitCode.DONE if error is None else error.exit_code),
            error=error.to_json() if error is not None else None,
        )
        write_json(result)
    else:
        for each in issues:
            if each.severity is Severity.WARNING:
                click.echo(escape_unprintable(each.text(str(path))), err=True)
    if error is not None:
        raise error
    if output == "text" and policy is not None:
        click.echo(f"{path} is a valid policy (SHA-256 {policy.sha256}).")


_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_AUDIT_LINE: Final = "audit-line"
_RESULTS: Final[Mapping[str, tuple[str, Any]]] = {
    "summary": ("sweep, plan, restore", RunResult),
    "restore-plan": ("restore --dry-run", RestorePlan),
    "validate": ("validate", Validation),
    "doctor": ("doctor", DiagnosisResult),
    "explain": ("explain", Search),
    "list": ("list, a line for each invitation", ListedInvitation),
    "audit-verify": ("audit verify", Verification),
}
NAMES: Final = ("policy", *_RESULTS, _AUDIT_LINE)


@click.command(cls=Command)
@click.argument(
    "name", help=f"One of {', '.join(NAMES)}.", metavar="[NAME]", type=click.Choice(NAMES),
    default="policy",
)  # fmt: skip
def schema(name: str) -> None:
    """Print a JSON Schema: of the policy, a result or an audit line.

    That of the policy is for editors. The others describe what `--output json` writes on every
    exit; summary is that of sweep, plan and restore, audit-line a line of a run's file.

    Example: invite-sweeper schema summary > summary.schema.json
    """
    sys.stdout.buffer.write(msgspec.json.format(to_json(schema_of(name)), indent=2) + b"\n")


def schema_of(name: str) -> dict[str, object]:
    """Return a JSON Schema; that of `--output json` allows the result or the error."""
    if name == "policy":
        return json_schema()
    if name == _AUDIT_LINE:
        found = _any_of(LineHeader, *EVENTS)
        header, *events = found["anyOf"]
        named = [
            {**fields, "properties": {"event": {"const": each.event}}}
            for fields, each in zip(events, EVENTS, strict=True)
        ]
        lines = {"allOf": [header, {"anyOf": named}], "$defs": found["$defs"]}
        return {"$schema": _DRAFT, "title": "A line of the audit log", **lines}
    words, result = _RESULTS[name]
    title = f"Result of invite-sweeper {words}"
    return {"$schema": _DRAFT, "title": title, **_any_of(result, ErrorResult)}


def _any_of(*types: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the schema of a value of one of these types."""
    references, definitions = schema_components(types, ref_template="#/$defs/{name}")
    return {"anyOf": list(references), "$defs": definitions}


TOPICS: Final = {
    "credentials": "how to pass credentials, and which roles are needed",
    "policy": "every key of the policy with its default",
    "sources": "Atlas's four lists, and what a deletion does in each",
    "limits": "the limits and guards, and what to do when one refuses",
    "audit": "the audit log, its chain, and how to restore",
    "exit-codes": "what each exit code means and what to do",
    "deployment": "cron, systemd, Kubernetes, monitoring",
}


@click.command(cls=Command)
@click.argument(
    "name", help=f"One of {', '.join(TOPICS)}, or a command.", metavar="[TOPIC]", required=False
)
@click.pass_context
def help(context: click.Context, name: str | None) -> None:  # noqa: A001 - the command's name
    """Show the documentation that ships with the program.

    Example: invite-sweeper help exit-codes
    """
    if name is None:
        for each, summary in TOPICS.items():
            click.echo(f"  {command('help', each):<32}  {summary}")
        click.echo(f"Options of a command: {command('COMMAND', '--help')}")
        return
    if name not in TOPICS:  # `audit` is the topic: errors name it
        if (found := app.get_command(context, name)) is None:
            raise UsageError(
                f"{name!r} is not a topic.",
                hint=f"Topics: {', '.join(TOPICS)}; or a command's name.",
            )
        click.echo(found.get_help(click.Context(found, context.parent, name)))
        return
    text = page(name)
    if sys.stdout.isatty():
        stdout_console().print(Markdown(text, hyperlinks=False))
    else:
        click.echo(text, nl=False)


def page(topic: str) -> str:
    """Return a topic's page as Markdown; tables come from the program itself."""
    text = files("invite_sweeper").joinpath("help", f"{topic}.md").read_text("utf-8")
    for name, lines in _TABLES.items():
        marker = f"<!-- {name} -->\n"
        if marker in text:
            text = text.replace(marker, "".join(f"{line}\n" for line in lines()))
    return text


def _exit_codes() -> Iterator[str]:
    yield from ("| code | meaning | what to do |", "|---|---|---|")
    for code in ExitCode:
        yield f"| {code:d} | {code.meaning} | {code.advice} |"


def _reasons() -> Iterator[str]:
    advisor = Advisor(run="RUN", policy="POLICY")
    yield from ("| reason | exit code | what to do |", "|---|---|---|")
    for each in Reason:
        yield f"| `{each}` | {each.exit_code:d} | {' '.join(advisor.advise([each]))} |"


def _keys(part: Any = None, depth: int = 0) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield a line for each key of the policy or a part of it, with nested ones below it."""
    whole: Any = json_schema()
    for name, key in (part or whole).get("properties", {}).items():
        default = key.get("default")
        text = default if isinstance(default, str) else to_json(default).decode()
        shown = f" Default: `{text}`." if isinstance(default, str | int | float) else ""
        yield f"{'  ' * depth}- `{name}`: {key.get('description', '')}{shown}"
        items = key.get("items", {})
        for each in (key, items, *items.get("anyOf", ())):
            if "$ref" in each:
                yield from _keys(whole["$defs"][each["$ref"].rpartition("/")[2]], depth + 1)


_TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "exit codes": _exit_codes,
    "policy keys": _keys,
    "refusal reasons": lambda: iter((f"{', '.join(f'`{each}`' for each in REFUSAL_REASONS)}.",)),
    "reasons": _reasons,
}

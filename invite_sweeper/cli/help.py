"""Command `help`: the documentation that ships with the program."""

import sys
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from typing import cast

import click
from rich.markdown import Markdown

from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Command
from invite_sweeper.endings import REFUSAL_REASONS, Advisor, ExitCode, Reason
from invite_sweeper.errors import UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import json_schema
from invite_sweeper.program import command


class Topic(StrEnum):
    """What there is documentation about."""

    CREDENTIALS = "credentials"
    POLICY = "policy"
    SOURCES = "sources"
    LIMITS = "limits"
    AUDIT = "audit"
    EXIT_CODES = "exit-codes"
    DEPLOYMENT = "deployment"


_SUMMARIES = {
    Topic.CREDENTIALS: "how to pass credentials, and which roles are needed",
    Topic.POLICY: "every key of the policy with its default",
    Topic.SOURCES: "Atlas's four lists, and what a deletion does in each",
    Topic.LIMITS: "the limits and guards, and what to do when one refuses",
    Topic.AUDIT: "the audit log, its chain, and how to restore",
    Topic.EXIT_CODES: "what each exit code means and what to do",
    Topic.DEPLOYMENT: "cron, systemd, Kubernetes, monitoring",
}


@click.command("help", cls=Command)
@click.argument(
    "name", help=f"One of {', '.join(Topic)}, or a command.", metavar="[TOPIC]", required=False
)
@click.pass_context
def help_command(context: click.Context, name: str | None) -> None:
    """Show the documentation that ships with the program.

    Example: invite-sweeper help exit-codes
    """
    if name is None:
        for each, summary in _SUMMARIES.items():
            click.echo(f"  {command('help', each.value):<32}  {summary}")
        click.echo(f"Options of a command: {command('COMMAND', '--help')}")
        return
    if name not in list(Topic):  # `audit` is the topic: errors name it
        program = context.find_root()
        assert isinstance(program.command, click.Group)  # noqa: S101 - it has this command
        found = program.command.get_command(program, name)
        if found is None:
            raise UsageError(
                f"There is no topic {name!r}.",
                hint=f"Topics: {', '.join(Topic)}; or a command's name.",
            )
        click.echo(found.get_help(click.Context(found, program, name)))
        return
    text = page(Topic(name))
    if sys.stdout.isatty():
        stdout_console().print(Markdown(text, hyperlinks=False))
    else:
        click.echo(text, nl=False)


def page(topic: Topic) -> str:
    """Return a topic's page as Markdown; tables come from the program itself."""
    text = files("invite_sweeper").joinpath("help", f"{topic.value}.md").read_text("utf-8")
    for name, render in _TABLES.items():
        marker = f"<!-- {name} -->\n"
        if marker in text:
            text = text.replace(marker, render())
    return text


def _exit_code_table() -> str:
    rows = (f"| {code:d} | {code.meaning} | {code.advice} |\n" for code in ExitCode)
    return "| code | meaning | what to do |\n|---|---|---|\n" + "".join(rows)


def _policy_keys() -> str:
    schema = json_schema()
    definitions = cast("Mapping[str, object]", schema["$defs"])
    return "".join(_key_lines(schema, definitions, 0))


def _key_lines(
    schema: Mapping[str, object], definitions: Mapping[str, object], depth: int
) -> Iterator[str]:
    """Yield a line for each key of an object, with those of nested objects below it."""
    properties = cast("Mapping[str, Mapping[str, object]]", schema.get("properties", {}))
    for name, key in properties.items():
        default = key.get("default")
        text = default if isinstance(default, str) else to_json(default).decode()
        shown = f" Default: `{text}`." if isinstance(default, str | int | float) else ""
        yield f"{'  ' * depth}- `{name}`: {key.get('description', '')}{shown}\n"
        for nested in _nested(key, definitions):
            yield from _key_lines(nested, definitions, depth + 1)


def _nested(
    key: Mapping[str, object], definitions: Mapping[str, object]
) -> Iterator[Mapping[str, object]]:
    """Yield the definitions that a key, the items of its list, or their variants refer to."""
    items = cast("Mapping[str, object]", key.get("items", {}))
    variants = cast("list[Mapping[str, object]]", items.get("anyOf", []))
    for part in (key, items, *variants):
        if isinstance(reference := part.get("$ref"), str):
            yield cast("Mapping[str, object]", definitions[reference.rpartition("/")[2]])


def _reason_table() -> str:
    advisor = Advisor(run="RUN", policy="POLICY")
    rows = (
        f"| `{each}` | {each.exit_code:d} | {' '.join(advisor.advise([each]))} |\n"
        for each in Reason
    )
    return "| reason | exit code | what to do |\n|---|---|---|\n" + "".join(rows)


def _refusal_reasons() -> str:
    return f"{', '.join(f'`{reason}`' for reason in REFUSAL_REASONS)}.\n"


_TABLES: Mapping[str, Callable[[], str]] = {
    "exit codes": _exit_code_table,
    "policy keys": _policy_keys,
    "refusal reasons": _refusal_reasons,
    "reasons": _reason_table,
}

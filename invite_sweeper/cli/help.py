"""Command `help`: the documentation that ships with the program."""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

import click
from rich.markdown import Markdown

from invite_sweeper.cli.console import stdout_console
from invite_sweeper.cli.options import Command
from invite_sweeper.endings import REFUSAL_REASONS, Advisor, ExitCode, Reason
from invite_sweeper.errors import UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import json_schema
from invite_sweeper.text import command

TOPICS: Final = {
    "credentials": "how to pass credentials, and which roles are needed",
    "policy": "every key of the policy with its default",
    "sources": "Atlas's four lists, and what a deletion does in each",
    "limits": "the limits and guards, and what to do when one refuses",
    "audit": "the audit log, its chain, and how to restore",
    "exit-codes": "what each exit code means and what to do",
    "deployment": "cron, systemd, Kubernetes, monitoring",
}


@click.command("help", cls=Command)
@click.argument(
    "name", help=f"One of {', '.join(TOPICS)}, or a command.", metavar="[TOPIC]", required=False
)
@click.pass_context
def help_command(context: click.Context, name: str | None) -> None:
    """Show the documentation that ships with the program.

    Example: invite-sweeper help exit-codes
    """
    if name is None:
        for each, summary in TOPICS.items():
            click.echo(f"  {command('help', each):<32}  {summary}")
        click.echo(f"Options of a command: {command('COMMAND', '--help')}")
        return
    if name not in TOPICS:  # `audit` is the topic: errors name it
        program = context.find_root()
        group = program.command
        found = group.get_command(program, name) if isinstance(group, click.Group) else None
        if found is None:
            raise UsageError(
                f"There is no topic {name!r}.",
                hint=f"Topics: {', '.join(TOPICS)}; or a command's name.",
            )
        click.echo(found.get_help(click.Context(found, program, name)))
        return
    text = page(name)
    if sys.stdout.isatty():
        stdout_console().print(Markdown(text, hyperlinks=False))
    else:
        click.echo(text, nl=False)


def page(topic: str) -> str:
    """Return a topic's page as Markdown; tables come from the program itself."""
    text = files("invite_sweeper").joinpath("help", f"{topic}.md").read_text("utf-8")
    for name, render in _TABLES.items():
        marker = f"<!-- {name} -->\n"
        if marker in text:
            text = text.replace(marker, render())
    return text


def _exit_code_table() -> str:
    rows = (f"| {code:d} | {code.meaning} | {code.advice} |\n" for code in ExitCode)
    return "| code | meaning | what to do |\n|---|---|---|\n" + "".join(rows)


def _policy_keys() -> str:
    schema: Any = json_schema()
    return "".join(_key_lines(schema, schema["$defs"], 0))


def _key_lines(schema: Any, definitions: Any, depth: int) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield a line for each key of an object, with those of nested objects below it."""
    for name, key in schema.get("properties", {}).items():
        default = key.get("default")
        text = default if isinstance(default, str) else to_json(default).decode()
        shown = f" Default: `{text}`." if isinstance(default, str | int | float) else ""
        yield f"{'  ' * depth}- `{name}`: {key.get('description', '')}{shown}\n"
        items = key.get("items", {})
        for part in (key, items, *items.get("anyOf", ())):
            if "$ref" in part:
                nested = definitions[part["$ref"].rpartition("/")[2]]
                yield from _key_lines(nested, definitions, depth + 1)


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

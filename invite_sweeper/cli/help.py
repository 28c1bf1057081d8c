"""Command `help`: the documentation that ships with the program; its tables are made from it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

import click
from rich.markdown import Markdown

from invite_sweeper.cli.main import app
from invite_sweeper.cli.options import SectionedCommand
from invite_sweeper.endings import REFUSAL_REASONS, ExitCode, Reason
from invite_sweeper.errors import Advisor, UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import json_schema
from invite_sweeper.report.terminal import stdout_console
from invite_sweeper.text import shell_command

TOPICS: Final = {
    "credentials": "how to pass credentials, and the roles",
    "policy": "every key of the policy with its default",
    "sources": "Atlas's four lists, and deletions in each",
    "limits": "limits and guards, and what to do",
    "audit": "the audit log, its chain, and how to restore",
    "exit-codes": "what each exit code means and what to do",
    "deployment": "cron, systemd, Kubernetes, monitoring",
}


@click.command(cls=SectionedCommand)
@click.argument(
    "name", help=f"One of {', '.join(TOPICS)}, or a command.", metavar="[TOPIC]", required=False
)
@click.pass_context
def help(context: click.Context, name: str | None) -> None:  # noqa: A001 - the command's name
    """Show the documentation that ships with the program.

    Example: invite-sweeper help exit-codes
    """
    if name is None:
        for topic, summary in TOPICS.items():
            click.echo(f"  {shell_command('help', topic):<32}  {summary}")
        click.echo(f"Options of a command: {shell_command('COMMAND', '--help')}")
        return
    if name not in TOPICS:  # `audit` is the topic: errors name it
        subcommand = app.get_command(context, name)
        if subcommand is None:
            raise UsageError(
                f"{name!r} is not a topic.",
                hint=f"Topics: {', '.join(TOPICS)}; or a command's name.",
            )
        click.echo(subcommand.get_help(click.Context(subcommand, context.parent, name)))
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
    for reason in Reason:
        advice = " ".join(hint.sentence for hint in advisor.advise([reason]).values())
        yield f"| `{reason}` | {reason.exit_code:d} | {advice} |"


def _keys() -> Iterator[str]:
    """Yield a line for each key of the policy, with nested ones below it."""
    schema: Any = json_schema()
    definitions = schema["$defs"]
    # What a rule has, too, stands there: its description is the same.
    keep = definitions["Keep"]["properties"]
    for name in definitions["Rule"]["properties"]:
        keep.pop(name, None)
    yield from _keys_of(schema, definitions)


def _keys_of(part: Any, definitions: Any, depth: int = 0) -> Iterator[str]:
    """Yield a line for each key of a part of the policy, and of the parts that it refers to."""
    for name, key in part.get("properties", {}).items():
        default = key.get("default")
        end = ""
        if isinstance(default, str):
            end = f" Default: `{default}`."
        elif isinstance(default, int | float):
            end = f" Default: `{to_json(default).decode()}`."
        indent = "  " * depth
        yield f"{indent}- `{name}`: {key.get('description', '')}{end}"
        # The key is a part itself, or a list of parts of one kind or of several.
        items = key.get("items", {})
        for schema in (key, items, *items.get("anyOf", ())):
            if "$ref" in schema:
                _, _, nested = schema["$ref"].rpartition("/")
                yield from _keys_of(definitions[nested], definitions, depth + 1)


def _refusal_reasons() -> Iterator[str]:
    names = ", ".join(f"`{reason}`" for reason in REFUSAL_REASONS)
    yield f"{names}."


_TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "exit codes": _exit_codes,
    "policy keys": _keys,
    "refusal reasons": _refusal_reasons,
    "reasons": _reasons,
}

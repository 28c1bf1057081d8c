"""The layout of `--help`: options in sections, and the way to the documentation as last line."""

from collections.abc import Sequence
from itertools import chain, repeat
from textwrap import wrap
from typing import Any, Final

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

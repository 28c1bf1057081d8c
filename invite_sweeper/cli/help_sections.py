"""The layout of `--help`: options in sections, and the way to the documentation as last line."""

from typing import Any, Final

TARGET: Final = "Target"
SAFETY: Final = "Safety"
OUTPUT: Final = "Output"
INTEGRATION: Final = "Integration"
_SECTIONS: Final = ("Arguments", TARGET, SAFETY, OUTPUT, INTEGRATION, "Options")

DOCUMENTATION: Final = "Documentation: invite-sweeper help TOPIC"
MAX_WIDTH: Final = 200
"""Of `--help`, which is as wide as the terminal; longer lines are hard to read."""


def with_sections(command: Any) -> Any:  # noqa: ANN401
    """Return a command, or a group with its commands, whose `--help` has this layout.

    They are typed as Any: Typer keeps those types private.
    """
    command.format_options = lambda ctx, formatter: _write_options(command, ctx, formatter)
    command.epilog = DOCUMENTATION
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
            name, _, kind = record[0].partition(" <")
            sections["Arguments"].append((record[0] if "|" in kind else name, record[1]))
        else:
            section = getattr(parameter, "rich_help_panel", None) or "Options"
            sections[section].append(record)
    for name, records in sections.items():
        if records:
            with formatter.section(name):
                formatter.write_dl(records)
    if commands := getattr(command, "commands", {}):
        with formatter.section("Commands"):
            sentences = [
                (name, each.get_short_help_str(MAX_WIDTH)) for name, each in commands.items()
            ]
            formatter.write_dl(sentences)

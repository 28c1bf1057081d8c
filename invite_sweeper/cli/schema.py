"""Command `schema`: the JSON Schema of the policy, of a result, or of a line of a run's file."""

import sys
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec
from msgspec.json import schema_components

from invite_sweeper.audit import Verification
from invite_sweeper.audit.events import EVENTS, LineHeader
from invite_sweeper.cli.checks import DiagnosisResult
from invite_sweeper.cli.list import ListedInvitation
from invite_sweeper.cli.options import SectionedCommand
from invite_sweeper.cli.validate import Validation
from invite_sweeper.errors import ErrorResult
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import json_schema
from invite_sweeper.report.people import Search
from invite_sweeper.report.run import RunResult
from invite_sweeper.restore import RestorePlan

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


@click.command(cls=SectionedCommand)
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
        return {"$schema": _DRAFT, "title": "A line of the audit log", **_line_schema()}
    words, result = _RESULTS[name]
    title = f"Result of invite-sweeper {words}"
    return {"$schema": _DRAFT, "title": title, **_any_of(result, ErrorResult)}


def _line_schema() -> dict[str, Any]:
    """Return the schema of a line: it has the keys of each line, and those of one event."""
    schemas = _any_of(LineHeader, *EVENTS)
    header, *references = schemas["anyOf"]
    events: list[dict[str, Any]] = []
    for event, reference in zip(EVENTS, references, strict=True):
        events.append({**reference, "properties": {"event": {"const": event.event}}})
    return {"allOf": [header, {"anyOf": events}], "$defs": schemas["$defs"]}


def _any_of(*types: Any) -> dict[str, Any]:
    """Return the schema of a value of one of these types."""
    references, definitions = schema_components(types, ref_template="#/$defs/{name}")
    return {"anyOf": list(references), "$defs": definitions}

"""Command `schema`: the JSON Schemas of the policy, of results and of audit lines."""

import re
import sys
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any, Final

import click
from msgspec.json import schema_components

from invite_sweeper.audit.events import EVENTS, LineHeader
from invite_sweeper.cli.audit import VerifyResult
from invite_sweeper.cli.checks import DiagnosisResult
from invite_sweeper.cli.explain import Search
from invite_sweeper.cli.options import Command
from invite_sweeper.cli.validate import Validation
from invite_sweeper.errors import ErrorResult
from invite_sweeper.json_text import format_json
from invite_sweeper.policy import json_schema as policy_schema
from invite_sweeper.report.readback import RunResult
from invite_sweeper.restore import RestorePlan

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_AUDIT_LINE: Final = "audit-line"
_RESULTS: Final[Mapping[str, tuple[str, Any]]] = {
    "summary": ("sweep, plan, restore", RunResult),
    "restore-plan": ("restore --dry-run", RestorePlan),
    "validate": ("validate", Validation),
    "doctor": ("doctor", DiagnosisResult),
    "explain": ("explain", Search),
    "audit-verify": ("audit verify", VerifyResult),
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
    sys.stdout.buffer.write(format_json(schema_of(name)))


def schema_of(name: str) -> dict[str, object]:
    """Return a JSON Schema; that of `--output json` allows the result or the error."""
    if name == "policy":
        return policy_schema()
    if name == _AUDIT_LINE:
        found = _any_of(LineHeader, *EVENTS)
        header, *events = found["anyOf"]
        named = [
            {**fields, "properties": {"event": {"const": each.event}}}
            for fields, each in zip(events, EVENTS, strict=True)
        ]
        lines = {"allOf": [header, {"anyOf": named}], "$defs": found["$defs"]}
        return {"$schema": _DRAFT, "title": "A line of the audit log", **lines}
    command, result = _RESULTS[name]
    title = f"Result of invite-sweeper {command}"
    return {"$schema": _DRAFT, "title": title, **_any_of(result, ErrorResult)}


def _any_of(*types: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the schema of a value of one of these types."""
    references, definitions = schema_components(types, ref_template="#/$defs/{name}")
    for each in definitions.values():
        _move_descriptions(each)
    return {"anyOf": list(references), "$defs": definitions}


_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def _move_descriptions(definition: dict[str, Any]) -> None:
    """Move what a docstring says of each attribute to the properties of a definition."""
    docstring = cleandoc(definition.get("description", ""))  # Python 3.13 has done it already
    text, _, attributes = docstring.partition("\n\nAttributes:\n")
    if text:
        definition["description"] = " ".join(text.split())
    for name, about in _ATTRIBUTE.findall(attributes):
        if name in definition.get("properties", {}):
            definition["properties"][name]["description"] = " ".join(about.split())

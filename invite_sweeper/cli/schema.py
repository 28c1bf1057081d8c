"""Command `schema`: the JSON Schemas of the policy and of the results."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from inspect import cleandoc
from typing import Annotated, Any, Final, TypeAlias, get_origin

import typer
from msgspec import NODEFAULT, UNSET, structs
from msgspec.inspect import DataclassType, Field, StructType, Type, TypedDictType, type_info
from msgspec.json import schema_components

from invite_sweeper.audit.chain import CHECKSUMMED_EVENT
from invite_sweeper.audit.events import EVENTS, LineHeader
from invite_sweeper.cli.audit import Verification
from invite_sweeper.cli.explain import Search
from invite_sweeper.cli.results import PlannedInvitations
from invite_sweeper.cli.validate import Validation
from invite_sweeper.doctor.diagnosis import DiagnosisResult
from invite_sweeper.errors import ErrorResult
from invite_sweeper.json_text import format_json
from invite_sweeper.policy import json_schema as policy_schema
from invite_sweeper.report.html.model import ReportRecord
from invite_sweeper.report.saved_plan import SavedPlanResult
from invite_sweeper.restore.report import RestoreSummary
from invite_sweeper.sweep.summary import NOT_ON_STDOUT, RunSummary

app = typer.Typer(rich_markup_mode=None)


class SchemaName(StrEnum):
    """What there is a JSON Schema of."""

    POLICY = "policy"
    SUMMARY = "summary"
    RESTORE = "restore"
    VALIDATE = "validate"
    DOCTOR = "doctor"
    EXPLAIN = "explain"
    PLAN_SHOW = "plan-show"
    AUDIT_VERIFY = "audit-verify"
    AUDIT_SHOW = "audit-show"
    AUDIT_LINE = "audit-line"
    REPORT = "report"


_Object: TypeAlias = StructType | DataclassType | TypedDictType
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_RESULTS: Final[Mapping[SchemaName, tuple[str, Any]]] = {
    SchemaName.SUMMARY: ("sweep, plan", RunSummary),
    SchemaName.RESTORE: ("restore", RestoreSummary),
    SchemaName.VALIDATE: ("validate", Validation),
    SchemaName.DOCTOR: ("doctor", DiagnosisResult),
    SchemaName.EXPLAIN: ("explain", Search),
    SchemaName.PLAN_SHOW: ("plan show", SavedPlanResult),
    SchemaName.AUDIT_VERIFY: ("audit verify", Verification),
    SchemaName.REPORT: ("report", ReportRecord),
}


@app.command()
def schema(
    name: Annotated[
        SchemaName,
        typer.Argument(metavar="NAME", show_choices=False, help=f"One of {', '.join(SchemaName)}."),
    ] = SchemaName.POLICY,
) -> None:
    """Print a JSON Schema: of the policy, a result or an audit line.

    That of the policy is for editors. The others describe what `--output json` writes on every
    exit; summary is that of sweep and plan. report is what `report --format json` writes, and
    audit-line is a line of the audit log.

    Example: invite-sweeper schema summary > summary.schema.json
    """
    sys.stdout.buffer.write(format_json(schema_of(name)))


def schema_of(name: SchemaName) -> dict[str, object]:
    """Return a JSON Schema; that of `--output json` allows the result or the error."""
    if name is SchemaName.POLICY:
        return policy_schema()
    if name is SchemaName.AUDIT_LINE:
        return {"$schema": _DRAFT, "title": "A line of the audit log", **_audit_lines()}
    if name is SchemaName.AUDIT_SHOW:
        lines = _audit_lines(line_sha256="SHA-256 of the line itself.")
        error = _schema_of_types([ErrorResult])
        either = {
            "anyOf": lines["anyOf"] + error["anyOf"],
            "$defs": lines["$defs"] | error["$defs"],
        }
        return {"$schema": _DRAFT, "title": "A line of invite-sweeper audit show", **either}
    command, result = _RESULTS[name]
    types = (result,) if result is ReportRecord else (result, ErrorResult)
    if result is RunSummary:
        types = (*types, PlannedInvitations)
    found = _schema_of_types(types)
    if result is RunSummary:
        _merge_planned_fields(found)
    return {"$schema": _DRAFT, "title": f"Result of invite-sweeper {command}", **found}


def _schema_of_types(types: Sequence[Any]) -> dict[str, Any]:
    """Return the schema of a value of one of these types, with complete objects."""
    nodes = {each.cls.__name__: each for one in types for each in _objects(type_info(one))}
    schemas, definitions = schema_components(types, ref_template="#/$defs/{name}")
    for title, schema in definitions.items():
        if "properties" in schema:  # a generic class is named after its parameters, too
            _complete(schema, nodes.get(title) or nodes[title.partition("_")[0]])
    references = [one for each in schemas for one in each.get("anyOf", [each])]
    return {"anyOf": references, "$defs": definitions}


def _audit_lines(**more: str) -> dict[str, Any]:
    """Return the schema of the lines of a log: their header, and the fields of each event."""
    found = _schema_of_types(EVENTS)
    (_, header), *_ = _schema_of_types([LineHeader])["$defs"].items()
    common = {key: header["properties"][key] for key in ("ts", "run_id", "seq", "event", "prev")}
    common |= {key: {"type": "string", "description": text} for key, text in more.items()}
    for each in EVENTS:
        schema = found["$defs"][each.__name__]
        schema["properties"] = {**common, "event": {"const": each.event}, **schema["properties"]}
        schema["required"] = [*common, *schema["required"]]
        if each.event == CHECKSUMMED_EVENT:
            schema["properties"]["seal"] = {
                "type": "string",
                "description": "SHA-256 of the line without it.",
            }
            schema["required"].append("seal")
    return found


def _merge_planned_fields(schema: dict[str, Any]) -> None:
    """Make the summary of a command one object: counts, and the planned invitations."""
    definitions = schema["$defs"]
    schema["anyOf"] = [each for each in schema["anyOf"] if "PlannedInvitations" not in each["$ref"]]
    planned, summary = definitions.pop("PlannedInvitations"), definitions["RunSummary"]
    summary["properties"] |= planned["properties"]
    summary["required"] = [
        each for each in summary["required"] if each not in NOT_ON_STDOUT
    ] + planned["required"]
    for key in NOT_ON_STDOUT:
        del summary["properties"][key]
    del definitions["Advisor"]


def _objects(node: object) -> Iterator[_Object]:
    """Yield the objects that a type is made of."""
    if isinstance(node, tuple):
        for each in node:
            yield from _objects(each)
    elif isinstance(node, (Type, Field)):
        if isinstance(node, _Object):
            yield node
        for each in structs.asdict(node).values():
            yield from _objects(each)


_ATTRIBUTE: Final = re.compile(r"^    (\w+): ((?:.|\n(?:     +))+)", re.MULTILINE)


def _complete(schema: dict[str, Any], node: _Object) -> None:
    """Add to an object's schema which keys a result has, and what its docstring says of them."""
    config = getattr(node.cls, "__struct_config__", None)
    omits = config is not None and config.omit_defaults
    properties = schema["properties"]
    schema["required"] = [each.encode_name for each in node.fields if _is_written(each, omits)]
    schema["additionalProperties"] = False
    cls = get_origin(node.cls) or node.cls
    docs = [cleandoc(each.__doc__ or "").partition("\n\nAttributes:\n") for each in cls.__mro__]
    schema["description"] = _json_words(docs[0][0].partition("\n")[0])
    for *_, attributes in reversed(docs):
        for key, text in _ATTRIBUTE.findall(attributes):
            if key in properties:
                properties[key]["description"] = _json_words(text)
    for each in properties.values():
        each.pop("default", None)


def _is_written(field: Field, omits_defaults: bool) -> bool:
    has_default = field.default not in (NODEFAULT, UNSET) or field.default_factory is not NODEFAULT
    return field.required or (has_default and not omits_defaults)


def _json_words(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))

"""Command `schema`: the JSON Schemas of the policy and of the results."""

import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from inspect import cleandoc
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from invite_sweeper.cli import result_records as records
from invite_sweeper.cli.validate import ValidationRecord
from invite_sweeper.json_text import format_json
from invite_sweeper.policy import json_schema as policy_schema
from invite_sweeper.report.html.model import ReportRecord
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
    REPORT = "report"


_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_RESULTS: Final[Mapping[SchemaName, tuple[str, Any]]] = {
    SchemaName.SUMMARY: ("sweep, plan", RunSummary),
    SchemaName.RESTORE: ("restore", records.RestoreRecord),
    SchemaName.VALIDATE: ("validate", ValidationRecord),
    SchemaName.DOCTOR: ("doctor", records.DiagnosisRecord),
    SchemaName.EXPLAIN: ("explain", records.SearchRecord),
    SchemaName.PLAN_SHOW: ("plan show", records.SavedPlanRecord),
    SchemaName.AUDIT_VERIFY: ("audit verify", records.VerificationRecord),
    SchemaName.AUDIT_SHOW: ("audit show, one line", records.AuditLineRecord),
    SchemaName.REPORT: ("report", ReportRecord),
}


@app.command()
def schema(
    name: Annotated[
        SchemaName,
        typer.Argument(metavar="NAME", show_choices=False, help=f"One of {', '.join(SchemaName)}."),
    ] = SchemaName.POLICY,
) -> None:
    """Print a JSON Schema: of the policy, or of a result.

    That of the policy is for editors. The others describe what `--output json` writes on every
    exit; summary is that of sweep and plan. report is what `report --format json` writes.

    Example: invite-sweeper schema summary > summary.schema.json
    """
    sys.stdout.buffer.write(format_json(schema_of(name)))


def schema_of(name: SchemaName) -> dict[str, object]:
    """Return a JSON Schema; that of `--output json` allows the result or the error."""
    if name is SchemaName.POLICY:
        return policy_schema()
    command, result = _RESULTS[name]
    described: Any = result if result is ReportRecord else result | records.ErrorRecord
    if result is RunSummary:
        described = RunSummary | records.ErrorRecord | records.PlannedFields
    schema: dict[str, Any] = TypeAdapter(described).json_schema(
        mode="serialization", schema_generator=_ResultSchemaGenerator
    )
    if result is RunSummary:
        _merge_planned_fields(schema)
    if result is records.AuditLineRecord:
        schema["$defs"]["AuditLineRecord"]["additionalProperties"] = True
    return {"$schema": _DRAFT, "title": f"Result of invite-sweeper {command}", **schema}


def _merge_planned_fields(schema: dict[str, Any]) -> None:
    """Make the summary of a command one object: counts, and the planned invitations."""
    definitions = schema["$defs"]
    schema["anyOf"] = [each for each in schema["anyOf"] if "PlannedFields" not in each["$ref"]]
    planned, summary = definitions.pop("PlannedFields"), definitions["RunSummary"]
    summary["properties"] |= planned["properties"]
    summary["required"] = [
        each for each in summary["required"] if each not in NOT_ON_STDOUT
    ] + planned["required"]
    for key in NOT_ON_STDOUT:
        del summary["properties"][key]
    del definitions["Advisor"]


class _ResultSchemaGenerator(GenerateJsonSchema):
    """Allows no unknown keys and requires all; descriptions come from the docstrings."""

    @override
    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return _described(super().typed_dict_schema(schema), schema.get("cls"))

    @override
    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _described(super().dataclass_schema(schema), schema["cls"])

    @override
    def field_is_required(self, field: Any, total: bool) -> bool:
        is_dataclass_field = field["type"] == "dataclass-field"
        return is_dataclass_field or super().field_is_required(field, total)

    @override
    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # a result has every key


_ATTRIBUTE: Final = re.compile(r"^    (\w+): ((?:.|\n(?:     +))+)", re.MULTILINE)


def _described(schema: JsonSchemaValue, described: type | None) -> JsonSchemaValue:
    """Return an object's schema with the description of each attribute in its docstring."""
    document = cleandoc(described.__doc__ or "") if described is not None else ""
    summary, _, attributes = document.partition("\n\nAttributes:\n")
    for name, text in _ATTRIBUTE.findall(attributes):
        if name in schema["properties"]:
            schema["properties"][name]["description"] = _json_words(text)
    schema.setdefault("additionalProperties", False)
    first_line = _json_words(summary.partition("\n")[0])
    return {**schema, "description": first_line} if first_line else schema


def _json_words(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))

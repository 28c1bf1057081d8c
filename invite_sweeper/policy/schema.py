"""The policy's JSON Schema, for editors."""

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from invite_sweeper.policy.model import PolicyFile

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors with YAML support read."""


def json_schema() -> dict[str, object]:
    """Describe a policy file for an editor: keys, types, words, examples, defaults.

    It is a little wider than `parse_policy`: what only the whole file shows (names that
    stand twice, characters that nobody sees) is left to that.
    """
    made: dict[str, object] = PolicyFile.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": _DRAFT, **made, "title": "Policy of invite-sweeper"}


class _AsWritten(GenerateJsonSchema):
    """Describes files, where a key that has no value is left out and never null."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") in (None, ()):  # Nothing that an editor could fill in.
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    @override
    def field_title_should_be_set(self, schema: object) -> bool:
        return False

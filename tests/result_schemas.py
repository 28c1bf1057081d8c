"""Compares results with the JSON Schemas made from their types."""

from functools import cache

import jsonschema

from invite_sweeper.cli.schema import schema_of


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def fits(name: str, result: object) -> bool:
    return validator(name).is_valid(result)


def mismatches(name: str, result: object) -> list[str]:
    """Return what is wrong with a result, most specific first."""
    return [
        f"{'/'.join(map(str, each.absolute_path))}: {each.message[:200]}"
        for error in validator(name).iter_errors(result)
        for each in (error.context or [error])
    ]


def schema_name(command: str) -> str:
    """Return the schema of a command, such as `audit verify`."""
    if command in {"sweep", "plan", "restore"}:
        return "summary"
    return command.replace(" ", "-")

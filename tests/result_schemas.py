"""Compares results with the JSON Schemas made from their types."""

import copy
from functools import cache

import jsonschema

from invite_sweeper.cli.schema import schema_of


@cache
def _validators(name: str) -> tuple[jsonschema.Draft202012Validator, ...]:
    """Return what validates the result of a command, and the error that it may have instead.

    A schema allows keys of a later version; these do not, so that each key is described.
    """
    schema = copy.deepcopy(schema_of(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in schema["$defs"].values():
        if "properties" in each:
            each["additionalProperties"] = False
    return tuple(
        jsonschema.Draft202012Validator({**one, "$defs": schema["$defs"]})
        for one in schema["anyOf"]
    )


def mismatches(name: str, result: dict[str, object]) -> list[str]:
    """Return what is wrong with a result."""
    of_result, of_error = _validators(name)
    is_error = result.keys() == {"exit_code", "reasons", "error"}
    return [
        f"{'/'.join(map(str, each.absolute_path))}: {each.message[:200]}"
        for each in (of_error if is_error else of_result).iter_errors(result)
    ]


def schema_name(command: str) -> str:
    """Return the schema of a command, such as `audit verify`."""
    return "summary" if command in {"sweep", "plan", "restore"} else command.replace(" ", "-")

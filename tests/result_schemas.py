"""Compares results with the JSON Schemas made from their types."""

import copy
from functools import cache

import jsonschema

from invite_sweeper.cli.reference import schema_of


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


def _validator(name: str, result: dict[str, object]) -> jsonschema.Draft202012Validator:
    of_result, of_error = _validators(name)
    return of_error if result.keys() == {"exit_code", "reasons", "error"} else of_result


def mismatches(name: str, result: dict[str, object]) -> list[str]:
    """Return what is wrong with a result."""
    return [
        f"{'/'.join(map(str, each.absolute_path))}: {each.message[:200]}"
        for each in _validator(name, result).iter_errors(result)
    ]


def fits(name: str, result: dict[str, object]) -> bool:
    return _validator(name, result).is_valid(result)


def schema_name(command: str) -> str:
    """Return the schema of a command, such as `audit verify`."""
    return "summary" if command in {"sweep", "plan", "restore"} else command.replace(" ", "-")

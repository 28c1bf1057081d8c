"""The policy's JSON Schema, for editors."""

from invite_sweeper.policy.model import PolicyFile

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that all editors with YAML support read."""


def json_schema() -> dict[str, object]:
    """Describe a policy file for an editor: keys, types, words, examples, defaults.

    It is a little wider than `parse_policy`: what only the whole file shows (names that
    stand twice, characters that nobody sees) is left to that.
    """
    made: dict[str, object] = PolicyFile.model_json_schema(by_alias=False)
    return {"$schema": _DRAFT, **made, "title": "Policy of invite-sweeper"}

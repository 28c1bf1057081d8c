"""Command `schema`: the JSON Schema of the policy."""

import sys

import click
import msgspec

from invite_sweeper.cli.options import SectionedCommand
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import json_schema


@click.command(cls=SectionedCommand)
def schema() -> None:
    """Print the JSON Schema of the policy, for editors.

    Example: invite-sweeper schema > policy.schema.json
    """
    sys.stdout.buffer.write(msgspec.json.format(to_json(json_schema()), indent=2) + b"\n")

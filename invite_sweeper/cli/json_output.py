"""The results of commands as JSON on stdout."""

from invite_sweeper.cli.streams import RESULT
from invite_sweeper.json_text import to_json


def write_json(result: object) -> None:
    """Write a result to stdout as one line of JSON."""
    RESULT.write(to_json(result) + b"\n")

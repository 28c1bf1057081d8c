"""`--output json` on every exit: one object on stdout, the result or the error in its place.

Imports only what `--version` may import.
"""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Final

from invite_sweeper.errors import RunError

_OPTION: Final = "--output"


def json_requested(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, also if it cannot be parsed."""
    words = list(takewhile(lambda word: word != "--", arguments))
    values = [value for word, value in pairwise(words) if word == _OPTION]
    values += [word.partition("=")[2] for word in words if word.startswith(f"{_OPTION}=")]
    return any(value.lower() == "json" for value in values)


class JsonResult:
    """The one object that a command writes to stdout."""

    def __init__(self) -> None:
        self._written = False

    def write(self, data: bytes) -> None:
        """Write the result, one line of JSON."""
        self._written = True
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def write_error(self, error: RunError) -> None:
        """Write an error, unless the result was written: it says what happened."""
        if not self._written:
            result = {"exit_code": int(error.exit_code), "reasons": error.reasons}
            self.write(json.dumps({**result, "error": error.to_json()}).encode() + b"\n")


RESULT: Final = JsonResult()
"""Of this process."""

"""The results of commands as JSON on stdout."""

import re
from typing import Final

from invite_sweeper.cli.streams import RESULT
from invite_sweeper.json_text import to_json

_INVISIBLE: Final = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""C1 control characters, which a terminal obeys, and marks that reverse or hide a part of text."""


def json_line(value: object) -> bytes:
    """Return one line of JSON that a terminal can show: names in it come from other people."""
    data = to_json(value)
    if not data.isascii() or b"\x7f" in data:
        data = _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode()).encode()
    return data + b"\n"


def write_json(result: object) -> None:
    """Write a result to stdout as one line of JSON."""
    RESULT.write(json_line(result))

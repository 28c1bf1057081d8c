"""The results of commands as JSON on stdout."""

from collections.abc import Mapping

import orjson

from invite_sweeper.cli.streams import RESULT

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def write_json(result: Mapping[str, object]) -> None:
    """Write a result to stdout as one line of JSON."""
    RESULT.write(orjson.dumps(result, option=_OPTIONS))

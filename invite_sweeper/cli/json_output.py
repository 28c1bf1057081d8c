"""JSON on stdout: the result, or the error where there is none."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson

from invite_sweeper.cli.options import Output
from invite_sweeper.errors import RunError

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def write_json(result: Mapping[str, object]) -> None:
    """Write a result to stdout as one line of JSON."""
    sys.stdout.buffer.write(orjson.dumps(result, option=_OPTIONS))
    sys.stdout.buffer.flush()


@contextmanager
def errors_as_json(output: Output) -> Iterator[None]:
    """With `--output json`, also write an error that leaves the block to stdout."""
    try:
        yield
    except RunError as error:
        if output is Output.JSON:
            result = {"exit_code": int(error.exit_code), "reasons": error.reasons}
            write_json({**result, "error": error.to_json()})
        raise

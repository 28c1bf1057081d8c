"""The end of an audit log: its last whole line, and what a crash left after it."""

import os
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import NamedTuple

import orjson

from invite_sweeper.audit.record import line_hash
from invite_sweeper.errors import AuditUnwritable

_BEGINNING = b'{"ts":"'
_BLOCK_BYTES = 1 << 16
_ENDS = 3
"""Line ends that are sure to hold two whole lines between them."""
_MOST_BYTES = 1 << 24
"""Two lines are never longer than this; a file without line ends is no audit log."""


class Tail(NamedTuple):
    """How an audit log ends.

    Attributes:
        size: Bytes up to and with the last whole line.
        last_hash: That line's hash; None where there is no line.
        torn: Something follows it: a line without an end, or one that is no JSON.
    """

    size: int
    last_hash: str | None
    torn: bool


def read_tail(fd: int, path: Path) -> Tail:
    """Find the last whole line. Reads the end of the file only, however long it is.

    Raises:
        AuditUnwritable: What would be before the torn end is no line of an audit log, so
            this is another kind of file, or a badly damaged one; it is left as it is.
        OSError: The file cannot be read.
    """
    end = os.fstat(fd).st_size
    lines, torn = _last_two(fd, path, end)
    if not torn and lines and not is_line(lines[-1]):
        torn = lines.pop() + b"\n"
    last = lines[-1] if lines else None
    if torn and not (may_begin(torn) if last is None else is_line(last)):
        raise _no_log(path)
    return Tail(end - len(torn), None if last is None else line_hash(last), bool(torn))


def may_begin(torn: bytes) -> bool:
    """Whether a crash may have left this of a file's first line: its beginning, or nothing."""
    return _BEGINNING.startswith(torn[: len(_BEGINNING)]) or not torn.strip(b"\0")


def _last_two(fd: int, path: Path, end: int) -> tuple[list[bytes], bytes]:
    """Up to two last whole lines, and what follows the last newline."""
    data = b""
    start = end
    while start > 0 and data.count(b"\n") < _ENDS:
        if len(data) >= _MOST_BYTES:
            raise _no_log(path)
        step = min(_BLOCK_BYTES, start)
        start -= step
        data = os.pread(fd, step, start) + data
    *lines, fragment = data.split(b"\n")
    return (lines if start == 0 else lines[1:])[-2:], fragment


def _no_log(path: Path) -> AuditUnwritable:
    return AuditUnwritable(
        f"{path} is no audit log, or its end is damaged by more than one torn line.",
        hint="See what `audit verify` says of it, or name another file.",
    )


def is_tear(rest: bytes) -> bool:
    """Whether a crash may have left this after a log's last newline.

    Not where a whole line is followed by more: then it is the newline that was changed.
    """
    text = rest.decode("utf-8", "replace")
    try:
        _, end = JSONDecoder().raw_decode(text)
    except (JSONDecodeError, RecursionError):
        return True
    return end == len(text)


def is_line(line: bytes) -> bool:
    """Whether this is a line of an audit log, by its form: a JSON object that follows another."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and {"run_id", "seq", "event", "prev"} <= record.keys()

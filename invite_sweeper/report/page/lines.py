"""Reads audit logs line by line, whatever stands in them, in flat memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from invite_sweeper.errors import UsageFault
from invite_sweeper.report.values import parse_line, text

LONGEST_LINE = 1 << 23
"""Bytes; what is longer is no audit line and is skipped to its end."""


def raw_lines(path: Path) -> Iterator[bytes]:
    """Each line without its newline, in the file's order; an overlong one as `b""`.

    Raises:
        UsageFault: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            while raw := stream.readline(LONGEST_LINE):
                if not raw.endswith(b"\n") and len(raw) == LONGEST_LINE:
                    _skip_line(stream)
                    raw = b""
                yield raw.rstrip(b"\r\n")
    except OSError as error:
        raise UsageFault(
            f"The audit log {path} cannot be read: {error.strerror}.",
            hint="Name files that exist and that you may read.",
        ) from error


def _skip_line(stream: BinaryIO) -> None:
    while (more := stream.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
        pass


def in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Each file once, the one that begins first first: a rotated log is read as it was written.

    Raises:
        UsageFault: A file cannot be read.
    """
    files = dict.fromkeys(path.resolve() for path in paths)
    return tuple(sorted(files, key=lambda path: (_beginning(path), str(path))))


def _beginning(path: Path) -> str:
    for raw in raw_lines(path):
        line = parse_line(raw)
        if line is not None:
            return text(line.get("ts"))
    return ""

"""The path of an audit log: placeholders, the lock file, and the files of earlier runs."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.reader import open_log
from invite_sweeper.errors import RunError, UsageError

DEFAULT_PATH = "audit/invite-sweeper.jsonl"
DEFAULT_LOG = Path(DEFAULT_PATH)
_STDOUT = "-"
_PLACEHOLDER = re.compile(r"\{(date|run_id)\}")
_PLACEHOLDER_PATTERNS = {"date": r"\d{4}-\d\d-\d\d", "run_id": r"[\w-]+"}
_ROTATION_SUFFIX = (
    r"(?:-\d{8}(?:-\d+)?|-\d{4}-\d\d-\d\d|-\d{10}|\.\d+)?(?:\.(?:gz|bz2|xz|lzma|zst|lz4|Z|zip))?"
)
"""The suffixes of logrotate, with and without `dateext`, and of its compression programs.

Only gzip can be read (`reader.open_log`): the other files are found so that a run is refused.
"""
_ROTATED_NAME = re.compile(
    r"(?P<log>.+?)(?:-(?P<date>\d{8})(?:-(?P<part>\d+))?|\.(?P<number>\d+))?(?:\.gz)?"
)
_FIRST_TIMESTAMP = re.compile(rb'\s*\{\s*"ts"\s*:\s*"([^"]*)"')
_FIRST_TIMESTAMP_BYTES = 256


@dataclass(frozen=True, slots=True)
class LogPath:
    """The value of `audit.path` or `--audit-log`.

    Attributes:
        template: A path that may contain `{date}` and `{run_id}`.
        copy_to_stdout: Whether each line is also written to standard output.
    """

    template: str
    copy_to_stdout: bool = False

    @classmethod
    def parse(cls, text: str) -> "LogPath":
        """Parse `FILE`, `FILE -` (with a copy on standard output) or `-` (default file, copied).

        Raises:
            UsageError: The text does not name a file, or contains an unknown placeholder.
        """
        template, copy = text, False
        if text == _STDOUT or text.endswith(f" {_STDOUT}"):
            template, copy = text.removesuffix(_STDOUT).rstrip() or DEFAULT_PATH, True
        if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
            raise UsageError(
                f"The audit log path {template} contains braces that are not a placeholder.",
                hint="Use only the placeholders {date} and {run_id}.",
            )
        if not Path(template).name:
            raise UsageError(
                f"The audit log path {template!r} does not name a file.",
                hint=f"Name a file, for example {DEFAULT_PATH}.",
            )
        return cls(template, copy)

    @classmethod
    def from_option(cls, option: str | None, default: str) -> "LogPath":
        """Parse the option, or the default if the option was not used.

        Raises:
            UsageError: See `parse`. An empty option does not name a file.
        """
        return cls.parse(default if option is None else option)

    def path_of_run(self, *, now: datetime, run_id: str) -> Path:
        """Return the file of one run; `{date}` is the day of `now` in UTC."""
        values = {"date": now.astimezone(UTC).date().isoformat(), "run_id": run_id}
        return Path(_PLACEHOLDER.sub(lambda found: values[found[1]], self.template))

    @property
    def lock_path(self) -> Path:
        """The lock file of all runs with this template, in the deepest directory they share.

        `audit/log.jsonl.lock` for `audit/log.jsonl`; `audit/date-run_id.jsonl.lock` for
        `audit/{date}/{run_id}.jsonl`.
        """
        directory, varying = self._split_fixed_part()
        return directory / (_PLACEHOLDER.sub(r"\1", "-".join(varying)) + ".lock")

    @property
    def name(self) -> str:
        """The name of all files together: `log.jsonl`, or `date-run_id.jsonl`."""
        return self.lock_path.name.removesuffix(".lock")

    @property
    def head_path(self) -> Path:
        """The file that describes the end of the log, hidden from `audit verify *.jsonl*`."""
        return self.lock_path.with_name(f".{self.name}.head")

    @property
    def varying_part(self) -> str:
        """The template below the directory of the lock file."""
        return str(Path(*self._split_fixed_part()[1]))

    def files(self) -> tuple[Path, ...]:
        """Return the existing logs with this template, rotated ones included, oldest first."""
        directory, varying = self._split_fixed_part()
        *directory_patterns, last = map(_pattern, varying)
        found = [directory]
        for pattern in (*directory_patterns, last + _ROTATION_SUFFIX):
            name = re.compile(pattern)
            inside = (each for parent in found if parent.is_dir() for each in parent.iterdir())
            found = [each for each in inside if name.fullmatch(each.name)]
        return sort_by_start(path for path in found if path.is_file())

    def matches(self, path: Path) -> bool:
        """Return whether `files` would include this path if the file existed."""
        directory, varying = self._split_fixed_part()
        try:
            parts = Path(os.path.realpath(path)).relative_to(os.path.realpath(directory)).parts
        except ValueError:
            return False
        *directory_patterns, last = map(_pattern, varying)
        patterns = (*directory_patterns, last + _ROTATION_SUFFIX)
        return len(parts) == len(patterns) and all(map(re.fullmatch, patterns, parts))

    def _split_fixed_part(self) -> tuple[Path, tuple[str, ...]]:
        """Return the directory without placeholders and the path parts below it."""
        parts = Path(self.template).parts
        varying = [number for number, part in enumerate(parts) if _PLACEHOLDER.search(part)]
        fixed_count = min((*varying, len(parts) - 1))
        return Path(*parts[:fixed_count]), parts[fixed_count:]


class RotatedName(NamedTuple):
    """The name of a log's file, as logrotate builds it.

    Attributes:
        log: The name before rotation.
        age: Sorts the rotated files of one log: the older, the smaller. None without a suffix.
    """

    log: str
    age: tuple[int, int] | None

    @classmethod
    def of(cls, path: Path) -> "RotatedName":
        """Split the name of a file."""
        found = _ROTATED_NAME.fullmatch(path.name)
        if found is None:
            return cls(path.name, None)
        if found["number"]:
            return cls(found["log"], (0, -int(found["number"])))
        if found["date"]:
            return cls(found["log"], (int(found["date"]), int(found["part"] or 0)))
        return cls(found["log"], None)


def sort_by_start(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return audit logs by the timestamp of their first line, oldest first.

    Files without a readable first timestamp come last, by name.
    """
    return tuple(sorted(paths, key=lambda path: (_first_timestamp(path) or "~", str(path))))


def _first_timestamp(path: Path) -> str:
    """Return `ts` of the file's first line. All are UTC in one format and sort as text."""
    try:
        with open_log(path) as file:
            found = _FIRST_TIMESTAMP.match(file.read(_FIRST_TIMESTAMP_BYTES))
    except (OSError, RunError):
        return ""
    return found[1].decode("ascii", "replace") if found else ""


def _pattern(part: str) -> str:
    """Return a regular expression for the names that a part of a template can produce."""
    pieces = _PLACEHOLDER.split(part)
    return "".join(
        _PLACEHOLDER_PATTERNS[piece] if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )

"""Path template, rotated files."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from invite_sweeper.errors import UsageError

DEFAULT_LOG = Path("audit/invite-sweeper.jsonl")


# Where the audit log of a run is, where its lock is, and which files came before.


DEFAULT_PATH = "audit/invite-sweeper.jsonl"
_STDOUT = "-"
_PLACEHOLDER = re.compile(r"\{(date|run_id)\}")
_PLACEHOLDER_PATTERNS = {"date": r"\d{4}-\d\d-\d\d", "run_id": r"[\w-]+"}
_ROTATION_SUFFIX = r"(?:-\d{8}(?:-\d+)?|\.\d+)?"
"""What logrotate adds to a name, with `dateext` and without it."""
_FIRST_TIMESTAMP = re.compile(rb'\s*\{\s*"ts"\s*:\s*"([^"]*)"')
_FIRST_TIMESTAMP_BYTES = 256


@dataclass(frozen=True, slots=True)
class LogPath:
    """What `audit.path` or `--audit-log` asks for.

    Attributes:
        template: A path that may hold `{date}` and `{run_id}`.
        copy_to_stdout: Each line goes to standard output as well.
    """

    template: str
    copy_to_stdout: bool = False

    @classmethod
    def parse(cls, text: str) -> "LogPath":
        """Read `FILE`, `FILE -` (with a copy on standard output) or `-` (the default file and it).

        Raises:
            UsageFault: There is no file in it, or braces around something else.
        """
        template, copy = text, False
        if text == _STDOUT or text.endswith(f" {_STDOUT}"):
            template, copy = text.removesuffix(_STDOUT).rstrip() or DEFAULT_PATH, True
        if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
            raise UsageError(
                f"The audit log's path {template} holds braces around something else.",
                hint="It may hold {date} and {run_id}.",
            )
        if not Path(template).name:
            raise UsageError(f"The audit log's path {template!r} names no file.")
        return cls(template, copy)

    @classmethod
    def from_option(cls, option: str | None, default: str) -> "LogPath":
        """Read what an option names; where it was not given, what holds otherwise.

        Raises:
            UsageFault: As for `parse`; an option that is given and empty names no file.
        """
        return cls.parse(default if option is None else option)

    def path_of_run(self, *, now: datetime, run_id: str) -> Path:
        """The file of one run; `{date}` is the day of `now` in UTC."""
        values = {"date": now.astimezone(UTC).date().isoformat(), "run_id": run_id}
        return Path(_PLACEHOLDER.sub(lambda found: values[found[1]], self.template))

    @property
    def lock_path(self) -> Path:
        """The lock of all runs with this template, in the last folder that they share.

        `audit/log.jsonl.lock` for `audit/log.jsonl`; `audit/date-run_id.jsonl.lock` for
        `audit/{date}/{run_id}.jsonl`.
        """
        directory, varying = self._split_fixed_part()
        return directory / (_PLACEHOLDER.sub(r"\1", "-".join(varying)) + ".lock")

    def files(self) -> tuple[Path, ...]:
        """The logs of earlier runs, rotated ones too, the oldest first; empty where none is."""
        directory, varying = self._split_fixed_part()
        *directory_patterns, last = map(_pattern, varying)
        found = [directory]
        for pattern in (*directory_patterns, last + _ROTATION_SUFFIX):
            name = re.compile(pattern)
            inside = (each for parent in found if parent.is_dir() for each in parent.iterdir())
            found = [each for each in inside if name.fullmatch(each.name)]
        return sort_by_start(path for path in found if path.is_file())

    def matches(self, path: Path) -> bool:
        """Tell whether `files` would give a file of this name, were it there."""
        directory, varying = self._split_fixed_part()
        try:
            parts = Path(os.path.realpath(path)).relative_to(os.path.realpath(directory)).parts
        except ValueError:
            return False
        *directory_patterns, last = map(_pattern, varying)
        patterns = (*directory_patterns, last + _ROTATION_SUFFIX)
        return len(parts) == len(patterns) and all(map(re.fullmatch, patterns, parts))

    def _split_fixed_part(self) -> tuple[Path, tuple[str, ...]]:
        """The folder that no placeholder changes, and the parts below it."""
        parts = Path(self.template).parts
        varying = [number for number, part in enumerate(parts) if _PLACEHOLDER.search(part)]
        fixed_count = min((*varying, len(parts) - 1))
        return Path(*parts[:fixed_count]), parts[fixed_count:]


def sort_by_start(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Audit logs, the one that begins first first: a rotated log is read as it was written.

    One whose beginning cannot be told comes last, with its like by name.
    """
    return tuple(sorted(paths, key=lambda path: (_first_timestamp(path) or "~", str(path))))


def _first_timestamp(path: Path) -> str:
    """The `ts` of the file's first line; all are UTC of one form, so they sort as text."""
    try:
        with path.open("rb") as file:
            found = _FIRST_TIMESTAMP.match(file.read(_FIRST_TIMESTAMP_BYTES))
    except OSError:
        return ""
    return found[1].decode("ascii", "replace") if found else ""


def _pattern(part: str) -> str:
    """A regular expression for all names that a part of a template may become."""
    pieces = _PLACEHOLDER.split(part)
    return "".join(
        _PLACEHOLDER_PATTERNS[piece] if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )

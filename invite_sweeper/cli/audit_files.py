"""Which files of an audit directory a command reads, and of which time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from invite_sweeper.audit import (
    AuditDirectory,
    RunFile,
    Verification,
    verify,
    verify_directory,
)
from invite_sweeper.cli.options import PRESENT
from invite_sweeper.cli.session import load_policy

PATHS: Final = click.argument(
    "paths", help="An audit directory, or files of runs.", metavar="[DIR or FILE…]",
    nargs=-1, type=PRESENT,
)  # fmt: skip


def parse_time(text: str, days: int = 0) -> datetime:
    """Return an instant; a date is the beginning of that day in UTC, plus `days`."""
    try:
        if len(text) == len("2026-11-25"):
            return datetime.fromisoformat(f"{text}T00:00Z") + timedelta(days)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"{text!r} is not a date such as 2026-11-25 or an instant such as 2026-11-25T01:00:00Z."
    )


def find_directory(policy: Path, audit_dir: Path | None) -> AuditDirectory:
    """Return the audit directory: of the option, else that of the policy."""
    return AuditDirectory(audit_dir or policy.parent / load_policy(policy).audit.directory)


def verify_runs(
    paths: Sequence[Path], policy: Path, audit_dir: Path | None, expect_head: str | None = None
) -> tuple[Sequence[RunFile], Verification]:
    """Verify the files that a command reads: all of a directory, or those that are named.

    Raises:
        UsageError: There are none; the policy that names the directory cannot be read.
    """
    if len(paths) > 1 or (paths and not paths[0].is_dir()):
        files = tuple(sorted(RunFile.of(each.absolute()) for each in paths))
        return files, verify(files, expect_head=expect_head)
    directory = AuditDirectory(paths[0]) if paths else find_directory(policy, audit_dir)
    directory.check_not_empty()
    return directory.files(), verify_directory(directory, expect_head)

"""Which files of an audit directory a command reads."""

from collections.abc import Sequence
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

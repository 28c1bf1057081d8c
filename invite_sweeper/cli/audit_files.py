"""Which files of an audit directory a command reads."""

from collections.abc import Sequence
from os.path import realpath
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
from invite_sweeper.cli.settings import load_policy
from invite_sweeper.errors import UsageError

PATHS: Final = click.argument(
    "paths", help="An audit directory, or files of runs.", metavar="[DIR or FILE…]",
    nargs=-1, type=PRESENT,
)  # fmt: skip


def find_directory(policy: Path, audit_dir: Path | None) -> AuditDirectory:
    """Return the audit directory: of the option, else that of the policy."""
    return AuditDirectory(audit_dir or policy.parent / load_policy(policy).audit.directory)


def check_outside(option: str, path: Path, directory: Path | None) -> None:
    """Raise UsageError if an output would be in an audit directory, or a run of another one.

    Args:
        directory: None where none is in use.
    """
    target = Path(realpath(path))
    folder = target.parent
    # A file that is named as that of a run would be one of another directory, or damage it.
    is_of_others = RunFile.of(target).number > 0 and (folder / "HEAD").exists()
    is_of_own = directory is not None and folder == Path(realpath(directory))
    if is_of_own or is_of_others:
        raise UsageError(
            f"{option} {path} is in the audit directory {folder}.",
            hint="Choose a file elsewhere.",
        )


def verify_runs(
    paths: Sequence[Path], policy: Path, audit_dir: Path | None, expect_head: str | None = None
) -> tuple[Sequence[RunFile], Verification]:
    """Verify the files that a command reads: all of a directory, or those that are named.

    Raises:
        UsageError: There are none; the policy that names the directory cannot be read.
    """
    is_directory = len(paths) == 1 and paths[0].is_dir()
    if paths and not is_directory:
        files = sorted(RunFile.of(path.absolute()) for path in paths)
        return tuple(files), verify(files, expect_head=expect_head)
    directory = AuditDirectory(paths[0]) if paths else find_directory(policy, audit_dir)
    directory.check_not_empty()
    return directory.files(), verify_directory(directory, expect_head)

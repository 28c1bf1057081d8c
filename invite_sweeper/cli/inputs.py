"""The files that a command reads: its policy, and runs of an audit directory."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from os.path import realpath
from pathlib import Path
from typing import Final

import click

from invite_sweeper.atlas.credentials import register_credentials
from invite_sweeper.audit import (
    AuditDirectory,
    RunFile,
    Verification,
    verify,
    verify_directory,
)
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.options import PRESENT
from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.policy import MAX_BYTES, Policy, parse_duration_option, parse_policy
from invite_sweeper.redaction import SECRETS, SIGNING_KEY_PREFIX
from invite_sweeper.text import shell_command

_NAMED_VARIABLE: Final = re.compile(
    r"""
    (?:url|secret)_env["']? \s*:\s*  # a key of YAML, quoted or not
    (?:[>|][-+0-9]*\s*)?  # the header of a block
    ["']?(\w+)
    """,
    re.ASCII | re.VERBOSE,
)


def receiver_variables(policy: str) -> list[str]:
    """Return the variables that the text of a policy, which may have errors, names."""
    return _NAMED_VARIABLE.findall(policy)


def register_receivers(variables: Iterable[str], environment: Mapping[str, str]) -> None:
    """Register the addresses and keys of receivers, which no output may show."""
    for name in variables:
        value = environment.get(name, "").strip()
        SECRETS.add_url(value)
        SECRETS.add(value.removeprefix(SIGNING_KEY_PREFIX))


def read_policy(path: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the bytes of a policy; every secret of the environment is registered before.

    The file may be that of a token, and the errors of a policy quote it.

    Raises:
        UsageError: A secret is in the wrong variable or in the policy, or it cannot be read.
    """
    register_credentials(environment)
    try:
        data = read_small_file(path, MAX_BYTES)  # at most one more than is allowed
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read: {error.strerror or error}.",
            hint="Set the path with --policy PATH or INVITE_SWEEPER_POLICY, or write a first "
            "policy:",
            command=shell_command("init", "PATH"),
        ) from None
    text = data.decode(errors="replace")
    register_receivers(receiver_variables(text), environment)
    check_has_no_secret(path, text)
    return data


def check_has_no_secret(path: Path, text: str) -> None:
    """Raise UsageError if a policy contains a known secret: each run records its policy."""
    if SECRETS.knows(text):
        lines = [n for n, line in enumerate(text.split("\n"), 1) if SECRETS.knows(line)]
        where = f" in line {lines[0]}" if lines else ""
        raise UsageError(
            f"The policy {path} contains a secret of the environment{where}.",
            hint="Remove it from the file, and replace the secret: others may have read it.",
        )


def load_policy(
    path: Path, environment: Mapping[str, str] = os.environ, *, deadline: str | None = None
) -> Policy:
    """Load a policy as `read_policy` reads it.

    Raises:
        UsageError: See `read_policy`; or the deadline is not a duration.
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy = parse_policy(read_policy(path, environment), str(path))
    if deadline is None:
        return policy
    changed = {"deadline": parse_duration_option("--deadline", deadline)}
    return policy.model_copy(update={"execution": policy.execution.model_copy(update=changed)})


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
    paths: Sequence[Path],
    policy: Path,
    audit_dir: Path | None,
    expect_head: str | None = None,
    fold: Fold | None = None,
) -> tuple[Sequence[RunFile], Verification]:
    """Verify the files that a command reads: all of a directory, or those that are named.

    Args:
        fold: As in `verify`.

    Raises:
        UsageError: There are none; the policy that names the directory cannot be read.
    """
    is_directory = len(paths) == 1 and paths[0].is_dir()
    if paths and not is_directory:
        files = sorted(RunFile.of(path.absolute()) for path in paths)
        return tuple(files), verify(files, None, expect_head, fold)
    directory = AuditDirectory(paths[0]) if paths else find_directory(policy, audit_dir)
    directory.check_not_empty()
    return directory.files(), verify_directory(directory, expect_head, fold)

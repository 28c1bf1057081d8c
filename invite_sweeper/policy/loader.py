"""Load a policy from its file and apply the options that override it."""

from datetime import timedelta
from pathlib import Path

from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.policy import parse_policy
from invite_sweeper.policy.durations import DurationError, parse_duration
from invite_sweeper.policy.policy import Policy
from invite_sweeper.policy.yaml_reader import MAX_BYTES
from invite_sweeper.program import command


def load_policy(path: Path, *, deadline: str | None = None) -> Policy:
    """Load the policy at `path`.

    Raises:
        UsageError: The file cannot be read, or the deadline is not a duration.
        InvalidPolicy: The file has errors. It lists all of them.
    """
    policy = parse_policy(read_policy(path), str(path))
    if deadline is None:
        return policy
    changed = {"deadline": parse_duration_option("--deadline", deadline)}
    return policy.model_copy(update={"execution": policy.execution.model_copy(update=changed)})


def read_policy(path: Path) -> bytes:
    """Read the policy at `path`, up to more than is allowed."""
    try:
        return read_small_file(path, MAX_BYTES)
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read: {error.strerror or error}.",
            hint="Set the path with --policy PATH or INVITE_SWEEPER_POLICY, or write a first "
            f"policy: {command('init', 'PATH')}",
        ) from None


def parse_duration_option(option: str, text: str) -> timedelta:
    """Parse the duration given to an option.

    Raises:
        UsageError: It is not a duration, or not above zero.
    """
    try:
        return parse_duration(text)
    except DurationError as error:
        raise UsageError(
            f"{option} {text!r} {error.message}.", hint=f"{error.hint[:1].upper()}{error.hint[1:]}."
        ) from None

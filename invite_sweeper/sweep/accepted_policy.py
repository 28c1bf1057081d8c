"""The policy of the last finished sweep, and its copy beside the audit log."""

from dataclasses import dataclass
from pathlib import Path

from invite_sweeper.audit import History, LogPath
from invite_sweeper.errors import AuditLogError, InvalidPolicy
from invite_sweeper.files import replace_file
from invite_sweeper.policy import Policy, parse_policy


@dataclass(frozen=True, slots=True)
class AcceptedPolicy:
    """The policy of the last finished sweep.

    Attributes:
        quarantine: Whether it set `quarantine`; this decides about a change of the policy.
        policy: Its copy, or the reason why there is none.
    """

    sha256: str | None
    quarantine: bool
    policy: "Policy | str"


def policy_copy_path(log_path: LogPath, sha256: str) -> Path:
    """Return the path of a policy's copy, beside the lock file of the audit log."""
    return log_path.lock_path.with_name(f"policy-{sha256[:16]}.yaml")


def save_policy_copy(log_path: LogPath, policy: Policy, data: bytes) -> None:
    """Save the policy of a sweep, so that a later run can show the effect of a change.

    Raises:
        AuditLogError: The copy could not be written. Nothing was deleted.
    """
    path = policy_copy_path(log_path, policy.sha256)
    try:
        replace_file(path, [data])
    except OSError as error:
        raise AuditLogError(f"Could not save the policy copy {path}: {error.strerror}.") from None


def load_policy_copy(log_path: LogPath, sha256: str) -> Policy | str:
    """Return an earlier policy from its copy, or the reason why that is not possible."""
    path = policy_copy_path(log_path, sha256)
    try:
        policy = parse_policy(path.read_bytes(), str(path))
    except FileNotFoundError:
        return f"there is not a copy of it at {path}"
    except OSError as error:
        return f"its copy {path} cannot be read ({error.strerror})"
    except InvalidPolicy:
        return f"its copy {path} is not a valid policy"
    return policy if policy.sha256 == sha256 else f"its copy {path} was changed"


def accepted_policy(history: History, log_path: LogPath) -> AcceptedPolicy | None:
    """Return the policy of the last finished sweep; None without a sweep.

    A sweep of an earlier version did not record whether its policy set `quarantine`. It
    saved a copy only if it did, so a copy that is there and cannot be read counts as set.
    """
    run = history.last_sweep()
    if run is None or run.start is None:
        return None
    sha256 = run.start.policy_sha256
    copy = load_policy_copy(log_path, sha256 or "")
    quarantine = run.start.quarantine
    if quarantine is None and isinstance(copy, Policy):
        quarantine = copy.limits.quarantine
    elif quarantine is None:
        quarantine = policy_copy_path(log_path, sha256 or "").exists()
    return AcceptedPolicy(sha256, quarantine, copy)

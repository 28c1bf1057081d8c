"""What earlier runs left behind, as far as this run has to mind it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from invite_sweeper.audit import (
    AuditTarget,
    Bounces,
    OpenIntent,
    last_population,
    last_sweep_policy,
    past_runs,
    unfinished_intents,
)
from invite_sweeper.audit.history import PastRun
from invite_sweeper.errors import AuditUnwritable, ExitCode, PolicyFault
from invite_sweeper.guard import Population
from invite_sweeper.policy import Policy, parse_policy

_APPLIED = frozenset({ExitCode.DONE, ExitCode.PARTLY})


@dataclass(frozen=True, slots=True)
class Precedents:
    """The audit log of earlier runs, rotated files included, oldest first.

    Read while the lock is held, so nothing is added meanwhile. A damaged line refuses the
    run: what is not known was perhaps sent.
    """

    files: Sequence[Path]

    @classmethod
    def of(cls, target: AuditTarget) -> "Precedents":
        """Find the logs that runs with this path have written so far."""
        return cls(target.files())

    def open_intents(self, organizations: frozenset[str], base_url: str) -> tuple[OpenIntent, ...]:
        """Give the intents of runs that were cut off, as far as they are this run's to settle.

        Those of another organization are for its own credentials, and those of another Atlas
        are not known to this one: what is pending there would seem to be gone. A run that did
        not tell which Atlas it asked is taken to be of this.
        """
        return tuple(
            intent
            for intent in unfinished_intents(*self.files)
            if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
        )

    def population(
        self, shard: str | None, organizations: frozenset[str], base_url: str
    ) -> Population | None:
        """Give what the last complete run of the same shard, organizations and Atlas left."""
        last = last_population(
            *self.files, shard=shard, organizations=organizations, base_url=base_url
        )
        return Population(last.projects, last.invitations) if last is not None else None

    def bounces(self) -> Bounces:
        """Give how often each invitation was deleted before."""
        return Bounces(*self.files)

    def has_carried_out(self, digest: str) -> bool:
        """Tell whether a sweep by this plan has gone through; one that was cut off has not."""
        return any(_carried_out(run, digest) for run in past_runs(*self.files))

    def last_policy_sha256(self) -> str | None:
        """Give the hash of the last sweep's policy; None where there was no sweep."""
        return last_sweep_policy(*self.files)


def _carried_out(run: PastRun, digest: str) -> bool:
    applied = run.mode == "sweep" and run.exit_code in _APPLIED
    return applied and run.started.get("plan_sha256") == digest


def policy_copy(target: AuditTarget, sha256: str) -> Path:
    """Name the copy of a policy that is kept beside the lock of the audit log."""
    return target.lock_path.with_name(f"policy-{sha256[:16]}.yaml")


def keep_copy(target: AuditTarget, policy: Policy, data: bytes) -> None:
    """Keep the policy of a sweep, so that the next one can tell what a change of it does.

    Raises:
        AuditUnwritable: It cannot be kept. Nothing was deleted.
    """
    path = policy_copy(target, policy.sha256)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise AuditUnwritable(
            f"The policy's copy {path} cannot be kept: {error.strerror}."
        ) from None


def kept_policy(target: AuditTarget, sha256: str) -> Policy | None:
    """Read the copy of an earlier policy; None where there is none, or not the one meant."""
    path = policy_copy(target, sha256)
    try:
        policy = parse_policy(path.read_bytes(), str(path))
    except (OSError, PolicyFault):
        return None
    return policy if policy.sha256 == sha256 else None

"""What the audit logs of earlier runs say about the next one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from invite_sweeper.audit import (
    DeletionHistory,
    LogPath,
    OpenIntent,
    last_population,
    last_sweep,
    open_intents,
    read_runs,
)
from invite_sweeper.audit.history import RunRecord
from invite_sweeper.audit.reader import require_audit_log
from invite_sweeper.errors import ExitCode, GuardRefused, Reason, UsageError
from invite_sweeper.models import Population, Source
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.accepted_policy import AcceptedPolicy, load_policy_copy, policy_copy_path
from invite_sweeper.sweep.changes import ChangeTracker, PlanScope
from invite_sweeper.sweep.scope import scope_sha256

APPLIED_CODES = frozenset({ExitCode.DONE, ExitCode.PARTIAL})


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Raise GuardRefused if the history cannot be read: a guard that misses a part of it fails."""
    try:
        yield
    except (UsageError, OSError) as error:
        message = (
            error.message
            if isinstance(error, UsageError)
            else f"The directory {error.filename} cannot be read: {error.strerror}."
        )
        raise GuardRefused(
            f"Earlier runs cannot be read. {message}",
            hint="Restore the file, or decompress it. Moving it away removes its interrupted "
            "deletions, used plans and bounced invitations from what later runs know.",
            reasons=(Reason.EARLIER_RUNS,),
        ) from error


@dataclass(frozen=True, slots=True)
class PreviousRuns:
    """The audit logs of earlier runs, rotated and compressed files included, oldest first.

    They are read while the lock is held, so nothing is appended in between. A damaged line or
    an unreadable file stops the run: a deletion it recorded may have been sent.
    """

    files: Sequence[Path]

    @classmethod
    def find(cls, log_path: LogPath) -> "PreviousRuns":
        """Return the logs that runs with this path have written so far.

        Raises:
            GuardRefused: A directory or a file cannot be read, or a file is not an audit log.
        """
        with refuse_unreadable():
            files = log_path.files()
            for file in files:
                require_audit_log(file)
        return cls(files)

    def open_intents(self, organizations: frozenset[str], base_url: str) -> tuple[OpenIntent, ...]:
        """Return the intents without an outcome that this run can resolve.

        Intents of another organization need that organization's credentials. Intents of another
        base URL are skipped: their invitations would seem to be gone here. A run that did not
        record its base URL is assumed to have used this one.
        """
        with refuse_unreadable():
            found = open_intents(*self.files)
        return tuple(
            intent
            for intent in found
            if intent.invitation.org_id in organizations and intent.base_url in {None, base_url}
        )

    def population(self, policy: Policy, base_url: str) -> Population:
        """Return what the last complete runs left; see `last_population`."""
        with refuse_unreadable():
            return last_population(
                *self.files,
                scope_sha256=scope_sha256(policy),
                organizations=policy.organization_ids,
                base_url=base_url,
            )

    def last_plan(self, scope: PlanScope) -> ChangeTracker | None:
        """Return the last plan of a scope, to compare a new one with it; None without one."""
        with refuse_unreadable():
            return ChangeTracker.find(self.files, scope)

    def sunsets(self, base_url: str) -> dict[Source, date]:
        """Return the end of each source as the last runs against this base URL recorded it."""
        found: dict[Source, date] = {}
        with refuse_unreadable():
            for run in read_runs(*self.files):
                recorded = run.end_record.get("sunsets")
                if run.base_url != base_url or not isinstance(recorded, dict):
                    continue
                with suppress(ValueError):
                    found |= {Source(s): date.fromisoformat(str(d)) for s, d in recorded.items()}
        return found

    def deletion_history(self) -> DeletionHistory:
        """Return how often each invitation was deleted before."""
        with refuse_unreadable():
            return DeletionHistory(*self.files)

    def was_applied(self, digest: str) -> bool:
        """Return whether a sweep has completed this plan; an interrupted one has not."""
        return self.applied_by(digest) is not None

    def applied_by(self, digest: str) -> RunRecord | None:
        """Return the first run of the sweep that completed this plan; None without one."""
        groups: dict[str, list[RunRecord]] = {}
        with refuse_unreadable():
            for run in read_runs(*self.files):
                if run.mode == "sweep" and run.start_record.get("plan_sha256") == digest:
                    groups.setdefault(run.group_id, []).append(run)
        return next((runs[0] for runs in groups.values() if _has_completed(runs)), None)

    def contains(self, run_id: str) -> bool:
        """Return whether the logs have a run."""
        with refuse_unreadable():
            return any(run.run_id == run_id for run in read_runs(*self.files))

    def accepted_policy(self, log_path: LogPath) -> AcceptedPolicy | None:
        """Return the policy of the last finished sweep; None without a sweep.

        A sweep of an earlier version did not record whether its policy set `quarantine`. It
        saved a copy only if it did, so a copy that is there and cannot be read counts as set.
        """
        with refuse_unreadable():
            run = last_sweep(*self.files)
        if run is None:
            return None
        sha256 = run.policy_sha256
        copy = load_policy_copy(log_path, sha256 or "")
        quarantine = run.quarantine
        if quarantine is None and isinstance(copy, Policy):
            quarantine = copy.limits.quarantine
        elif quarantine is None:
            quarantine = policy_copy_path(log_path, sha256 or "").exists()
        return AcceptedPolicy(sha256, quarantine, copy)


def _has_completed(runs: Sequence[RunRecord]) -> bool:
    """Return whether the runs of one command applied a plan; the same command goes on otherwise."""
    ends = [run.exit_code for run in runs]
    return bool(APPLIED_CODES.intersection(ends)) and {None, ExitCode.INTERRUPTED}.isdisjoint(ends)

"""The options of a command, as typed."""

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.cli.options import DEFAULT_BASE_URL, DEFAULT_POLICY, Output


class SavedPlanOptions(NamedTuple):
    """The saved plan that a sweep must not exceed.

    Attributes:
        require_approval: The public key that must have signed the plan.
    """

    path: Path
    max_age: timedelta
    require_approval: Path | None = None


class RunOptions(NamedTuple):
    """The options of `sweep` and `plan`; `explain`, `doctor` and `restore` use a part of them.

    Attributes:
        policy_named: The policy was named by option or environment, not found by default.
        out: Where to save the plan.
        quiet_progress: No progress and no log below a warning, but the result (`demo`).
    """

    policy: Path = DEFAULT_POLICY
    base_url: str = DEFAULT_BASE_URL
    policy_named: bool = True
    audit_log: str | None = None
    dry_run: bool = False
    out: Path | None = None
    plan: SavedPlanOptions | None = None
    accept_policy: str | None = None
    accept_population: bool = False
    output: Output = Output.TEXT
    detailed_exitcode: bool = False
    yes: bool = False
    shard: str | None = None
    metrics_file: Path | None = None
    pushgateway: str | None = None
    deadline: str | None = None
    quiet: bool = False
    verbose: bool = False
    quiet_progress: bool = False

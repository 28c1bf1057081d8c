"""What the person asked for, as typed."""

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.cli.options import Output


class Order(NamedTuple):
    """One `sweep` or `plan`, as typed.

    Attributes:
        policy_named: The policy was named by option or environment, not found by default.
        out: Where to save the plan.
        plan: A saved plan to sweep by.
        calm: No progress and no log below a warning, but the result: what `demo` wants.
    """

    policy: Path
    base_url: str
    policy_named: bool = True
    audit_log: str | None = None
    dry_run: bool = False
    out: Path | None = None
    plan: Path | None = None
    plan_max_age: timedelta = timedelta(hours=24)
    require_approval: Path | None = None
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
    calm: bool = False

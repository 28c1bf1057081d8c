"""What is known of a run before it begins."""

from datetime import datetime
from typing import NamedTuple

from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials
from invite_sweeper.audit import AuditTarget
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.plan import PlanContext
from invite_sweeper.policy import Policy
from invite_sweeper.shard import Shard


class RunContext(NamedTuple):
    """What is known of a run before it begins.

    Attributes:
        started_s: On the monotonic clock.
    """

    options: RunOptions
    policy: Policy
    now: datetime
    run_id: str
    base_url: URL
    credentials: Credentials
    shard: Shard | None
    target: AuditTarget
    started_s: float

    @property
    def plan_context(self) -> PlanContext:
        """What a plan of this run is valid for."""
        return PlanContext(
            run_id=self.run_id,
            now=self.now.isoformat(),
            tool_version=__version__,
            base_url=str(self.base_url),
            organizations=tuple(sorted(self.policy.organization_ids)),
            policy_sha256=self.policy.sha256,
        )

"""What is known of a run before it begins."""

from datetime import datetime
from typing import NamedTuple

from invite_sweeper import __version__
from invite_sweeper.audit import AuditTarget
from invite_sweeper.cli.order import Order
from invite_sweeper.plan import Basis
from invite_sweeper.policy import Policy
from invite_sweeper.shard import Shard


class Facts(NamedTuple):
    """What is known of a run before it begins.

    Attributes:
        started_s: On the monotonic clock.
    """

    order: Order
    policy: Policy
    now: datetime
    run_id: str
    base_url: str
    actor: str
    shard: Shard | None
    target: AuditTarget
    started_s: float

    @property
    def basis(self) -> Basis:
        """What a plan of this run stands on."""
        return Basis(
            run_id=self.run_id,
            now=self.now.isoformat(),
            tool_version=__version__,
            base_url=self.base_url,
            organizations=tuple(sorted(self.policy.organization_ids)),
            policy_sha256=self.policy.sha256,
        )

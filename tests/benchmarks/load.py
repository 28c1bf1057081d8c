"""What a simulated Atlas contains for a benchmark."""

from dataclasses import dataclass

from invite_sweeper.simulator.seed import ORG_ID

STALE_DAYS, KEPT_DAYS = 20.0, 2.0


@dataclass(frozen=True)
class Load:
    """The contents of the simulated Atlas; all invitations are stale, or all are kept.

    Attributes:
        projects: In each organization.
        each: Invitations per project.
        organizations: Each has its own credentials.
        ready_token: These are a ready token, of one organization, instead of a service account.
    """

    projects: int
    each: int
    age_days: float = STALE_DAYS
    latency_s: float = 0.0
    organizations: int = 1
    ready_token: bool = False

    @property
    def invitations(self) -> int:
        return self.organizations * self.projects * self.each

    @property
    def organization_ids(self) -> dict[str, str]:
        """The id of each organization, and the name of its credentials."""
        first = int(ORG_ID, 16)
        return {f"{first + number:x}": f"ORG{number:02d}" for number in range(self.organizations)}

"""What a simulated Atlas contains for a benchmark."""

from dataclasses import dataclass
from math import ceil

from invite_sweeper.simulator.seed import ORG_ID

STALE_DAYS, KEPT_DAYS = 20.0, 2.0


@dataclass(frozen=True)
class Load:
    """The contents of the simulated Atlas.

    Attributes:
        projects: In each organization.
        each: Invitations per project.
        stale_one_in: With 50, one invitation of 50 is stale and 49 are kept; with 0 all are kept.
        organizations: Each has its own credentials.
        ready_token: These are a ready token, of one organization, instead of a service account.
    """

    projects: int
    each: int
    stale_one_in: int = 1
    latency_s: float = 0.0
    organizations: int = 1
    ready_token: bool = False

    @property
    def invitations(self) -> int:
        return self.organizations * self.projects * self.each

    @property
    def stale(self) -> int:
        """How many invitations are stale."""
        if not self.stale_one_in:
            return 0
        return self.organizations * ceil(self.projects * self.each / self.stale_one_in)

    def age_days(self, number: int) -> float:
        """Return the age of an invitation by its number in its organization, from 0."""
        is_stale = self.stale_one_in and number % self.stale_one_in == 0
        return STALE_DAYS if is_stale else KEPT_DAYS

    @property
    def organization_ids(self) -> dict[str, str]:
        """The id of each organization, and the name of its credentials."""
        first = int(ORG_ID, 16)
        return {f"{first + number:x}": f"ORG{number:02d}" for number in range(self.organizations)}

"""Re-invite people whose invitations runs deleted.

1. `deletions` finds what is undone: of each person the last deletion in each place.
2. `plan` reads who is there now, and who cannot be invited.
3. `restorer` sends a POST for each of the others, and records what Atlas made of it.
"""

from invite_sweeper.restore.deletions import Deletions, Wanted, count_people, find_deletions
from invite_sweeper.restore.plan import Barred, Present, RestorePlan, plan_restore
from invite_sweeper.restore.restorer import Restorer

__all__ = [
    "Barred",
    "Deletions",
    "Present",
    "RestorePlan",
    "Restorer",
    "Wanted",
    "count_people",
    "find_deletions",
    "plan_restore",
]

"""Kept invitations by name, for `-v`: the audit log holds their number alone."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from invite_sweeper.report.rows import Row, name
from invite_sweeper.selection import Decision

_MOST = 1_000
_TENTH_OF_A_DAY = timedelta(seconds=8640)


class KeptNames:
    """Notes the first kept invitations, by reason; the rest is only counted elsewhere.

    Args:
        now: The run's instant, by which ages are told.
        most: Names in memory.

    Attributes:
        rows: The names by the reason for which each was kept.
    """

    def __init__(self, now: datetime, most: int = _MOST) -> None:
        self._now = now
        self._room = most
        self.rows: Mapping[str, list[Row]] = defaultdict(list)

    def note(self, decision: Decision) -> Decision:
        """Note a decision, if there is room and it keeps something; it stays as it is."""
        if decision.kept is not None and self._room:
            self._room -= 1
            self.rows[decision.kept].append(self._row(decision))
        return decision

    def _row(self, decision: Decision) -> Row:
        invitation = decision.invitation
        created_at = invitation.created_at
        age_days = None
        if isinstance(created_at, datetime):
            # As the log does it: 13.99 days are no 14 to a rule, and must not look like them.
            age_days = ((self._now - created_at) // _TENTH_OF_A_DAY) / 10
        return Row(
            project=name(invitation.project_name) or f"organization {name(invitation.org_id)}",
            username=name(invitation.username),
            age_days=age_days,
            rule="",
            roles=tuple(map(name, invitation.roles)),
            inviter=name(invitation.inviter),
            bounced=decision.bounced,
        )

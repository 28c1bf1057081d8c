"""Re-invite people whose invitations a run deleted."""

from enum import StrEnum


class RestoreOutcome(StrEnum):
    """The `outcome` of a restore's record in the audit log."""

    RESTORED = "restored"
    """The user is invited and pending again."""
    ACTIVE = "active"
    """Atlas added the user at once as an active member, without an acceptance."""
    ALREADY_THERE = "already_there"
    """The user is invited or a member without this restore."""
    FAILED = "failed"
    """Rejected or given up; no invitation was created."""
    UNKNOWN = "unknown"
    """No response, and the lists do not prove either result."""
    SKIPPED = "skipped"
    """A signal, the deadline or a fatal error came before Atlas acted on it."""

"""Re-invites users after a run deleted their invitations, recorded in the audit log."""

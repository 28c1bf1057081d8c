"""The report of audit logs: what it says, and its formats."""

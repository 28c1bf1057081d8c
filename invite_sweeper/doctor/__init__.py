"""Looks at everything that a sweep stands on, and changes nothing."""

from invite_sweeper.doctor.census import Census, count_lists
from invite_sweeper.doctor.given import (
    atlas_trouble,
    credentials_check,
    organization_checks,
    policy_checks,
    quarantine_check,
)
from invite_sweeper.doctor.local import audit_checks, earlier_runs, lock_check
from invite_sweeper.doctor.standing import (
    clock_check,
    coverage_checks,
    list_checks,
    rate_limit_checks,
    sunset_checks,
)
from invite_sweeper.doctor.values import Check, Checkup, State, failed, ok, warning

__all__ = [
    "Census",
    "Check",
    "Checkup",
    "State",
    "atlas_trouble",
    "audit_checks",
    "clock_check",
    "count_lists",
    "coverage_checks",
    "credentials_check",
    "earlier_runs",
    "failed",
    "list_checks",
    "lock_check",
    "ok",
    "organization_checks",
    "policy_checks",
    "quarantine_check",
    "rate_limit_checks",
    "sunset_checks",
    "warning",
]

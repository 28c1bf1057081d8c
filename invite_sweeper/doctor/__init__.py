"""Checks of everything that a sweep opens or asks, in the order in which it would."""

from invite_sweeper.doctor.atlas import (
    clock_check,
    coverage_checks,
    list_checks,
    rate_limit_checks,
    sunset_checks,
)
from invite_sweeper.doctor.diagnosis import (
    Check,
    CheckResult,
    CheckState,
    Completeness,
    Diagnosis,
    DiagnosisResult,
    failed,
    note,
    ok,
    warning,
)
from invite_sweeper.doctor.log import audit_checks, earlier_run_check, lock_check, log_end_checks
from invite_sweeper.doctor.organization import (
    EVENT_DAYS,
    completeness_check,
    domain_check,
    explain_invited,
    member_checks,
    notice_check,
    secret_check,
    unreadable_check,
)
from invite_sweeper.doctor.setup import (
    atlas_error_check,
    credentials_check,
    organization_checks,
    policy_checks,
    quarantine_check,
)

__all__ = [
    "EVENT_DAYS",
    "Check",
    "CheckResult",
    "CheckState",
    "Completeness",
    "Diagnosis",
    "DiagnosisResult",
    "atlas_error_check",
    "audit_checks",
    "clock_check",
    "completeness_check",
    "coverage_checks",
    "credentials_check",
    "domain_check",
    "earlier_run_check",
    "explain_invited",
    "failed",
    "list_checks",
    "lock_check",
    "log_end_checks",
    "member_checks",
    "note",
    "notice_check",
    "ok",
    "organization_checks",
    "policy_checks",
    "quarantine_check",
    "rate_limit_checks",
    "secret_check",
    "sunset_checks",
    "unreadable_check",
    "warning",
]

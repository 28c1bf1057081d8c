"""Checks of the policy, the credentials and the organizations that they see."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from invite_sweeper.atlas import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.auth import jwt_expiry
from invite_sweeper.atlas.responses import ACCESS_LIST_HINT
from invite_sweeper.doctor.diagnosis import Check, failed, ok, warning
from invite_sweeper.errors import CredentialsRefused, GuardRefused, RunError
from invite_sweeper.models import Project
from invite_sweeper.policy import Policy
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.text import organization_label, plural_form, pluralize

_POLICY: Final = "policy"
_CREDENTIALS: Final = "credentials"
_ORGANIZATIONS: Final = "organizations"
_TOKEN_EXPIRY_WARNING: Final = timedelta(hours=1)


def policy_checks(policy: Policy, path: Path, now: datetime) -> Iterator[Check]:
    """Yield a summary of the policy, and its warnings."""
    yield ok(
        _POLICY,
        f"{path} is valid: {pluralize(len(policy.rules), 'rule')}, "
        f"{pluralize(len(policy.keep), 'keep entry', 'keep entries')}, "
        f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
    )
    for sentence in policy.warnings(now.date()):
        yield warning(_POLICY, sentence)


def credentials_check(credentials: Credentials, now: datetime) -> Check:
    """Return the kind, name and expiry of the credentials, never a secret."""
    if isinstance(credentials, BearerToken):
        return _token_check(credentials, now)
    if isinstance(credentials, ApiKey):
        return ok(_CREDENTIALS, f"API key {credentials.public_key}; it does not expire.")
    return ok(
        _CREDENTIALS,
        f"Service account {credentials.client_id}; each run requests and revokes a token. "
        "The Atlas UI shows when its secret expires.",
    )


def organization_checks(
    policy: Policy,
    scope: RunScope,
    other_organizations: Sequence[Project],
    names: Mapping[str, str],
) -> Iterator[Check]:
    """Check which organizations the credentials can see."""
    visible = ", ".join(organization_label(each, names.get(each)) for each in scope.organizations)
    yield ok(_ORGANIZATIONS, f"The credentials can see {visible}.")
    for org_id in sorted(policy.organization_ids - set(scope.organizations)):
        message = f"No project of organization {org_id} is visible."
        hint = "Credentials belong to one organization; check the id."
        yield warning(_ORGANIZATIONS, message, hint)
    if other_organizations:
        ids = sorted({project.org_id for project in other_organizations})
        owners = ", ".join(organization_label(each, names.get(each)) for each in ids)
        are = plural_form(len(other_organizations), "is", "are")
        projects = pluralize(len(other_organizations), "project")
        message = f"{projects} of other organizations {are} visible and ignored"
        yield ok(_ORGANIZATIONS, f"{message}: {owners}.")


def atlas_error_check(error: RunError) -> Check:
    """Return the failed check for an error of a request to Atlas."""
    if isinstance(error, GuardRefused):
        return failed(_ORGANIZATIONS, error)
    if not isinstance(error, CredentialsRefused):
        return failed("Atlas", error)
    return failed("access list" if error.hint == ACCESS_LIST_HINT else _CREDENTIALS, error)


def _token_check(credentials: BearerToken, now: datetime) -> Check:
    expires_at = jwt_expiry(credentials.token)
    if expires_at is None:
        return ok(_CREDENTIALS, "Access token; its expiry is unknown.")
    expiry = f"{expires_at:%Y-%m-%d %H:%M} UTC"
    hint = "Request a new one, or use the credentials of a service account."
    if expires_at <= now:
        error = CredentialsRefused(f"The access token expired at {expiry}.", hint=hint)
        return failed(_CREDENTIALS, error)
    if expires_at - now < _TOKEN_EXPIRY_WARNING:
        return warning(_CREDENTIALS, f"The access token expires within an hour, at {expiry}.", hint)
    return ok(_CREDENTIALS, f"Access token; it expires at {expiry}.")

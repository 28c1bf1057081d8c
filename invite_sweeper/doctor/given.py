"""The policy, the credentials and the organizations, as far as they can be told. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from invite_sweeper.atlas import ApiKey, BearerToken, Credentials
from invite_sweeper.atlas.auth import ends_at
from invite_sweeper.atlas.responses import ACCESS_LIST_HINT
from invite_sweeper.doctor.values import Check, failed, ok, warning
from invite_sweeper.errors import CredentialsRefused, GuardRefused, RunError
from invite_sweeper.inventory import Project
from invite_sweeper.plural import counted, fitting
from invite_sweeper.policy import Policy
from invite_sweeper.territory import Territory

_POLICY: Final = "policy"
_CREDENTIALS: Final = "credentials"
_ORGANIZATIONS: Final = "organizations"
_SOON: Final = timedelta(hours=1)


def policy_checks(policy: Policy, path: Path, now: datetime) -> Iterator[Check]:
    """Tell what the policy is, and what in it may not be meant."""
    yield ok(
        _POLICY,
        f"{path} is valid: {counted(len(policy.rules), 'rule')}, "
        f"{counted(len(policy.keep), 'keep entry', 'keep entries')}, "
        f"sources {', '.join(policy.sources)} (SHA-256 {policy.sha256}).",
    )
    for sentence in policy.warnings(now.date()):
        yield warning(_POLICY, sentence)


def quarantine_check(policy: Policy, last_sha256: str | None) -> Check:
    """Tell whether a sweep by this policy would be held as a changed one.

    Args:
        last_sha256: The policy of the last sweep; None where there was none.
    """
    name = "quarantine"
    if not policy.limits.quarantine:
        return ok(name, "Off: a changed policy acts at once (limits.quarantine).")
    if last_sha256 in {None, policy.sha256}:
        return ok(name, "On, and the policy is the last sweep's, or there was none.")
    error = GuardRefused(
        "The policy has changed since the last sweep, which holds the next one.",
        hint=f"Read what it changes with `plan`; then sweep --accept-policy {policy.sha256}",
    )
    return failed(name, error)


def credentials_check(credentials: Credentials, now: datetime) -> Check:
    """Tell the kind and the name; never a secret."""
    if isinstance(credentials, BearerToken):
        return _of_token(credentials, now)
    if isinstance(credentials, ApiKey):
        return ok(_CREDENTIALS, f"API key {credentials.public_key}; it does not expire.")
    return ok(
        _CREDENTIALS,
        f"Service account {credentials.client_id}; a token is fetched and revoked each run. "
        "Until when its secret is good is told in Atlas, not here.",
    )


def organization_checks(
    policy: Policy, territory: Territory, foreign: Sequence[Project]
) -> Iterator[Check]:
    """Tell whose projects the credentials can see."""
    yield ok(_ORGANIZATIONS, f"In sight: {', '.join(territory.organizations)}.")
    for org_id in sorted(policy.organization_ids - set(territory.organizations)):
        what = f"No project of organization {org_id} is in sight."
        hint = "A credential belongs to one organization; check the id."
        yield warning(_ORGANIZATIONS, what, hint)
    if foreign:
        owners = ", ".join(sorted({project.org_id for project in foreign}))
        are = fitting(len(foreign), "is", "are")
        projects = counted(len(foreign), "project")
        what = f"{projects} of other organizations {are} in sight, and never touched"
        yield ok(_ORGANIZATIONS, f"{what}: {owners}.")


def atlas_trouble(error: RunError) -> Check:
    """Say what Atlas's answer, or the want of one, means."""
    if isinstance(error, GuardRefused):
        return failed(_ORGANIZATIONS, error)
    if not isinstance(error, CredentialsRefused):
        return failed("Atlas", error)
    return failed("access list" if error.hint == ACCESS_LIST_HINT else _CREDENTIALS, error)


def _of_token(credentials: BearerToken, now: datetime) -> Check:
    end = ends_at(credentials.token)
    if end is None:
        return ok(_CREDENTIALS, "A ready token; it does not tell when it ends.")
    told = f"A ready token that ends at {end:%Y-%m-%d %H:%M} UTC"
    hint = "Fetch a new one, or give the credentials of a service account."
    if end <= now:
        return failed(_CREDENTIALS, CredentialsRefused(f"{told}, which has passed.", hint=hint))
    if end - now < _SOON:
        return warning(_CREDENTIALS, f"{told}, within the hour.", hint)
    return ok(_CREDENTIALS, f"{told}.")

"""A policy over several organizations, one part for each credential that it names."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from invite_sweeper.atlas import Credentials, credentials_from
from invite_sweeper.policy import Policy


def divided(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Give each credential's name, "" for the plain one, and the policy for its organizations."""
    groups: dict[str, list[str]] = {}
    for organization in policy.organizations:
        groups.setdefault(organization.credentials or "", []).append(organization.id)
    for name, ids in groups.items():
        chosen = tuple(o for o in policy.organizations if o.id in ids)
        yield name, policy.model_copy(update={"organizations": chosen})


def with_credentials(
    policy: Policy, environment: Mapping[str, str]
) -> tuple[tuple[Policy, Credentials], ...]:
    """Give each part with its credentials; all of them are there, or it raises.

    Raises:
        UsageFault: Credentials are missing, or cannot be read.
    """
    return tuple(
        (part, credentials_from(environment, Path.read_bytes, suffix=name))
        for name, part in divided(policy)
    )

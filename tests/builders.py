"""Builders of values for tests; every field but an invitation's list has a default."""

import os
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import yaml
from msgspec import structs

from invite_sweeper.audit import HeldAnnouncement
from invite_sweeper.audit.events import Announced, AnnouncementKey, Kept, announcement_key
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import Entry, Invitation, Project, Source
from invite_sweeper.policy import Policy, parse_policy

InvitationT = TypeVar("InvitationT", bound=Invitation)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)
ORG = "5efda682a3f2ed2e7dd6cde4"
OTHER_ORG = "0123456789abcdef01234567"
PROJECT = "6a793fd0c0eb9e7a177181d4"


def object_id(number: int) -> str:
    return f"{number:024x}"


def invitation(number: int = 1, *, source: Source, **changes: object) -> Invitation:
    """Return a pending invitation, 20 days old by default (`age=` or `created_at=`).

    No list is the default: a decision that no test tries on each list holds in some.
    """
    age = changes.pop("age", timedelta(days=20))
    sent_at = changes.pop("created_at", NOW - age)
    expires_at = sent_at + timedelta(days=30) if isinstance(sent_at, datetime) else None
    defaults: dict[str, object] = {
        "invitation_id": object_id(number),
        "project_id": PROJECT,
        "project_name": "Sandbox Alpha",
        "org_id": ORG,
        "username": f"person-{number}@example.com",
        "roles": ("GROUP_READ_ONLY",),
        "inviter": "nmtxqlkl",
        "created_at": sent_at,
        "expires_at": expires_at,
        "age_days": None,
        "source": source,
    }
    return changed(Invitation(**defaults), **{**defaults, **changes})


def entry_of(source: Source, number: int = 1, **changes: object) -> Invitation:
    """Return an entry as a list shows it: one of an organization has the project as a role."""
    of_organization: dict[str, object] = {
        "project_id": None,
        "project_name": None,
        "roles": ("ORG_MEMBER",),
        "project_roles": ((PROJECT, "GROUP_READ_ONLY"),),
        "linked_projects": ((PROJECT, "Sandbox Alpha"),),
    }
    place = of_organization if source.is_organization_level else {}
    return invitation(number, source=source, **{**place, **changes})


def changed(one: InvitationT, **changes: object) -> InvitationT:
    """Return an invitation with other values; dates may be given as such."""
    dates = {each: rfc3339(day) for each, day in changes.items() if isinstance(day, datetime)}
    return structs.replace(one, **{**changes, **dates})


def event_of(
    kind: type[InvitationT], one: Invitation, entries: tuple[Entry, ...] = (), **more: object
) -> InvitationT:
    """Return the event of an invitation as a run at NOW writes it."""
    recorded = structs.replace(one, age_days=one.age_at(NOW), entries=entries)
    return Kept.of(recorded, **more) if kind is Kept else recorded.as_event(kind, **more)


def listed_as(line: Invitation) -> Invitation:
    return structs.replace(line.as_event(Invitation), age_days=None, entries=())


def announced_once(
    one: Invitation, since: timedelta, wait: timedelta = timedelta(days=7)
) -> dict[AnnouncementKey, HeldAnnouncement]:
    """Return the announcement of an invitation that a run wrote `since` before NOW.

    Args:
        wait: Of the policy of that run.
    """
    announced_at = NOW - since
    due_at = announced_at + wait - timedelta(hours=1)
    line = event_of(Announced, one, rule="forgotten", deletable_from=rfc3339(due_at))
    return {announcement_key(one): HeldAnnouncement(line, announced_at, due_at, "r1")}


def project(number: int = 1, **changes: object) -> Project:
    defaults: dict[str, object] = {
        "id": object_id(number),
        "name": f"Project {number}",
        "org_id": ORG,
    }
    return Project(**{**defaults, **changes})


def policy(**changes: object) -> Policy:
    """Return a policy with one rule, `forgotten`: older than 14 days; keys as in the file."""
    defaults: dict[str, object] = {
        "version": 1,
        "organizations": [ORG],
        "rules": [{"name": "forgotten", "older_than": "14d"}],
    }
    return parse_policy(policy_bytes({**defaults, **changes}), "policy.yaml")


class _Plain(yaml.SafeDumper):
    """A dumper that writes no aliases, which a policy may not contain."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def policy_bytes(keys: object) -> bytes:
    return yaml.dump(keys, Dumper=_Plain, sort_keys=False).encode()


def seeds(count: int) -> list[int]:
    """Return seeds of random cases, of which half are always the same and half are of the date.

    `INVITE_SWEEPER_SEED=N` begins the second half at N; the name of a case shows its seed.
    """
    fixed = count // 2
    start = int(os.environ.get("INVITE_SWEEPER_SEED") or f"{datetime.now(UTC):%Y%m%d}00000")
    return sorted({*range(fixed), *range(start, start + count - fixed)})

"""What a sweep of a world must do, by the contract's rules: without the program's code."""

import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from commands.world import DAY, INVITED, OF_PERSON, PLAIN_PROJECT_NAMES, Row, World

LAUNCH = datetime(2016, 6, 1, tzinfo=UTC)
THROUGH = ("org_users", "org_invites", "users", "invites")
"""The list whose entry a DELETE names comes first."""


Entries: TypeAlias = list[tuple[Row, ...]]


def expected(world: World, now: datetime) -> tuple[Entries, Entries]:
    """Return the entries of each stale invitation, that of the DELETE first, and of each kept."""
    rows = list(world.rows())
    people = defaultdict(list)
    for row in rows:
        if is_seen(world, row):
            # An entry of `invites` stands for itself; of other lists a person's are one.
            key = row.key if row.source == "invites" else (row.org_id, row.plain_name)
            people[key].append(row)
    stale: Entries = []
    kept: Entries = []
    for person in people.values():
        person.sort(key=lambda row: THROUGH.index(row.source))
        ended = [row for row in person if may_end(world, row, rows, now)]
        if ended and ended[0].source.startswith("org_"):
            stale.append(tuple(person))
        else:
            stale.extend((row,) for row in ended)
            if left := [row for row in person if row not in ended]:
                kept.append(tuple(left))
    return stale, kept


def left_by(world: World, stale: Entries) -> set[tuple[str, str, str]]:
    """Return the keys of everything that a sweep leaves, in whatever list it is."""
    named = [first for first, *_ in stale]
    members = {row.member for row in named if row.source.startswith("org_")}
    ended = {row.key for row in named}
    return {r.key for r in world.rows() if r.key not in ended and r.member not in members}


def may_end(world: World, row: Row, rows: list[Row], now: datetime) -> bool:
    """Return whether a run at this instant may send the DELETE that names this entry.

    The entries of a person in the lists of an organization end together, with those in `users`
    of its projects: what protects one of them protects the person in the organization.
    """
    if not (is_seen(world, row) and is_stale(world, row, now)):
        return False
    if not row.source.startswith("org_"):
        return True
    if has_unread_list_of_people(world, row.org_id):
        return False
    person = (row.org_id, row.plain_name)
    for other in rows:
        is_of_person = other.source in OF_PERSON and (other.org_id, other.plain_name) == person
        if is_of_person and is_seen(world, other) and not is_stale(world, other, now):
            return False
    return True


def is_seen(world: World, row: Row) -> bool:
    return (
        row.source in world.policy["sources"]
        and row.org_id in world.organizations
        and row.status in INVITED
        and (row.source, row.scope) not in world.unread
        and (row.source, row.id) not in world.hidden
        and (not row.project_id or in_scope(world, row.project_id))
    )


def has_unread_list_of_people(world: World, org_id: str) -> bool:
    """Return whether a list of the policy may show people that this run does not know of."""
    return any(
        source in OF_PERSON
        and source in world.policy["sources"]
        and world.org_of(place_id) == org_id
        and (place_id not in world.projects or in_scope(world, place_id))
        for source, place_id in world.unread
    )


def is_stale(world: World, row: Row, now: datetime) -> bool:
    policy = world.policy
    created = date_of(row.created)
    return (
        is_object_id(row.id)
        and created is not None
        and created <= now
        and row.id not in world.two_statuses
        and all(in_scope(world, key) for key in row.linked)
        and not (row.has_team and has_unknown_team(world, row.org_id))
        and not any(keep_matches(world, entry, row, now) for entry in policy.get("keep", []))
        and any(rule_matches(world, rule, row, created, now) for rule in policy["rules"])
    )


def has_unknown_team(world: World, org_id: str) -> bool:
    """Return whether the teams of a project that matters could not be read."""
    entries = (*world.policy["rules"], *world.policy.get("keep", []))
    names_projects = any("projects" in entry for entry in entries)
    return any(
        world.org_of(key) == org_id and (names_projects or not in_scope(world, key))
        for key in world.unreadable_teams
    )


def keep_matches(world: World, entry: dict[str, object], row: Row, now: datetime) -> bool:
    active = "until" not in entry or now.date() <= entry["until"]
    return active and False not in selections(world, entry, row, keep=True)


def rule_matches(
    world: World, rule: dict[str, object], row: Row, created: datetime, now: datetime
) -> bool:
    if "older_than" in rule and now - created < int(rule["older_than"][:-1]) * DAY:
        return False
    expires = date_of(row.expires)
    if "expired" in rule and (expires is None or expires > now):
        return False
    if "statuses" in rule and status_of(row, expires, now) not in rule["statuses"]:
        return False
    return all(selections(world, rule, row, keep=False))


def status_of(row: Row, expires: datetime | None, now: datetime) -> str | None:
    """Return what a list of users says, and in the older lists what the date of the end does."""
    if row.source not in ("invites", "org_invites"):
        return row.status
    if expires is None:
        return None
    return "PENDING" if now < expires else "INVITATION_EXPIRED"


def matches_glob(patterns: list[str], *names: str) -> bool:
    return any(fnmatchcase(name.lower(), p.lower()) for name in names for p in patterns)


def is_object_id(text: str) -> bool:
    return len(text) == 24 and set(text) <= set("0123456789abcdef")


def matches_project(
    entries: list[str], project_id: str, name: str, *, protects: bool = False
) -> bool:
    """Return whether an entry selects a project; one that protects also by the plain name."""
    names = (name, PLAIN_PROJECT_NAMES.get(name, name)) if protects else (name,)
    ids = [each for each in entries if is_object_id(each)]
    globs = [each for each in entries if each not in ids]
    return project_id in ids or matches_glob(globs, *names)


def in_scope(world: World, project_id: str) -> bool:
    org_id, name, tags = world.projects[project_id]
    scope = world.policy.get("projects", {})
    return (
        org_id in world.organizations
        and matches_project(scope.get("include", ["*"]), project_id, name)
        and not matches_project(scope.get("exclude", []), project_id, name, protects=True)
        and scope.get("tags", {}).items() <= tags.items()
    )


def date_of(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value >= LAUNCH else None


def selections(world: World, entry: dict[str, object], row: Row, *, keep: bool) -> list[object]:
    """Return the result of each key that selects; None for one that cannot be judged."""
    found: list[object] = []
    seen = unicodedata.normalize("NFC", row.username or "").replace("\u200b", "")
    if "usernames" in entry:
        names = (seen, row.plain_name) if keep else (seen,)
        found.append(matches_glob(entry["usernames"], *names) if seen else None)
    if "inviters" in entry:
        found.append(matches_glob(entry["inviters"], row.inviter))
    if "roles" in entry:
        found.append(not set(row.roles).isdisjoint(entry["roles"]))
    if "projects" in entry:
        ids = (row.project_id,) if row.project_id else row.linked
        each = [
            matches_project(entry["projects"], key, world.projects[key][1], protects=keep)
            for key in ids
        ]
        found.append(any(each) if keep else bool(each) and all(each))
    if "organizations" in entry:
        found.append(row.org_id in entry["organizations"])
    if "not_usernames" in entry:
        own = matches_glob(entry["not_usernames"], seen, row.plain_name)
        found.append(not own if seen else None)
    return found

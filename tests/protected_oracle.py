"""Which invitations had to stay: an independent decision, without the selection's code."""

from datetime import UTC, datetime
from fnmatch import fnmatchcase

from protected_world import DAY, INVITED, PLAIN_PROJECT_NAMES, Item, World

OF_PERSON = ("users", "org_users", "org_invites")
LAUNCH = datetime(2016, 6, 1, tzinfo=UTC)


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
    """Return a usable date, else None."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value >= LAUNCH else None


def selections(world: World, entry: dict[str, object], item: Item, *, keep: bool) -> list[object]:
    """Return the result of each key that selects; None for one that cannot be judged."""
    found: list[object] = []
    if "usernames" in entry:
        names = (item.username, item.plain_name) if keep else (item.username,)
        found.append(matches_glob(entry["usernames"], *names) if item.username else None)
    if "inviters" in entry:
        found.append(matches_glob(entry["inviters"], item.inviter))
    if "roles" in entry:
        found.append(not set(item.roles).isdisjoint(entry["roles"]))
    if "projects" in entry:
        ids = (item.project_id,) if item.project_id else item.linked
        each = [
            matches_project(entry["projects"], key, world.projects[key][1], protects=keep)
            for key in ids
        ]
        found.append(any(each) if keep else bool(each) and all(each))
    return found


def must_stay(world: World, item: Item, now: datetime) -> bool:
    """Return whether no run at this instant may send the DELETE that names this entry.

    The entries of a person in the lists of an organization end together, with those in `users`
    of its projects: what protects one of them protects the person in the organization.
    """
    if entry_must_stay(world, item, now):
        return True
    if not item.source.startswith("org_"):
        return False
    return has_unread_list_of_people(world, item.org_id) or any(
        entry_must_stay(world, each, now)
        for each in world.items
        if (each.org_id, each.plain_name) == (item.org_id, item.plain_name)
        and each.source in OF_PERSON
        and is_judged(world, each)
    )


def is_judged(world: World, item: Item) -> bool:
    """Return whether the policy reads the list of an entry."""
    in_reach = not item.project_id or in_scope(world, item.project_id)
    return item.source in world.policy["sources"] and in_reach


def has_unread_list_of_people(world: World, org_id: str) -> bool:
    """Return whether a list of the policy may show people that this run does not know of."""
    of_people = set(OF_PERSON).intersection(world.policy["sources"])
    unread = {("users", project_id) for project_id in world.unreadable} | world.incomplete
    return any(
        source in of_people
        and world.org_of(scope_id) == org_id
        and (scope_id not in world.projects or in_scope(world, scope_id))
        for source, scope_id in unread
    )


def entry_must_stay(world: World, item: Item, now: datetime) -> bool:
    """Return whether something protects this entry, whatever is known of the person."""
    policy, created = world.policy, date_of(item.created)
    return (
        item.source not in policy["sources"]
        or is_out_of_reach(world, item)
        or not all(is_object_id(each) for each in item.removed_as)
        or item.status not in INVITED
        or created is None
        or created > now
        or any(keep_matches(world, entry, item, now) for entry in policy.get("keep", []))
        or not any(rule_matches(world, rule, item, created, now) for rule in policy["rules"])
    )


def is_out_of_reach(world: World, item: Item) -> bool:
    """Return whether a deletion would touch what the policy excludes, or what is not known."""
    return (
        item.org_id not in world.organizations
        or (item.source, item.removed_as[0]) in world.incomplete
        or (item.source in ("users", "org_users") and item.removed_as[1] in world.two_statuses)
        or item.project_id in world.unreadable
        or (bool(item.project_id) and not in_scope(world, item.project_id))
        or not all(in_scope(world, key) for key in item.linked)
        or (item.has_team and has_unknown_team(world, item.org_id))
    )


def has_unknown_team(world: World, org_id: str) -> bool:
    """Return whether the teams of a project that matters could not be read."""
    entries = (*world.policy["rules"], *world.policy.get("keep", []))
    names_projects = any("projects" in entry for entry in entries)
    return any(
        world.projects[key][0] == org_id and (names_projects or not in_scope(world, key))
        for key in world.unreadable_teams
    )


def keep_matches(world: World, entry: dict[str, object], item: Item, now: datetime) -> bool:
    active = "until" not in entry or now.date() <= entry["until"]
    return active and False not in selections(world, entry, item, keep=True)


def rule_matches(
    world: World, rule: dict[str, object], item: Item, created: datetime, now: datetime
) -> bool:
    if "older_than" in rule and now - created < int(rule["older_than"][:-1]) * DAY:
        return False
    expires = date_of(item.expires)
    if "expired" in rule and (expires is None or expires > now):
        return False
    if "statuses" in rule and item.status not in rule["statuses"]:
        return False
    return all(selections(world, rule, item, keep=False))

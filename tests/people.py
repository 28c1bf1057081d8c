"""Random people in the four lists, and what a sweep must do with them: a model of its own.

The model is a dictionary of people, made from what this module put into the simulated Atlas and
from what its lists show; it uses no code of the program.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import NamedTuple

import faults

ORGS = ("5efda682a3f2ed2e7dd6cde4", "0123456789abcdef01234567")
SOURCES = ("invites", "users", "org_users", "org_invites")
OF_PERSON = SOURCES[1:]
"""Lists whose entries one removal of the person from the organization ends together."""
INVITED = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
ROLES = ("GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_DATA_ACCESS_ADMIN")
BOSS = "boss@example.com"
SPELLINGS = (
    str,
    str.upper,
    str.title,
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: name.replace("@", "\u200b@"),
    lambda name: name.replace("a", "\uff41", 1),
)
"""Names that look the same are the same."""


class Row(NamedTuple):
    """An entry as its list shows it.

    Attributes:
        scope: The project or organization in the path.
        member: The id of the membership that the entry shows; "" for an entry of `invites`.
        linked: The projects of an entry of an organization, those of its teams included.
    """

    source: str
    scope: str
    id: str
    org_id: str
    name: str
    member: str
    status: str
    age_days: float
    inviter: str
    roles: tuple[str, ...]
    linked: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What a DELETE and a line of the log name."""
        return self.source, self.scope, self.id


class Expected(NamedTuple):
    """What a sweep must do.

    Attributes:
        stale: Of each stale invitation the entries; the first is the one that a DELETE names.
        kept: Of each kept invitation the entries.
        vague: Of people who were invited twice: which DELETE ends which entry is not known.
    """

    stale: list[tuple[Row, ...]]
    kept: list[tuple[Row, ...]]
    vague: list[tuple[Row, ...]]


@dataclass
class Estate:
    """Organizations with people, and a policy.

    Attributes:
        names: The plain name of each membership, by its id.
        shown: How a list shows a membership, by list and id: the name's spelling, the inviter.
        hidden: Memberships that a list does not show.
        unread: The list that cannot be read, as `(source, scope)`.
        oddities: People are invited twice, and lists hide some or show another inviter.
    """

    cli: object
    dice: Random
    oddities: bool = True
    names: dict[str, str] = field(default_factory=dict)
    shown: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    unread: set[tuple[str, str]] = field(default_factory=set)
    team_of: dict[str, str] = field(default_factory=dict)
    team_reaches: dict[str, str] = field(default_factory=dict)
    project_names: dict[str, str] = field(default_factory=dict)

    # The world ----------------------------------------------------------------------------------

    def fill(self, *, people: int, organizations: int) -> None:
        """Add organizations with projects and people."""
        sim, dice = self.cli.sim, self.dice
        for org_id in ORGS[:organizations]:
            if org_id not in sim.organizations:
                sim.add_organization(org_id, f"Organization {org_id[:4]}")
            projects = []
            for name in dice.sample(("prod-pay", "sandbox", "data", "web"), dice.randint(2, 4)):
                project_id = sim.add_project(name, org_id)
                self.project_names[project_id] = name
                projects.append(project_id)
            reached = dice.choice(projects)
            self.team_of[org_id] = sim.add_team(reached)
            self.team_reaches[self.team_of[org_id]] = reached
            for number in range(people):
                domain = dice.choice(("board.example", "corp.example", "corp.example"))
                self.add_person(org_id, f"ána-{number}@{domain}")
        for path in ("*/orgs/*/users*", "*/groups/*/users*", "*/orgs/*/invites*"):
            source = {"/orgs/*/u": "org_users", "/groups/*": "users"}.get(path[1:10], "org_invites")
            altered = faults.altered(lambda body, source=source: self._show(body, source))
            sim.faults.add(altered, method="GET", path=path, times=None)

    def projects_of(self, org_id: str) -> list[str]:
        """Return the ids of the projects of an organization."""
        return [key for key, group in self.cli.sim.groups.items() if group.org_id == org_id]

    def add_person(self, org_id: str, name: str, *, age_days: float | None = None) -> None:
        """Invite a person to the organization, to projects, or to both."""
        dice, projects = self.dice, self.projects_of(org_id)
        if dice.random() < 0.85:
            self._add_member(org_id, name, age_days)
            if self.oddities and dice.random() < 0.05:
                self._add_member(org_id, name, age_days)
        for project_id in dice.sample(projects, dice.choice((0, 0, 1, 2))):
            id_ = self.cli.sim.invite(
                project_id,
                dice.choice(SPELLINGS)(name),
                age=self._age(age_days),
                roles=[dice.choice(ROLES)],
                inviter=dice.choice((BOSS, "wkzjqvtb", "wkzjqvtb")),
            )
            self.names[id_] = name

    def _age(self, age_days: float | None) -> timedelta:
        return timedelta(days=age_days or self.dice.choice((2, 13, 15, 20, 25, 40)))

    def _add_member(self, org_id: str, name: str, age_days: float | None) -> None:
        sim, dice, projects = self.cli.sim, self.dice, self.projects_of(org_id)
        id_ = sim.add_user(
            name,
            org_id,
            status=dice.choice(("PENDING",) * 4 + INVITED + ("ACTIVE",)),
            age=self._age(age_days),
            group_roles={
                key: [dice.choice(ROLES)]
                for key in dice.sample(projects, dice.randint(0, min(3, len(projects))))
            },
            team_ids=[self.team_of[org_id]] if dice.random() < 0.1 else (),
            inviter=dice.choice((BOSS, "wkzjqvtb", "wkzjqvtb", "wkzjqvtb")),
            by_web_interface=dice.random() < 0.3,
        )
        self.names[id_] = name
        for source in OF_PERSON:
            look = self.shown[source, id_] = {"username": dice.choice(SPELLINGS)(name)}
            if self.oddities and dice.random() < 0.1:
                look["inviterUsername"] = BOSS
            if self.oddities and dice.random() < 0.08:
                self.hidden.add((source, id_))

    def _member_of(self, row_id: str) -> str:
        """Return the id of the membership that has this id, or that of its invitation."""
        users = (u for o in self.cli.sim.organizations.values() for u in o.users.values())
        return next((user.id for user in users if row_id in (user.id, user.invitation_id)), "")

    def _show(self, body: bytes, source: str) -> bytes:
        """Return an answer of Atlas as this list shows its people."""
        try:
            page = json.loads(body)
        except ValueError:
            return body
        is_one = isinstance(page, dict) and "results" not in page
        rows = [page] if is_one else page if isinstance(page, list) else page["results"]
        shown = []
        for row in rows:
            member = self._member_of(row.get("id", ""))
            look = self.shown.get((source, member), {}) if "inviterUsername" in row else {}
            if is_one or (source, member) not in self.hidden:
                shown.append(row | look)
        if isinstance(page, list):
            return json.dumps(shown).encode()
        return json.dumps(shown[0] if is_one else page | {"results": shown}).encode()

    def write_policy(self) -> None:
        """Write a policy that deletes most; a part of it keeps some."""
        dice, keys = self.dice, self.cli.keys
        keys["organizations"] = list(self.cli.sim.organizations)
        keys["sources"] = list(SOURCES if dice.random() < 0.7 else dice.sample(SOURCES, 2))
        keys["rules"] = [{"name": "forgotten", "older_than": "14d"}]
        if dice.random() < 0.2:
            keys["rules"][0]["projects"] = ["*a*"]
        if dice.random() < 0.3:
            keys["rules"].append({"name": "lapsed", "statuses": ["INVITATION_EXPIRED"]})
        entries = (
            {"usernames": ["*@board.example"]},
            {"inviters": ["boss@*"]},
            {"roles": ["GROUP_OWNER"]},
            {"projects": ["sandbox"]},
        )
        chosen = dice.sample(entries, dice.choice((0, 1, 1, 2)))
        keys["keep"] = [{"name": f"k{n}", **entry} for n, entry in enumerate(chosen)]
        if dice.random() < 0.4:
            keys["projects"] = {"exclude": ["prod-*"]}
        keys["audit"] = {"record": dice.choice(("planned", "all"))}

    def hide_one_list(self) -> None:
        """Let one list of the policy be refused, or not end in JSON."""
        lists = sorted({row.key[:2] for row in self.visible()})
        if lists:
            source, scope = self.dice.choice(lists)
            kind = "orgs" if source.startswith("org_") else "groups"
            path = f"*/{kind}/{scope}/{'invites' if source.endswith('invites') else 'users'}"
            fault = self.dice.choice((faults.role_missing(), faults.malformed()))
            self.cli.sim.faults.add(fault, method="GET", path=path, times=None)
            self.unread.add((source, scope))

    # The model ----------------------------------------------------------------------------------

    @property
    def _sources(self) -> list[str]:
        return self.cli.keys["sources"]

    def rows(self) -> Iterator[Row]:
        """Yield what is there now, whether a list shows it or not; not who has accepted."""
        sim = self.cli.sim
        for project_id, group in sim.groups.items():
            for id_, invite in group.invites.items():
                sent = json.loads(invite.document)
                yield Row(
                    *("invites", project_id, id_, group.org_id, self.names[id_], "", "PENDING"),
                    *(self._days(sim.clock(), sent["createdAt"]), sent["inviterUsername"]),
                    tuple(sent["roles"]),
                )
        for org_id, organization in sim.organizations.items():
            for user in organization.users.values():
                if user.status != "ACTIVE":
                    yield from self._rows_of(org_id, user)

    @staticmethod
    def _days(now, created: str) -> float:
        return (now - type(now).fromisoformat(created)) / timedelta(days=1)

    def _rows_of(self, org_id: str, user) -> Iterator[Row]:
        def row(source, scope, id_, roles, linked=()):
            inviter = self.shown[source, user.id].get("inviterUsername", user.inviter)
            age_days = (self.cli.sim.clock() - user.created_at) / timedelta(days=1)
            about = (self.names[user.id], user.id, user.status.value, age_days, inviter)
            return Row(source, scope, id_, org_id, *about, tuple(roles), tuple(linked))

        linked = sorted({*user.group_roles, *map(self.team_reaches.__getitem__, user.team_ids)})
        roles = (*user.org_roles, *(r for each in user.group_roles.values() for r in each))
        yield row("org_users", org_id, user.id, roles, linked)
        if user.status == "PENDING" and not user.by_web_interface:
            yield row("org_invites", org_id, user.invitation_id, roles, linked)
        for project_id, own in user.group_roles.items():
            yield row("users", project_id, user.id, own)

    def in_scope(self, project_id: str) -> bool:
        """Return whether the policy reads a project."""
        return not (
            "projects" in self.cli.keys and self.project_names[project_id].startswith("prod-")
        )

    def visible(self) -> list[Row]:
        """Return the entries that a run of the policy sees."""
        return [
            row
            for row in self.rows()
            if row.source in self._sources
            and row.key[:2] not in self.unread
            and (row.source, row.member) not in self.hidden
            and (row.source.startswith("org_") or self.in_scope(row.scope))
        ]

    def is_stale(self, row: Row) -> bool:
        """Judge one entry by rules and `keep`."""
        keys = self.cli.keys
        reaches_out = not all(map(self.in_scope, row.linked))
        kept = any(self._matches(row, entry, any) for entry in keys["keep"])
        return (
            not reaches_out and not kept and any(self._matches(row, r, all) for r in keys["rules"])
        )

    def _matches(self, row: Row, entry: dict[str, object], quantifier) -> bool:
        ids = row.linked if row.source.startswith("org_") else (row.scope,)
        names = [self.project_names[key] for key in ids]
        found = {
            "older_than": lambda value: row.age_days >= int(value[:-1]),
            "statuses": lambda value: row.status in value,
            "usernames": lambda value: fnmatchcase(row.name, value[0]),
            "inviters": lambda value: fnmatchcase(row.inviter, value[0]),
            "roles": lambda value: value[0] in row.roles,
            "projects": lambda value: (
                bool(names) and quantifier(fnmatchcase(name, value[0]) for name in names)
            ),
        }
        return all(found[key](value) for key, value in entry.items() if key != "name")

    def expected(self) -> Expected:
        """Return what the next sweep must do, by the contract's rules."""
        people, found = defaultdict(list), Expected([], [], [])
        for row in self.visible():
            alone = row.source == "invites"
            people[row.key if alone else (row.org_id, row.name)].append(row)
        for rows in people.values():
            self._judge(sorted(rows, key=_through), found)
        return found

    def _judge(self, rows: list[Row], found: Expected) -> None:
        if len({row.member for row in rows}) > 1:
            found.vague.append(tuple(rows))
            return
        stale = [row for row in rows if self.is_stale(row)]
        org_id = rows[0].org_id
        whole = rows[0].source != "invites" and rows[0].source != "users"
        owner = self.cli.sim.groups
        blind = any(
            source in OF_PERSON and org_id == (owner[s].org_id if s in owner else s)
            for source, s in self.unread
        )
        if whole and len(stale) == len(rows) and not blind:
            found.stale.append(tuple(rows))
            return
        ended = stale if not whole else [row for row in stale if row.source == "users"]
        found.stale.extend((row,) for row in ended)
        if kept := [row for row in rows if row not in ended]:
            found.kept.append(tuple(kept))

    def left_by(self, expected: Expected) -> set[tuple[str, str, str]]:
        """Return the keys of everything that a sweep leaves, in whatever list it is."""
        ended, members = set(), set()
        for first, *_ in expected.stale:
            if first.source.startswith("org_"):
                members.add(first.member)
            else:
                ended.add(first.key)
        return {r.key for r in self.rows() if r.key not in ended and r.member not in members}


def _through(row: Row) -> int:
    """Sort the entry first that the DELETE names."""
    return ("org_users", "org_invites", "users", "invites").index(row.source)

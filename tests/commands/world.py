"""Random organizations, people and policies, as data that an oracle can read.

A world is what this module puts into the simulated Atlas, and what Atlas's lists show of it.
"""

import json
import random
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeAlias

import faults
from observed import MISSING

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "00000000000000000000abcd")
DAY = timedelta(days=1)
FUTURE = "2126-01-01T00:00:00Z"
BAD_DATES = (MISSING, None, "soon", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", FUTURE)
INVITED = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
SOURCES = ("invites", "users", "org_users", "org_invites")
OF_PERSON = SOURCES[1:]
"""Lists whose entries one removal of the person from the organization ends together."""
FIRST_NAMES = ("ann", "bob", "cleo", "dán", "joe")
DOMAINS = ("corp.example", "corp.example", "board.example", "bücher.example")
SPELLINGS = (
    str,
    str,
    str.upper,
    str.title,
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: name.replace("@", "\u200b@"),
    lambda name: name.replace("o", "o\u034f", 1),
    lambda name: name.replace("a", "a\ufe0f", 1),
    lambda name: name.replace("n", "\uff4e", 1),
    lambda name: name.replace("bücher", "xn--bcher-kva"),
)
"""Names that look the same are the same."""
USER_GLOBS = ("*", "*@corp.example", "*@board.example", "*@bücher.example", "b*", "ann*")
ROLES = ("GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_DATA_ACCESS_ADMIN")
INVITERS = ("wkzjqvtb", "carol@example.com")
BOSS = "boss@example.com"
PROJECT_NAMES = (
    *("prod-payments", "sandbox", "db-tools", "Prod-Web", "team a", "öffentlich"),
    *("\uff50rod-api", "pro\u034fd-db"),
)
PLAIN_PROJECT_NAMES = {"\uff50rod-api": "prod-api", "pro\u034fd-db": "prod-db"}
PROJECT_GLOBS = ("*", "prod-*", "*db*", "sand*", "team ?", "*a*", "*0*")


JsonObject: TypeAlias = dict[str, object]


def altered_rows(alter: Callable[[JsonObject], list[JsonObject]]) -> faults.Fault:
    """Return a list with other rows for each; a single one as the first, or as it is."""

    def alter_body(body: bytes) -> bytes:
        try:
            page = json.loads(body)
        except ValueError:
            return body
        listed = page if isinstance(page, list) else page.get("results", [page])
        rows = [each for row in listed for each in alter(row)]
        if "results" in page:
            rows = page | {"results": rows}
        elif listed is not page:
            rows = rows[0] if rows else page
        return json.dumps(rows).encode()

    return faults.altered(alter_body)


class Row(NamedTuple):
    """An entry as its list shows it.

    Attributes:
        scope: The project or organization in the path.
        member: The id of the membership that the entry shows; "" for an entry of `invites`.
        plain_name: The name of the person, whatever the list shows.
        linked: Project ids of an entry of an organization, those of its teams included.
    """

    source: str
    scope: str
    id: str
    org_id: str
    member: str
    plain_name: str
    username: str | None
    roles: tuple[str, ...]
    inviter: str
    created: object
    expires: object
    status: str = "PENDING"
    linked: Collection[str] = ()
    has_team: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.scope, self.id

    @property
    def removed_as(self) -> tuple[str, str]:
        return self.scope, self.id

    @property
    def project_id(self) -> str:
        return "" if self.source.startswith("org_") else self.scope


@dataclass
class World:
    """A simulated Atlas with its policy, as data.

    Attributes:
        items: All that was ever added, as it was then.
        projects: Organization, name and tags by project id.
        names: The plain name by scope and id, of an invitation or membership.
        shown: How a list shows a membership, by list and id.
        hidden: Entries that a list does not show, as `(source, id)`.
        teams: Project ids by team id.
        unread: Lists that cannot be read, or not to their end, as `(source, scope)`.
        two_statuses: Users whom the lists of users contain twice.
        changed: Users whom a single read shows otherwise than the list, or out of a cache.
        unreadable_teams: Projects whose list of teams cannot be read.
        accounts: Of organizations with credentials of their own, by their name.
        ended: Credentials ended for good while the program ran.
    """

    cli: object
    dice: random.Random
    seed: int = 0
    policy: dict[str, object] = field(default_factory=dict)
    items: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    projects: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    shown: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unread: set[tuple[str, str]] = field(default_factory=set)
    two_statuses: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    unreadable_teams: set[str] = field(default_factory=set)
    accounts: dict[str, object] = field(default_factory=dict)
    ended: bool = False

    def fill(self, *, organizations: int, people: int) -> None:
        sim = self.cli.sim
        dice = self.dice
        for org_id in ORGS[:organizations]:
            if org_id not in sim.organizations:
                sim.add_organization(org_id, f"Organization {org_id[:4]}")
            for name in dice.sample(PROJECT_NAMES, dice.randint(1, 4)):
                self.add_project(org_id, name, {"env": dice.choice(("sandbox", "prod"))})
        for org_id in sim.organizations:
            own = self.projects_of(org_id)
            for _ in range(dice.randint(1, 3)):
                reached = dice.sample(own, dice.randint(0, min(2, len(own))))
                self.teams[sim.add_team(*reached)] = tuple(reached)
            for _ in range(people):
                self.add_person(org_id)
        self.cli.account.org_ids = tuple(sim.organizations)

    def add_project(self, org_id: str, name: str, tags: dict[str, str]) -> str:
        project_id = self.cli.sim.add_project(name, org_id, tags=tags)
        self.projects[project_id] = (org_id, name, tags)
        return project_id

    def projects_of(self, org_id: str) -> list[str]:
        return [key for key, (owner, _, _) in self.projects.items() if owner == org_id]

    def org_of(self, place_id: str) -> str:
        return self.projects[place_id][0] if place_id in self.projects else place_id

    def add_person(self, org_id: str) -> None:
        dice = self.dice
        own = self.projects_of(org_id)
        name = f"{dice.choice(FIRST_NAMES)}{len(self.names)}@{dice.choice(DOMAINS)}"
        if dice.random() < 0.8:
            self._add_member(org_id, name)
        for project_id in dice.sample(own, min(len(own), dice.choice((0, 0, 1, 2)))):
            self.invite(project_id, name)

    def invite(self, project_id: str, name: str, age: timedelta | None = None) -> None:
        """Add an invitation of `invites`, one without an age perhaps malformed."""
        dice = self.dice
        overrides = {}
        sent_name = self.dice.choice(SPELLINGS)(name)
        if age is None:
            if dice.random() < 0.25:
                overrides["createdAt"] = dice.choice(BAD_DATES)
            if dice.random() < 0.1:
                overrides["expiresAt"] = dice.choice((MISSING, None, "never"))
            if dice.random() < 0.05:
                overrides["id"] = dice.choice(("../x", "UPPERCASE", "6a793fd0c0eb9e7a17718"))
            sent_name = sent_name if dice.random() < 0.85 else MISSING
        id_ = self.cli.sim.invite(
            project_id,
            sent_name,
            age=age or self._age(),
            roles=tuple(dice.sample(ROLES, dice.randint(1, 2))),
            inviter=dice.choice(INVITERS),
            **overrides,
        )
        self._note(project_id, id_, name)

    def invite_to_one(self, count: int) -> None:
        project_id = self.dice.choice(self.projects_of(self.dice.choice(self.organizations)))
        for _ in range(count):
            self.invite(project_id, f"more{len(self.names)}@example.org", 400 * DAY)

    def _age(self) -> timedelta:
        days = self.dice.choice((0, 1, 3, 7, 13, 14, 15, 20, 29, 31, 60))
        return days * DAY + timedelta(seconds=self.dice.choice((-600, 0, 1, 3600)))

    def _add_member(self, org_id: str, name: str) -> None:
        dice = self.dice
        own = self.projects_of(org_id)
        linked = dice.sample(own, min(dice.choice((0, 1, 2, 2)), len(own)))
        choices = [key for key, reached in self.teams.items() if set(reached) <= set(own)]
        teams = dice.sample(choices, min(dice.choice((0, 0, 0, 1, 2)), len(choices)))
        if dice.random() < 0.05:
            teams.append("5f00000000000000000000aa")  # no project has this team
        id_ = self.cli.sim.add_user(
            dice.choice(SPELLINGS)(name),
            org_id,
            status=dice.choice(("PENDING",) * 3 + INVITED + ("ACTIVE",)),
            age=self._age(),
            group_roles={key: (dice.choice(ROLES),) for key in linked},
            team_ids=teams,
            inviter=dice.choice(INVITERS),
            by_web_interface=dice.random() < 0.2,
        )
        self._note(org_id, id_, name)

    def _note(self, place_id: str, id_: str, name: str) -> None:
        self.names[place_id, id_] = name
        self.items = {row.key: row for row in self.rows()} | self.items

    def show_otherwise(self) -> None:
        """Let each list spell names its own way, hide some people, show some other inviters."""
        dice = self.dice
        for row in list(self.rows()):
            if row.member:
                look = {"username": dice.choice(SPELLINGS)(row.plain_name)}
                if dice.random() < 0.1:
                    look["inviterUsername"] = BOSS
                if dice.random() < 0.08:
                    self.hidden.add((row.source, row.id))
                self.shown[row.source, row.id] = look
        paths = ("*/orgs/*/users*", "*/groups/*/users*", "*/orgs/*/invites*")
        for source, path in zip(("org_users", "users", "org_invites"), paths, strict=True):
            altered = altered_rows(partial(self._show, source))
            self.cli.sim.faults.add(altered, method="GET", path=path, times=None)

    def _show(self, source: str, row: JsonObject) -> list[JsonObject]:
        key = (source, row.get("id", ""))
        look = self.shown.get(key, {}) if "inviterUsername" in row else {}
        return [] if key in self.hidden else [row | look]

    def rows(self) -> Iterator[Row]:
        for project_id, group in self.cli.sim.groups.items():
            for id_, invite in group.invites.items():
                if (project_id, id_) in self.names:
                    sent = json.loads(invite.document)
                    yield Row(
                        source="invites",
                        scope=project_id,
                        id=id_,
                        org_id=group.org_id,
                        member="",
                        plain_name=self.names[project_id, id_],
                        username=sent.get("username"),
                        roles=tuple(sent["roles"]),
                        inviter=sent["inviterUsername"],
                        created=sent.get("createdAt"),
                        expires=sent.get("expiresAt"),
                    )
        for organization in self.cli.sim.organizations.values():
            for user in organization.users.values():
                if (user.org_id, user.id) in self.names:
                    yield from self._rows_of(user)

    def _rows_of(self, user) -> Iterator[Row]:
        teams = [self.teams.get(each, ()) for each in user.team_ids]
        of_org = {"linked": {*user.group_roles}.union(*teams), "has_team": bool(teams)}
        roles = [*user.org_roles, *chain(*user.group_roles.values())]
        entries = [("org_users", user.org_id, user.id, roles, of_org)]
        if user.status == "PENDING" and not user.by_web_interface:
            entries.append(("org_invites", user.org_id, user.invitation_id, roles, of_org))
        entries += [("users", key, user.id, own, {}) for key, own in user.group_roles.items()]
        for source, scope, id_, roles, more in entries:
            look = self.shown.get((source, id_), {})
            yield Row(
                source=source,
                scope=scope,
                id=id_,
                org_id=user.org_id,
                member=user.id,
                plain_name=self.names[user.org_id, user.id],
                username=look.get("username", user.username),
                roles=tuple(roles),
                inviter=look.get("inviterUsername", user.inviter),
                created=user.created_at.replace(microsecond=0),
                expires=user.expires_at and user.expires_at.replace(microsecond=0),
                status=user.status.value,
                **more,
            )

    @property
    def organizations(self) -> list[str]:
        listed = self.policy["organizations"]
        return [each if isinstance(each, str) else each["id"] for each in listed]

    def write_policy(self) -> None:
        """Write a policy; in most cases one that deletes nearly all that no guard keeps."""
        dice = self.dice
        orgs = list(self.cli.sim.organizations)
        allowed = dice.sample(orgs, dice.randint(1, len(orgs)))
        if dice.random() < 0.5:
            allowed = [self._with_credentials(org_id) for org_id in allowed]
        wide = dice.random() < 0.8
        self.cli.keys = self.policy = {
            "version": 1,
            "organizations": allowed,
            "sources": list(SOURCES) if wide else dice.sample(SOURCES, dice.choice((1, 2, 3))),
            "rules": [self._rule(number, wide=wide) for number in range(dice.randint(1, 3))],
            "limits": {
                "max_deletions": 1000 if wide else dice.choice((0, 1, 3, 5, 1000)),
                "max_deletions_per_project": 1000 if wide else dice.choice((1, 1000, 1000)),
                "max_share": 1.0 if wide else dice.choice((0.2, 1.0)),
                "over_limit": dice.choice(("refuse", "trim")),
                "max_unreadable_projects": dice.choice((0, 50, 50)),
                "canary": dice.choice((0, 2)),
                "max_already_gone_share": 1.0,
            },
            "execution": {"attempts": 3, "concurrency": dice.choice((1, 4, 20))},
        }
        if dice.random() < 0.6:
            self.policy["projects"] = self._scope()
        if dice.random() < 0.5:
            self.policy["keep"] = [self._keep(number) for number in range(dice.randint(1, 2))]
        for entry in (*self.policy["rules"], *self.policy.get("keep", ())):
            if dice.random() < 0.1:
                entry["organizations"] = [dice.choice(self.organizations)]

    def _with_credentials(self, org_id: str) -> str | dict[str, str]:
        sim = self.cli.sim
        name = f"O{ORGS.index(org_id)}"
        if self.dice.random() < 0.2:
            return org_id
        add = self.dice.choice((sim.add_token, sim.add_service_account, sim.add_api_key))
        if name not in self.accounts:
            self._use(name, add(org_id))
        return {"id": org_id, "credentials": name}

    def _use(self, name: str, account: object) -> None:
        self.accounts[name] = account
        variables = account.environment().items()
        self.cli.changes |= {f"{variable}_{name}": value for variable, value in variables}

    def use_all_organizations(self) -> None:
        orgs = self.cli.sim.organizations
        self.policy["organizations"] = [self._with_credentials(org_id) for org_id in orgs]

    def end_one_credential(self) -> str | None:
        """Let Atlas refuse a credential; return its organization's id, None without one."""
        named = [each for each in self.policy["organizations"] if not isinstance(each, str)]
        if not named:
            return None
        org_id, name = self.dice.choice(named).values()
        self._use(name, replace(self.accounts[name], secret="wrong"))
        self.ended = True
        return org_id

    def _scope(self) -> dict[str, object]:
        dice = self.dice
        keys = (("include", self.project_entries()), ("tags", {"env": "sandbox"}))
        scope = {"exclude": dice.choice((["prod-*"], self.project_entries()))}
        return (scope if dice.random() < 0.6 else {}) | dict(dice.sample(keys, dice.randint(0, 2)))

    def project_entries(self) -> list[str]:
        kinds = (PROJECT_GLOBS, PROJECT_GLOBS[1:], tuple(self.projects))
        return [self.dice.choice(self.dice.choice(kinds)) for _ in range(self.dice.randint(1, 2))]

    def _rule(self, number: int, *, wide: bool) -> dict[str, object]:
        """Return a rule; a wide one matches nearly all, or all that it selects."""
        dice = self.dice
        age = {"older_than": "1d" if wide else f"{dice.choice((1, 3, 7, 14))}d"}
        statuses = {"statuses": INVITED if wide else dice.sample(INVITED, dice.randint(1, 3))}
        keys = dice.choice((statuses, age, statuses | age, *([{"expired": True}] * (not wide))))
        return {"name": f"rule-{number}"} | keys | self.selections(0.25 if wide else 0.12)

    def _keep(self, number: int) -> dict[str, object]:
        keys = self.selections(0.4) or {"usernames": ["*@board.example", "*@bücher.example"]}
        entry = {"name": f"keep-{number}", **keys}
        if self.dice.random() < 0.4:
            today = datetime.now(UTC).date()
            entry["until"] = today + self.dice.choice((-2, 2)) * DAY
        return entry

    def selections(self, share: float) -> dict[str, object]:
        dice = self.dice
        keys = {
            "usernames": dice.sample(USER_GLOBS, dice.randint(1, 2)),
            "inviters": [dice.choice((*INVITERS, "*@example.com", "boss@*"))],
            "roles": dice.sample(ROLES, 1),
            "projects": self.project_entries(),
            "not_usernames": dice.sample(USER_GLOBS[1:], dice.randint(1, 2)),
        }
        return {name: keys[name] for name in keys if dice.random() < share}

    def delete_most(self) -> None:
        """Replace what a policy keeps, so that little but the case's own guard keeps anything.

        In most cases one entry of `keep` is left, for people who are in every list.
        """
        self.policy.pop("projects", None)
        self.policy.pop("keep", None)
        if self.dice.random() < 0.7:
            domain = self.dice.choice(("*@board.example", "*@bücher.example", "*@corp.example"))
            more = self.dice.choice(({}, {}, self.selections(0.4)))
            self.policy["keep"] = [{"name": "some", **more, "usernames": [domain]}]
            if self.dice.random() < 0.4:  # else another list may keep who is in two
                self.policy["sources"] = [self.dice.choice(SOURCES)]
        keys = self.dice.choice(({"statuses": INVITED}, {"older_than": "1d"}, {"older_than": "1d"}))
        self.policy["rules"] = [{"name": "most", **keys}]
        self.policy["limits"] |= {"max_deletions": 1000, "max_deletions_per_project": 1000}
        self.policy["limits"] |= {"max_share": 1, "max_unreadable_projects": 50}

"""Random organizations, policies and faults, as data that an oracle can read."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import faults
from observed import MISSING

from invite_sweeper.simulator import Call, SimulatedAtlas
from invite_sweeper.simulator.responses import SimulatedResponse
from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "00000000000000000000abcd")
DAY = timedelta(days=1)
FUTURE = "2126-01-01T00:00:00Z"
INVITED = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
FOCUSES = 8
SOURCES = ("invites", "users", "org_users", "org_invites")

# Pairs of the form in which Atlas returns a name, and the plain form that it looks like.
NAMES = (
    *((f"{name}@example.com",) * 2 for name in ("ann", "bob", "cleo", "dan", "eve")),
    *((f"{name}@board.example",) * 2 for name in ("fay", "gus")),
    ("Hal@Board.Example", "hal@board.example"),
    ("ivy@xn--bcher-kva.example", "ivy@bücher.example"),
    ("jo\u034fe@board.example", "joe@board.example"),
    ("kim@boa\ufe0frd.example", "kim@board.example"),
    ("\uff4cea@board.example", "lea@board.example"),
)
USER_GLOBS = ("*", "*@example.com", "*@board.example", "*@bücher.example", "b*", "ann@*")
ROLES = ("GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_DATA_ACCESS_ADMIN")
INVITERS = ("wkzjqvtb", "carol@example.com")
PROJECT_NAMES = (
    *("prod-payments", "sandbox", "db-tools", "Prod-Web", "team a", "öffentlich"),
    *("\uff50rod-api", "pro\u034fd-db"),
)
PLAIN_PROJECT_NAMES = {"\uff50rod-api": "prod-api", "pro\u034fd-db": "prod-db"}
PROJECT_GLOBS = ("*", "prod-*", "*db*", "sand*", "team ?", "*a*", "*0*")


@dataclass
class Item:
    """One invitation as one list shows it, and what a deletion of it would be recorded as.

    Attributes:
        removed_as: `(scope id, id)` of its DELETE.
        plain_name: The name without characters that are not visible.
        linked: Project ids of an organization's invitation, those of its teams included.
        has_team: The invitation joins a team.
    """

    source: str
    removed_as: tuple[str, str]
    org_id: str
    project_id: str
    username: str | None
    plain_name: str
    roles: tuple[str, ...]
    inviter: str
    created: object
    expires: object
    status: str = "PENDING"
    linked: tuple[str, ...] = ()
    has_team: bool = False


@dataclass
class World:
    """A simulated Atlas with its policy, as data.

    Attributes:
        teams: Project ids by team id.
        unreadable: Projects whose lists cannot be read.
        incomplete: Lists without an end or with a duplicate key, as `(source, scope id)`.
        two_statuses: Users whom the lists of users contain twice, with different statuses.
        changed: Users whom a single read shows otherwise than the list, or out of a cache.
        unreadable_teams: Projects whose list of teams cannot be read.
        ids_as_names: The id that is also the name of another project.
        accepting_share: Of the users, who become members just before they are read.
        accounts: Of organizations with credentials of their own, by their name.
        ended: Credentials ended for good while the program ran.
        last: The result of the last command that was not killed.
    """

    cli: object
    dice: random.Random
    seed: int
    policy: dict[str, object] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    projects: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    incomplete: set[tuple[str, str]] = field(default_factory=set)
    two_statuses: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    unreadable_teams: set[str] = field(default_factory=set)
    ids_as_names: tuple[str, ...] = ()
    accepting_share: float = 0.3
    accounts: dict[str, object] = field(default_factory=dict)
    ended: bool = False
    last: object = None

    @property
    def organizations(self) -> list[str]:
        """The ids of the policy's organizations."""
        listed = self.policy["organizations"]
        return [each if isinstance(each, str) else each["id"] for each in listed]

    @property
    def environment(self) -> dict[str, str]:
        """The credentials with a name, to add to the environment."""
        return {
            f"{variable}_{name}": value
            for name, account in self.accounts.items()
            for variable, value in account.environment().items()
        }

    def add_projects(self, *, organizations: int) -> None:
        """Add projects to at least this number of organizations."""
        for org_id in ORGS[: self.dice.randint(organizations, 3)]:
            if org_id not in self.cli.sim.organizations:
                self.cli.sim.add_organization(org_id, f"Organization {org_id[:4]}")
            for name in self.dice.sample(PROJECT_NAMES, self.dice.randint(1, 4)):
                tags = {"env": self.dice.choice(("sandbox", "prod"))}
                project_id = self.cli.sim.add_project(name, org_id, tags=tags)
                self.projects[project_id] = (org_id, name, tags)
        named, other = self.dice.choices(list(self.projects), k=2)
        if self.dice.random() < 0.3:  # a project with the id of another one as its name
            org_id, _, tags = self.projects[named]
            self.cli.sim.groups[named].name = other
            self.projects[named] = (org_id, other, tags)
            self.ids_as_names = (other,)

    def add_teams(self) -> None:
        for org_id in self.cli.sim.organizations:
            own = self._projects_of(org_id)
            for _ in range(self.dice.randint(1, 3)):
                reached = self.dice.sample(own, self.dice.randint(0, min(2, len(own))))
                self.teams[self.cli.sim.add_team(*reached)] = tuple(reached)

    def _projects_of(self, org_id: str) -> list[str]:
        return [key for key, (owner, _, _) in self.projects.items() if owner == org_id]

    def add_invitations(self) -> None:
        for project_id, (org_id, _, _) in self.projects.items():
            for username, plain in self.dice.sample(NAMES, self.dice.randint(0, 7)):
                self._invite(project_id, org_id, username, plain)
        for org_id in self.cli.sim.organizations:
            for username, plain in self.dice.sample(NAMES, self.dice.randint(0, 7)):
                self._add_user(org_id, f"org-{username}", f"org-{plain}")

    def add_stale_invitations(self, count: int) -> None:
        """Add invitations of 400 days to a project of the policy's organizations."""
        self._invite_to_one(count, 400 * DAY, "old")

    def add_young_invitations(self, count: int) -> list[tuple[str, str]]:
        """Add invitations of an hour to one project; return them as `(project id, id)`."""
        return self._invite_to_one(count, timedelta(hours=1), "young")

    def _invite_to_one(self, count: int, age: timedelta, name: str) -> list[tuple[str, str]]:
        org_id = self.dice.choice(self.organizations)
        project_id = self.dice.choice(self._projects_of(org_id))
        names = (f"{name}{number}@example.org" for number in range(count))
        return [self._invite(project_id, org_id, each, each, age) for each in names]

    @contextmanager
    def changed_policy(self, **limits: object) -> Iterator[None]:
        """Change the policy for the block, so that it keeps less or deletes more."""
        policy = self.policy | {"limits": self.policy["limits"] | limits}
        if "keep" in policy and self.dice.random() < 0.5:
            del policy["keep"]
        else:
            added = {"name": "added", "older_than": "2d"}
            policy["rules"] = [*policy["rules"], added]
        self.cli.keys = policy
        try:
            yield
        finally:
            self.cli.keys = self.policy

    def _age(self) -> timedelta:
        days = self.dice.choice((0, 1, 3, 7, 13, 14, 15, 20, 29, 31, 60))
        return days * DAY + self.dice.choice((-2, 0, 1, 3600)) * timedelta(seconds=1)

    def _invite(
        self,
        project_id: str,
        org_id: str,
        username: str,
        plain: str,
        fixed_age: timedelta | None = None,
    ) -> tuple[str, str]:
        overrides, roles = {}, tuple(self.dice.sample(ROLES, self.dice.randint(1, 2)))
        age, inviter = fixed_age or self._age(), self.dice.choice(INVITERS)
        if fixed_age is None and self.dice.random() < 0.25:
            overrides["createdAt"] = self.dice.choice(
                (MISSING, None, "soon", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", FUTURE)
            )
        if self.dice.random() < 0.1:
            overrides["expiresAt"] = self.dice.choice((MISSING, None, "never"))
        if self.dice.random() < 0.05:
            overrides["id"] = self.dice.choice(("../x", "UPPERCASE", "6a793fd0c0eb9e7a17718"))
        sent_name = username if self.dice.random() < 0.85 else MISSING
        id_ = self.cli.sim.invite(
            project_id, sent_name, age=age, roles=roles, inviter=inviter, **overrides
        )
        document = json.loads(self.cli.sim.groups[project_id].invites[id_].document)
        self.items.append(
            Item(
                *("invites", (project_id, id_), org_id, project_id),
                *(document.get("username"), plain, roles, inviter),
                *(document.get("createdAt"), document.get("expiresAt")),
            )
        )
        return project_id, id_

    def _add_user(self, org_id: str, username: str, plain: str) -> None:
        sim, status = self.cli.sim, self.dice.choice((*INVITED, *INVITED, "ACTIVE"))
        own = self._projects_of(org_id)
        linked = self.dice.sample(own, min(self.dice.choice((0, 1, 2, 2)), len(own)))
        choices = [key for key, reached in self.teams.items() if set(reached) <= set(own)]
        teams = self.dice.sample(choices, self.dice.randint(0, min(2, len(choices))))
        if self.dice.random() < 0.1:
            teams.append("5f00000000000000000000aa")  # no project has this team
        reached = {key for team in teams for key in self.teams.get(team, ())}
        roles = {key: (self.dice.choice(ROLES),) for key in linked}
        inviter = self.dice.choice(INVITERS)
        id_ = sim.add_user(
            username,
            org_id,
            status=status,
            age=self._age(),
            group_roles=roles,
            team_ids=teams,
            inviter=inviter,
        )
        user = sim.user(id_)
        created = user.created_at.replace(microsecond=0)
        expires = user.expires_at.replace(microsecond=0) if user.expires_at else None
        common = (username, plain)
        for key in linked:
            self.items.append(
                Item(
                    *("users", (key, id_), org_id, key, *common, roles[key], inviter),
                    *(created, expires, status),
                )
            )
        all_roles = (*user.org_roles, *(role for each in roles.values() for role in each))
        for source, removed_id in (("org_users", id_), ("org_invites", user.invitation_id)):
            if source == "org_users" or status == "PENDING":
                self.items.append(
                    Item(
                        *(source, (org_id, removed_id), org_id, "", *common, all_roles, inviter),
                        *(created, expires, status, (*linked, *reached), bool(teams)),
                    )
                )

    def write_policy(self) -> None:
        """Write a policy; in most cases one that deletes nearly all that no guard keeps."""
        dice, orgs = self.dice, list(self.cli.sim.organizations)
        allowed = dice.sample(orgs, dice.randint(1, len(orgs)))
        if dice.random() < 0.5:
            allowed = [self._with_credentials(org_id) for org_id in allowed]
        wide = dice.random() < 0.8
        self.policy = {
            "version": 1,
            "organizations": allowed,
            "sources": list(SOURCES) if wide else dice.sample(SOURCES, dice.choice((1, 2, 3))),
            "rules": self._rules(wide=wide),
            "limits": {
                "max_deletions": 1000 if wide else dice.choice((0, 1, 3, 5, 1000)),
                "max_deletions_per_project": 1000 if wide else dice.choice((1, 1000, 1000)),
                "max_share": 1.0 if wide else dice.choice((0.2, 1.0)),
                "over_limit": dice.choice(("refuse", "trim")),
                "max_unreadable_projects": dice.choice((0, 50, 50)),
                "canary": dice.choice((0, 2)),
                "max_already_gone_share": 1.0,
                "max_population_drop": 1.0,
            },
            "execution": {"attempts": 3, "concurrency": dice.choice((1, 4, 20))},
        }
        if dice.random() < (0.9 if self.ids_as_names else 0.6):
            self.policy["projects"] = self._scope()
        if dice.random() < 0.5:
            self.policy["keep"] = [self._keep(number) for number in range(dice.randint(1, 2))]

    def _with_credentials(self, org_id: str) -> str | dict[str, str]:
        sim, name = self.cli.sim, f"O{ORGS.index(org_id)}"
        if self.dice.random() < 0.2:
            return org_id
        add = self.dice.choice((sim.add_token, sim.add_service_account, sim.add_api_key))
        self.accounts[name] = add(org_id)
        return {"id": org_id, "credentials": name}

    def _scope(self) -> dict[str, object]:
        dice, scope = self.dice, {}
        entries = (*PROJECT_GLOBS, *self.projects)
        if dice.random() < 0.6:
            scope["include"] = dice.sample(entries, dice.randint(1, 2))
        if dice.random() < 0.6:
            entries = (*entries[1:], "prod-*", "prod-*")
            scope["exclude"] = dice.sample(entries, dice.randint(1, 2))
        if self.ids_as_names and dice.random() < 0.7:
            scope["include"] = list(self.ids_as_names)
        if dice.random() < 0.3:
            scope["tags"] = {"env": "sandbox"}
        return scope or {"exclude": ["prod-*"]}

    def _rules(self, *, wide: bool) -> list[dict[str, object]]:
        """Return rules; a wide policy has one that matches nearly all, or all that it selects."""
        kind = self.dice.choice(("most", "selected", "selected", "random")) if wide else "random"
        if kind == "random":
            return [self._rule(number) for number in range(self.dice.randint(1, 3))]
        statuses, age = {"statuses": INVITED}, {"older_than": "1d"}
        rule = {"name": "most", **self.dice.choice((statuses, age, statuses | age))}
        if kind == "selected":
            projects = self.dice.choice(
                ("*0*", self.dice.choice((*PROJECT_GLOBS[1:], *self.projects)))
            )
            select = {"projects": [*self.ids_as_names, projects][:1]}
            rule |= self.dice.choice((select, select, self._selections(0.3)))
        return [rule]

    def _rule(self, number: int) -> dict[str, object]:
        dice, rule = self.dice, {"name": f"rule-{number}"}
        match dice.randint(0, 3):
            case 0 | 1:
                rule["older_than"] = f"{dice.choice((1, 3, 7, 14))}d"
            case 2:
                rule["expired"] = True
            case 3:
                rule["statuses"] = dice.sample(INVITED, dice.randint(1, 3))
        if dice.random() < 0.6 and "statuses" not in rule:
            rule["statuses"] = dice.sample(INVITED, dice.randint(1, 3))
        return rule | self._selections(0.12)

    def _keep(self, number: int) -> dict[str, object]:
        look_alike = {"usernames": [self.dice.choice(("*@board.example", "*@bücher.example"))]}
        keys = self.dice.choice((look_alike, self._selections(0.4) or {"projects": ["prod-*"]}))
        entry = {"name": f"keep-{number}", **keys}
        if self.dice.random() < 0.4:
            today = datetime.now(UTC).date()
            entry["until"] = today + self.dice.choice((-2, 2)) * DAY
        return entry

    def _selections(self, share: float) -> dict[str, object]:
        dice, keys = self.dice, {}
        if dice.random() < share:
            keys["usernames"] = dice.sample(USER_GLOBS, dice.randint(1, 2))
        if dice.random() < share:
            keys["inviters"] = [dice.choice((*INVITERS, "*@example.com"))]
        if dice.random() < share:
            keys["roles"] = dice.sample(ROLES, 1)
        if dice.random() < share:
            keys["projects"] = dice.sample((*PROJECT_GLOBS, *self.projects), 1)
        return keys

    def add_faults(self) -> None:
        sim, dice = self.cli.sim, self.dice
        answer_as_400(sim, dice)
        for path, sizes in (("*/v2/groups", (1, 2)), ("*/users", (1, 3)), ("*/teams", (1,))):
            if size := dice.choice((None, *sizes)):
                repeated = dice.choice((0, 1)) if size == 2 else 0
                sim.faults.add(faults.short_pages(size, repeated), path=path, times=None)
        if dice.random() < 0.5:
            fault = dice.choice((faults.fail_with(500), faults.reset(late=True), faults.html()))
            sim.faults.add(fault, method="DELETE", nth=dice.randint(1, 5), times=dice.randint(1, 2))
        self._add_unreadable_lists()
        if dice.random() < max(0.4, self.accepting_share):
            self._add_changing_users()
        if dice.random() < 0.3:
            self._add_incomplete_list()
        if dice.random() < 0.2:
            limited = faults.fail_with(429, "RATE_LIMITED", retry_after="1")
            sim.faults.add(limited, nth=dice.randint(3, 40))
        if dice.random() < 0.4:
            end = dice.choice((self._expire_tokens, self._expire_tokens, self._end_credentials))
            sim.faults.add(faults.effect(before=lambda _: end()), nth=dice.randint(2, 25))

    def _add_unreadable_lists(self) -> None:
        sim, dice = self.cli.sim, self.dice
        if dice.random() < 0.3:
            project_id = dice.choice(list(self.projects))
            fault = dice.choice(
                (faults.malformed(), faults.truncated(), faults.role_missing(), faults.html(200))
            )
            self._make_unreadable(project_id, fault)
        if dice.random() < 0.4:
            project_id = dice.choice(list(self.projects))
            fault = dice.choice(
                (
                    faults.malformed(),
                    faults.role_missing(),
                    faults.fail_with(404),
                    no_end(),
                    no_end(),
                )
            )
            sim.faults.add(fault, path=f"*/groups/{project_id}/teams", times=None)
            self.unreadable_teams.add(project_id)

    def _make_unreadable(self, project_id: str, fault: faults.Fault) -> None:
        for listed in ("invites", "users"):
            path = f"*/groups/{project_id}/{listed}"
            self.cli.sim.faults.add(fault, path=path, times=None)
        self.unreadable.add(project_id)

    def _add_incomplete_list(self) -> None:
        """Make one list of a project or organization endless, or ambiguous."""
        listed = [(each.source, each.removed_as[0]) for each in self.items] or [
            ("invites", ORGS[0])
        ]
        source, scope_id = self.dice.choice(listed)
        ambiguous = faults.altered(lambda body: body.replace(b'"roles":', b'"roles":[],"roles":'))
        ambiguous_user = faults.altered(lambda body: body.replace(b'"id":', b'"id":"","id":'))
        is_users = source in ("users", "org_users")
        endless = (no_end(), no_end(repeats=True), ambiguous_user)
        fault = self.dice.choice(endless) if is_users else ambiguous
        kind = "orgs" if source.startswith("org_") else "groups"
        path = f"*/{kind}/{scope_id}/{'users' if is_users else 'invites'}"
        self.cli.sim.faults.add(fault, path=path, times=None)
        self.incomplete.add((source, scope_id))

    def _add_changing_users(self) -> None:
        """Let users be listed twice, accept before their last check, or differ in it."""
        sim, dice = self.cli.sim, self.dice
        ids = sorted({each.removed_as[1] for each in self.items if each.source == "org_users"})
        self.two_statuses |= {each for each in ids if dice.random() < 0.3}
        accepting = {each for each in ids if dice.random() < self.accepting_share}
        self.changed |= {each for each in ids if dice.random() < 0.3}

        def accept(context: Call) -> None:
            if context.item_id in accepting and self._is_pending(context.item_id):
                sim.set_status(context.item_id, "ACTIVE")

        sim.faults.add(faults.altered(self._list_twice), path="*/users", times=None)
        accepted = faults.effect(before=accept)
        sim.faults.add(accepted, method="GET", path="*/users/*", times=None)
        changed = faults.changed(self._change)
        sim.faults.add(changed, method="GET", path="*/users/*", times=None)

    def _change(self, response: SimulatedResponse) -> SimulatedResponse:
        """Return what a single read shows of a user."""
        user = json.loads(response.body) if response.status == 200 else {}
        if user.get("id") not in self.changed:
            return response
        kind = int(user["id"][-1], 16) % 4
        if kind == 3:
            return replace(response, headers=(*response.headers, ("Age", "3600")))
        key = ("inviterUsername", "invitationExpiresAt", "invitationCreatedAt")[kind]
        user[key] = "boss@example.com" if kind == 0 else FUTURE
        return replace(response, body=json.dumps(user).encode())

    def _is_pending(self, user_id: str) -> bool:
        users = (each.users.get(user_id) for each in self.cli.sim.organizations.values())
        return any(user is not None and user.status == "PENDING" for user in users)

    def _list_twice(self, body: bytes) -> bytes:
        page = parse_page(body)
        if page is None:
            return body
        for row in list(page["results"]):
            if row["id"] in self.two_statuses:
                other = [each for each in INVITED if each != row["orgMembershipStatus"]]
                page["results"].append(row | {"orgMembershipStatus": other[0]})
        return json.dumps(page).encode()

    def delete_most(self) -> None:
        """Replace what a policy keeps, so that little but the case's own guard keeps anything.

        In most cases one entry of `keep` is left, for people who are in every list.
        """
        self.policy.pop("projects", None)
        self.policy.pop("keep", None)
        if self.dice.random() < 0.7:
            domain = self.dice.choice(("*@board.example", "*@bücher.example", "*@example.com"))
            more = self.dice.choice(({}, {}, self._selections(0.4)))
            self.policy["keep"] = [{"name": "some", **more, "usernames": [domain]}]
            if self.dice.random() < 0.4:  # else another list may keep who is in two
                self.policy["sources"] = [self.dice.choice(SOURCES)]
        keys = self.dice.choice(({"statuses": INVITED}, {"older_than": "1d"}, {"older_than": "1d"}))
        self.policy["rules"] = [{"name": "most", **keys}]
        self.policy["limits"] |= {"max_deletions": 1000, "max_deletions_per_project": 1000}
        self.policy["limits"] |= {"max_share": 1, "max_unreadable_projects": 50}

    def focus(self, number: int) -> None:
        """Let one guard alone keep most of what it keeps; a number below `FOCUSES` selects it."""
        self.delete_most()
        self.policy.pop("keep", None)
        self.policy["rules"] = [{"name": "most", "statuses": INVITED}]
        self.policy["sources"] = list(SOURCES)
        match number:
            case 0:
                usernames = ["*@board.example", "*@bücher.example"]
                self.policy["keep"] = [{"name": "look-alike", "usernames": usernames}]
                self.policy["projects"] = {"exclude": ["prod-*"]}
                self._add_look_alike_project(self.organizations[0])
            case 1:
                self.policy["rules"][0]["projects"] = ["*0*", "sand*", "team*", "prod-w*"]
            case 2:
                project_id = self.dice.choice(
                    self._projects_of(self.dice.choice(self.organizations))
                )
                self.policy["projects"] = {"exclude": [project_id]}
                self.cli.sim.faults.add(no_end(), path=f"*/groups/{project_id}/teams", times=None)
                self.unreadable_teams.add(project_id)
            case 3:
                self.policy["projects"] = {"tags": {"env": "sandbox"}}
            case 4:
                self.policy["limits"]["max_unreadable_projects"] = 0
                project_id = self.dice.choice(self._projects_of(self.organizations[0]))
                self._make_unreadable(project_id, faults.malformed())
            case 5:
                self.policy["projects"] = {"include": ["*0*", "sand*", "team*"]}
            case 6:  # what is kept is in every list
                entries = (
                    {"usernames": ["*@example.com", "*@board.example"]},
                    {"inviters": [self.dice.choice(INVITERS)]},
                    {"roles": [self.dice.choice(ROLES)]},
                    {"projects": [self.dice.choice(PROJECT_GLOBS[1:])]},
                )
                self.policy["keep"] = [{"name": "some", **self.dice.choice(entries)}]
                self.policy["sources"] = [self.dice.choice(SOURCES)]
            case _:
                self.accepting_share = 1.0
                self._add_changing_users()

    def _add_look_alike_project(self, org_id: str) -> None:
        name, tags = next(iter(PLAIN_PROJECT_NAMES)), {"env": "prod"}
        project_id = self.cli.sim.add_project(name, org_id, tags=tags)
        self.projects[project_id] = (org_id, name, tags)
        self._invite(project_id, org_id, *(("old@example.org",) * 2), 400 * DAY)

    def use_all_organizations(self) -> None:
        """Let the policy name every organization, most of them with credentials of their own."""
        self.policy["organizations"] = [
            self._with_credentials(org_id) for org_id in self.cli.sim.organizations
        ]

    def end_one_credential(self) -> str | None:
        """Let Atlas refuse a credential; return its organization's id, None without one."""
        named = [each for each in self.policy["organizations"] if not isinstance(each, str)]
        if not named:
            return None
        chosen = self.dice.choice(named)
        name = chosen["credentials"]
        self.accounts[name] = replace(self.accounts[name], secret="wrong")
        self.ended = True
        return chosen["id"]

    def rename_one_organization(self) -> str:
        """Rename an organization of the policy; return its id."""
        org_id = self.dice.choice(self.organizations)
        self.cli.sim.organizations[org_id].name = "Renamed"
        return org_id

    def org_of(self, scope_id: str) -> str:
        """Return the organization of a project, or of its own lists."""
        return self.projects[scope_id][0] if scope_id in self.projects else scope_id

    def refuse_all(self, *, by_clock: bool) -> None:
        """Make every run refuse: the clock differs, or the list of projects does not end."""
        sim, dice = self.cli.sim, self.dice
        if by_clock:
            offset_s = dice.choice((-1, 1)) * dice.choice((310, 3600, 20 * 86_400))
            sim.date_offset = timedelta(seconds=offset_s)
        else:
            endless = no_end(repeats=dice.random() < 0.5)
            sim.faults.add(endless, path="*/groups", times=None)

    def _expire_tokens(self) -> None:
        self.cli.sim.expire_tokens()
        self.cli.sim.digest.nonces.clear()

    def _end_credentials(self) -> None:
        """End every token; only service accounts can get another one."""
        self._expire_tokens()
        accounts = (self.cli.account, *self.accounts.values())
        self.cli.sim.expire_tokens(*(each.secret for each in accounts))
        self.ended = True


def parse_page(body: bytes) -> dict[str, list[object]] | None:
    """Parse a page of a list; None for an error or a malformed body."""
    try:
        page = json.loads(body)
    except ValueError:
        return None
    return page if "results" in page else None


def answer_as_400(sim: SimulatedAtlas, dice: random.Random) -> None:
    """Perhaps answer 400 for an invitation that is gone: it is not known what Atlas sends."""
    if dice.random() < 0.5:
        sim.faults.add(faults.gone_as_400(), method="DELETE", path="*/invites/*", times=None)


def no_end(*, repeats: bool = False) -> faults.Fault:
    """Return a fault by which every page of one list names a next one.

    Args:
        repeats: The pages after the last one are the first one again, else they are empty.
    """
    pages: list[bytes] = []

    def alter(body: bytes) -> bytes:
        page = parse_page(body)
        if page is None:
            return body
        page["links"] = [*page["links"], {"href": "https://atlas.example", "rel": "next"}]
        pages.append(json.dumps(page).encode())
        return pages[0] if repeats and not page["results"] else pages[-1]

    return faults.altered(alter)

"""The whole program against random organizations, policies, faults and kills.

Each case builds a simulated Atlas, starts sweeps as processes, and computes independently which
invitations had to stay. No code of the selection is used for that. The processes are forked from
one that has imported the program, because its imports take longer than most cases.

`INVITE_SWEEPER_CASES=2000` runs 2,000 cases.
"""

import json
import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest
from forked import PROCESSES, run_program
from running import desk_in, wait_until

from invite_sweeper.audit.verify import verify
from invite_sweeper.simulator import faults
from invite_sweeper.simulator.responses import MISSING
from invite_sweeper.simulator.seed import ORG_ID

CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "50"))
ORGS = (ORG_ID, "0123456789abcdef01234567", "00000000000000000000abcd")
DAY = timedelta(days=1)
LAUNCH = datetime(2016, 6, 1, tzinfo=UTC)
INVITED = ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")

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
PROJECT_NAMES = ("prod-payments", "sandbox", "db-tools", "Prod-Web", "team a", "öffentlich")
PROJECT_GLOBS = ("*", "prod-*", "*db*", "sand*", "team ?", "*a*")


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
        unreadable_teams: Projects whose list of teams cannot be read.
        accounts: Of organizations with credentials of their own, by their name.
        ended: Credentials ended for good while the program ran.
    """

    desk: object
    dice: random.Random
    policy: dict[str, object] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    projects: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    teams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    unreadable_teams: set[str] = field(default_factory=set)
    accounts: dict[str, object] = field(default_factory=dict)
    ended: bool = False

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

    def add_projects(self) -> None:
        for org_id in ORGS[: self.dice.randint(1, 3)]:
            if org_id not in self.desk.sim.organizations:
                self.desk.sim.add_organization(org_id, f"Organization {org_id[:4]}")
            for name in self.dice.sample(PROJECT_NAMES, self.dice.randint(1, 4)):
                tags = {"env": self.dice.choice(("sandbox", "prod"))}
                project_id = self.desk.sim.add_project(name, org_id, tags=tags)
                self.projects[project_id] = (org_id, name, tags)
        named, other = self.dice.choices(list(self.projects), k=2)
        if self.dice.random() < 0.3:  # a project with the id of another one as its name
            org_id, _, tags = self.projects[named]
            self.desk.sim.groups[named].name = other
            self.projects[named] = (org_id, other, tags)

    def add_teams(self) -> None:
        for org_id in self.desk.sim.organizations:
            own = self._projects_of(org_id)
            for _ in range(self.dice.randint(1, 3)):
                reached = self.dice.sample(own, self.dice.randint(0, min(2, len(own))))
                self.teams[self.desk.sim.add_team(*reached)] = tuple(reached)

    def _projects_of(self, org_id: str) -> list[str]:
        return [key for key, (owner, _, _) in self.projects.items() if owner == org_id]

    def add_invitations(self) -> None:
        for project_id, (org_id, _, _) in self.projects.items():
            for username, plain in self.dice.sample(NAMES, self.dice.randint(0, 7)):
                self._invite(project_id, org_id, username, plain)
        for org_id in self.desk.sim.organizations:
            for username, plain in self.dice.sample(NAMES, self.dice.randint(0, 7)):
                self._add_user(org_id, f"org-{username}", f"org-{plain}")

    def _age(self) -> timedelta:
        days = self.dice.choice((0, 1, 3, 7, 13, 14, 15, 20, 29, 31, 60))
        return days * DAY + self.dice.choice((-2, 0, 1, 3600)) * timedelta(seconds=1)

    def _invite(self, project_id: str, org_id: str, username: str, plain: str) -> None:
        overrides, roles = {}, tuple(self.dice.sample(ROLES, self.dice.randint(1, 2)))
        age, inviter = self._age(), self.dice.choice(INVITERS)
        if self.dice.random() < 0.25:
            overrides["createdAt"] = self.dice.choice(
                (MISSING, None, "soon", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z")
            )
        if self.dice.random() < 0.1:
            overrides["expiresAt"] = self.dice.choice((MISSING, None, "never"))
        if self.dice.random() < 0.05:
            overrides["id"] = self.dice.choice(("../x", "UPPERCASE", "6a793fd0c0eb9e7a17718"))
        sent_name = username if self.dice.random() < 0.95 else MISSING
        id_ = self.desk.sim.invite(
            project_id, sent_name, age=age, roles=roles, inviter=inviter, **overrides
        )
        document = json.loads(self.desk.sim.groups[project_id].invites[id_].document)
        self.items.append(
            Item(
                *("invites", (project_id, id_), org_id, project_id),
                *(document.get("username"), plain, roles, inviter),
                *(document.get("createdAt"), document.get("expiresAt")),
            )
        )

    def _add_user(self, org_id: str, username: str, plain: str) -> None:
        sim, status = self.desk.sim, self.dice.choice((*INVITED, *INVITED, "ACTIVE"))
        own = self._projects_of(org_id)
        linked = self.dice.sample(own, min(self.dice.choice((0, 0, 1, 2)), len(own)))
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
        dice, orgs = self.dice, list(self.desk.sim.organizations)
        allowed = dice.sample(orgs, dice.randint(1, len(orgs)))
        if dice.random() < 0.5:
            allowed = [self._with_credentials(org_id) for org_id in allowed]
        sources = dice.sample(
            ("invites", "users", "org_users", "org_invites"), dice.choice((1, 2, 3, 4, 4))
        )
        self.policy = {
            "version": 1,
            "organizations": allowed,
            "sources": sources,
            "rules": [self._rule(number) for number in range(dice.randint(1, 3))],
            "limits": {
                "max_deletions": dice.choice((0, 1, 3, 5, 1000, 1000, 1000, 1000)),
                "max_deletions_per_project": dice.choice((1, 1000, 1000)),
                "max_share": dice.choice((0.2, 1.0, 1.0)),
                "over_limit": dice.choice(("refuse", "trim")),
                "max_unreadable_projects": dice.choice((0, 50)),
                "canary": dice.choice((0, 2)),
                "max_already_gone_share": 1.0,
                "max_population_drop": 1.0,
            },
            "execution": {"attempts": 3, "concurrency": dice.choice((1, 4, 20))},
        }
        if dice.random() < 0.6:
            self.policy["projects"] = self._scope()
        if dice.random() < 0.5:
            self.policy["keep"] = [self._keep(number) for number in range(dice.randint(1, 2))]

    def _with_credentials(self, org_id: str) -> str | dict[str, str]:
        sim, name = self.desk.sim, f"O{ORGS.index(org_id)}"
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
            scope["exclude"] = dice.sample(entries[1:], dice.randint(1, 2))
        if dice.random() < 0.3:
            scope["tags"] = {"env": "sandbox"}
        return scope or {"exclude": ["prod-*"]}

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
        entry = {"name": f"keep-{number}", **(self._selections(0.4) or {"usernames": ["*@board*"]})}
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
        sim, dice = self.desk.sim, self.dice
        sim.gone_status = dice.choice((404, 400))
        sim.paging.page_size = dice.choice((None, 1, 2))
        sim.paging.repeated_items = dice.choice((0, 1)) if sim.paging.page_size == 2 else 0
        sim.user_paging.page_size = dice.choice((None, 1, 3))
        if dice.random() < 0.5:
            fault = dice.choice((faults.fail_with(500), faults.reset(late=True), faults.html()))
            sim.faults.add(fault, method="DELETE", nth=dice.randint(1, 5), times=dice.randint(1, 2))
        if dice.random() < 0.3:
            project_id = dice.choice(list(self.projects))
            fault = dice.choice(
                (faults.malformed(), faults.truncated(), faults.role_missing(), faults.html(200))
            )
            for listed in ("invites", "users"):
                sim.faults.add(fault, path=f"*/groups/{project_id}/{listed}", times=None)
            self.unreadable.add(project_id)
        sim.team_paging.page_size = dice.choice((None, 1))
        if dice.random() < 0.3:
            project_id = dice.choice(list(self.projects))
            fault = dice.choice((faults.malformed(), faults.role_missing(), faults.fail_with(404)))
            sim.faults.add(fault, path=f"*/groups/{project_id}/teams", times=None)
            self.unreadable_teams.add(project_id)
        if dice.random() < 0.3:
            sim.set_bucket("projects_group", capacity=3, refill=3, period_s=0.5)
        if dice.random() < 0.4:
            end = dice.choice((self._expire_tokens, self._expire_tokens, self._end_credentials))
            sim.faults.add(faults.effect(before=lambda _: end()), nth=dice.randint(2, 25))

    def _expire_tokens(self) -> None:
        self.desk.sim.oauth.expire()
        self.desk.sim.digest.forget_nonces()

    def _end_credentials(self) -> None:
        """End every token; only service accounts can get another one."""
        self._expire_tokens()
        accounts = (self.desk.account, *self.accounts.values())
        self.desk.sim.accounts.remove_tokens([each.secret for each in accounts])
        self.ended = True


# The independent decision ----------------------------------------------------------------------


def matches_glob(patterns: list[str], *names: str) -> bool:
    return any(fnmatchcase(name.lower(), p.lower()) for name in names for p in patterns)


def is_object_id(text: str) -> bool:
    return len(text) == 24 and set(text) <= set("0123456789abcdef")


def matches_project(entries: list[str], project_id: str, name: str) -> bool:
    ids = [each for each in entries if is_object_id(each)]
    globs = [each for each in entries if each not in ids]
    return project_id in ids or matches_glob(globs, name)


def in_scope(world: World, project_id: str) -> bool:
    org_id, name, tags = world.projects[project_id]
    scope = world.policy.get("projects", {})
    return (
        org_id in world.organizations
        and matches_project(scope.get("include", ["*"]), project_id, name)
        and not matches_project(scope.get("exclude", []), project_id, name)
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
        each = [matches_project(entry["projects"], key, world.projects[key][1]) for key in ids]
        found.append(any(each) if keep else bool(each) and all(each))
    return found


def must_stay(world: World, item: Item, now: datetime) -> bool:
    """Return whether no run at this instant may delete the invitation."""
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
    """Return whether a deletion would touch a project or organization out of the policy."""
    return (
        item.org_id not in world.organizations
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
    if "statuses" in rule:
        if item.status not in rule["statuses"]:
            return False
    elif item.source in ("users", "org_users") and item.status == "PENDING":
        return False
    return all(selections(world, rule, item, keep=False))


# One case --------------------------------------------------------------------------------------


def removed(world: World) -> set[tuple[str, str]]:
    """Return what the simulated Atlas removed, as `(scope id, id)`; the scope of an id is known."""
    scopes = {item.removed_as[1]: item.removed_as[0] for item in world.items}
    log = world.desk.sim.request_log
    users = {(each.scope_id, each.user_id) for each in log.removed}
    ids = {each[1] for each in users}
    return users | {(scopes[each], each) for each in log.deleted if each not in ids}


def instants(world: World, org_id: str) -> list[datetime]:
    """Return the instants at which a run read this organization."""
    starts = whole_lines(world, "run_started")
    return [
        datetime.fromisoformat(line["now"]) for line in starts if org_id in line["organizations"]
    ]


def whole_lines(world: World, event: str) -> list[dict[str, object]]:
    path = world.desk.log_path
    data = path.read_bytes() if path.exists() else b""
    lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
    return [line for line in lines if line["event"] == event]


def by_command(world: World, event: str) -> dict[str, list[dict[str, object]]]:
    """Return the lines of an event by the id of the command that wrote them."""
    group_ids = {line["run_id"]: line["group_id"] for line in whole_lines(world, "run_started")}
    found = defaultdict(list)
    for line in whole_lines(world, event):
        found[group_ids[line["run_id"]]].append(line)
    return found


def run_and_maybe_kill(world: World, *, kill: bool) -> None:
    desk = world.desk
    received, sent_before = desk.sim.request_log.received, desk.deletes()
    at = received.total() + world.dice.randint(1, 60)
    desk.write_policy()
    arguments = ["sweep", "--policy", "policy.yaml", "--output", "json"]
    process = PROCESSES.Process(
        target=run_program, args=(desk.folder, arguments, desk.environment | world.environment)
    )
    process.start()
    if kill:
        wait_until(lambda: not process.is_alive() or received.total() >= at)
        process.kill()
    process.join(timeout=60)
    if kill:
        return
    codes = {0, 3, 4, 5, 6} if world.ended else {0, 3, 4, 6}
    assert process.exitcode in codes, (desk.folder / "err").read_text("utf-8")
    summary = json.loads((desk.folder / "out").read_bytes())
    assert summary["exit_code"] == process.exitcode
    if process.exitcode == 3 or "run_id" not in summary:
        assert desk.deletes() == sent_before
    if "run_id" in summary:
        check_claims(world, summary)


def check_claims(world: World, summary: dict[str, object]) -> None:
    """Compare the summary with the log of the same command and with what Atlas removed."""
    outcomes = by_command(world, "outcome")[summary["run_id"]]
    own = [line for line in outcomes if not line.get("recovered")]
    deleted = [line["invitation_id"] for line in own if line["outcome"] == "deleted"]
    assert len(deleted) == summary["deleted"]
    assert set(deleted) <= set(world.desk.sim.deleted)
    parts = summary["organizations"]
    assert sorted(each["id"] for each in parts) == sorted(world.organizations)
    for key in ("deleted", "already_gone", "failed", "skipped", "stale", "kept"):
        assert sum(each[key] for each in parts) == summary[key], key
    for part in parts:
        of_part = [line for line in own if line["org_id"] == part["id"]]
        assert sum(line["outcome"] == "deleted" for line in of_part) == part["deleted"]
    assert summary["stale"] + summary["kept"] == summary["invitations_seen"]
    assert summary["invitations_seen"] <= listed_count(world)


def listed_count(world: World) -> int:
    """Return how many invitations the lists of the policy had at first."""
    orgs, sources = world.organizations, world.policy["sources"]
    return sum(item.org_id in orgs and item.source in sources for item in world.items)


def check_limits(world: World) -> None:
    """Check the intents of each command, killed ones too, against the policy's limits."""
    limits = world.policy["limits"]
    for intents in by_command(world, "intent").values():
        assert len(intents) <= limits["max_deletions"]
        if len(intents) > 10:
            assert len(intents) <= limits["max_share"] * listed_count(world)
        for project_id in world.projects:
            count = sum(line["project_id"] == project_id for line in intents)
            assert count <= limits["max_deletions_per_project"]


def check_end(world: World) -> None:
    gone = removed(world)
    wrong = [
        item
        for item in world.items
        if item.removed_as in gone
        and all(must_stay(world, item, now) for now in instants(world, item.org_id))
    ]
    assert not wrong, world.policy
    intended = {line["invitation_id"] for line in whole_lines(world, "intent")}
    assert {each[1] for each in gone} <= intended
    check_limits(world)
    if world.desk.log_path.exists():
        status = verify([world.desk.log_path])
        assert status.error is None, status


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CASES))
def test_no_run_deletes_what_had_to_stay(tmp_path, seed):
    dice = random.Random(seed)
    kind = dice.choice(("token", "service-account", "api-key"))
    with desk_in(tmp_path, kind=kind) as desk:
        world = World(desk, dice)
        world.add_projects()
        world.add_teams()
        world.add_invitations()
        desk.account.org_ids = tuple(desk.sim.organizations)
        world.write_policy()
        desk.keys = world.policy
        world.add_faults()
        kill = dice.random() < 0.3
        if kill:
            run_and_maybe_kill(world, kill=True)
        for _ in range(1 if kill else dice.choice((1, 1, 1, 2))):
            run_and_maybe_kill(world, kill=False)
        check_end(world)

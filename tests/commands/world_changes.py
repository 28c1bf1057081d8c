"""What happens to a random world: faults, and changes while a command runs or before the next."""

import json
from dataclasses import replace
from functools import partial

import faults
from commands.world import (
    BOSS,
    DAY,
    FUTURE,
    INVITED,
    PLAIN_PROJECT_NAMES,
    SOURCES,
    JsonObject,
    World,
    altered_rows,
)

from invite_sweeper.simulator import Call
from invite_sweeper.simulator.responses import SimulatedResponse

FOCUSES = 7
_NEXT = b'"links":[{"href":"https://atlas.example","rel":"next"}],"further":'


def add_faults(world: World) -> None:
    sim = world.cli.sim
    dice = world.dice
    if dice.random() < 0.5:  # it is not known what Atlas sends for an invitation that is gone
        gone = faults.gone_as_400()
        sim.faults.add(gone, method="DELETE", path="*/invites/*", times=None)
    for path, sizes in (("*/v2/groups", (1, 2)), ("*/users", (1, 3)), ("*/teams", (1,))):
        if size := dice.choice((None, *sizes)):
            sim.faults.add(faults.short_pages(size), path=path, times=None)
    if dice.random() < 0.5:
        fault = dice.choice((faults.fail_with(500), faults.reset(late=True), faults.html()))
        sim.faults.add(fault, method="DELETE", nth=dice.randint(1, 5), times=dice.randint(1, 2))
    _fail_some_lists(world)
    if dice.random() < 0.4:
        _add_changing_users(world)
    if dice.random() < 0.2:
        limited = faults.fail_with(429, "RATE_LIMITED", retry_after="1")
        sim.faults.add(limited, nth=dice.randint(3, 40))
    if dice.random() < 0.4:
        good = dice.random() < 0.3
        end = faults.effect(before=lambda _: _expire_tokens(world, for_good=good))
        sim.faults.add(end, nth=dice.randint(2, 25))


def _fail_some_lists(world: World) -> None:
    """Make the lists of a project unreadable, one list incomplete, those of teams, or all of it."""
    dice = world.dice
    unreadable = (faults.malformed(), faults.role_missing(), faults.truncated(), faults.html(200))
    teams = (*unreadable[:2], faults.fail_with(404), no_end(), no_end())
    if dice.random() < 0.3:
        project_id = dice.choice(list(world.projects))
        lists = {("invites", project_id), ("users", project_id)}
        make_unreadable(world, lists, dice.choice(unreadable))
    if dice.random() < 0.4:
        project_id = dice.choice(list(world.projects))
        _make_teams_unreadable(world, project_id, dice.choice(teams))
    if dice.random() < 0.3 and world.items:
        _fail_one_list(world)


def make_unreadable(world: World, lists: set[tuple[str, str]], fault: faults.Fault) -> None:
    """Let lists, as `(source, scope)`, be unreadable from the start."""
    world.unread |= lists
    for source, place_id in lists:
        kind = "orgs" if source.startswith("org_") else "groups"
        path = f"*/{kind}/{place_id}/{'invites' if source.endswith('invites') else 'users'}"
        world.cli.sim.faults.add(fault, method="GET", path=path, times=None)


def _make_teams_unreadable(world: World, project_id: str, fault: faults.Fault) -> None:
    world.cli.sim.faults.add(fault, path=f"*/groups/{project_id}/teams", times=None)
    world.unreadable_teams.add(project_id)


def _fail_one_list(world: World) -> None:
    """Make one list of a project or organization endless, or give its rows a wrong type."""
    source, place_id = world.dice.choice(sorted({key[:2] for key in world.items}))
    wrong_roles = faults.altered(lambda body: body.replace(b'"roles":', b'"roles":7,"were":'))
    wrong_id = faults.altered(lambda body: body.replace(b'"id":', b'"id":7,"was":'))
    of_users = (no_end(), no_end(repeats=True), wrong_id)
    fault = wrong_roles if source.endswith("invites") else world.dice.choice(of_users)
    make_unreadable(world, {(source, place_id)}, fault)


def _add_changing_users(world: World, *, accepting: float = 0.3) -> None:
    """Let users be listed twice, differ when they are read, or accept just before, a share."""
    sim = world.cli.sim
    dice = world.dice
    ids = sorted({id_ for source, _, id_ in world.items if source == "org_users"})
    world.two_statuses |= {each for each in ids if dice.random() < 0.3}
    accept_now = {each for each in ids if dice.random() < accepting}
    world.changed |= {each for each in ids if dice.random() < 0.3}

    def accept(call: Call) -> None:
        users = (each.users.get(call.item_id) for each in sim.organizations.values())
        if call.item_id in accept_now and any(user and user.status == "PENDING" for user in users):
            sim.set_status(call.item_id, "ACTIVE")

    sim.faults.add(altered_rows(partial(_list_twice, world)), path="*/users", times=None)
    for fault in (faults.effect(before=accept), faults.changed(partial(_change, world))):
        sim.faults.add(fault, method="GET", path="*/users/*", times=None)


def _list_twice(world: World, row: JsonObject) -> list[JsonObject]:
    if row.get("id") not in world.two_statuses:
        return [row]
    other = [each for each in INVITED if each != row["orgMembershipStatus"]]
    return [row, row | {"orgMembershipStatus": other[0]}]


def _change(world: World, response: SimulatedResponse) -> SimulatedResponse:
    user = json.loads(response.body) if response.status == 200 else {}
    if user.get("id") not in world.changed:
        return response
    kind = int(user["id"][-1], 16) % 4
    if kind == 3:
        return replace(response, headers=(*response.headers, ("Age", "3600")))
    key = ("inviterUsername", "invitationExpiresAt", "invitationCreatedAt")[kind]
    user[key] = BOSS if kind == 0 else FUTURE
    return replace(response, body=json.dumps(user).encode())


def _expire_tokens(world: World, *, for_good: bool) -> None:
    """End every token; for good if only service accounts can get another one."""
    sim = world.cli.sim
    accounts = (world.cli.account, *world.accounts.values())
    sim.expire_tokens()
    sim.digest.nonces.clear()
    if for_good:
        sim.expire_tokens(*(each.secret for each in accounts))
        world.ended = True


def no_end(*, repeats: bool = False) -> faults.Fault:
    """Let every page of a list name a next one: an empty one, or with `repeats` the first again."""
    endless = faults.altered(lambda body: body.replace(b'"links":', _NEXT))
    first = lambda call: call.query.update(pageNum=["1"])  # noqa: E731
    return faults.with_effect(endless, first) if repeats else endless


def focus(world: World, number: int) -> None:
    """Let one guard alone keep most of what it keeps; a number below `FOCUSES` selects it."""
    dice = world.dice
    policy = world.policy
    world.delete_most()
    policy.pop("keep", None)
    policy["rules"] = [{"name": "most", "statuses": INVITED}]
    policy["sources"] = list(SOURCES)
    match number:
        case 0:  # names that look like those of `keep` and `exclude`
            look_alike = ["*@board.example", "*@bücher.example"]
            policy["keep"] = [{"name": "look-alike", "usernames": look_alike}]
            policy["projects"] = {"exclude": ["prod-*"]}
            name = next(iter(PLAIN_PROJECT_NAMES))
            project_id = world.add_project(world.organizations[0], name, {"env": "prod"})
            world.invite(project_id, "old@example.org", 400 * DAY)
        case 1:  # `projects` of a rule
            policy["rules"][0]["projects"] = ["*0*", "sand*", "team*", "prod-w*"]
        case 2:  # a team that may have access to an excluded project
            project_id = dice.choice(world.projects_of(dice.choice(world.organizations)))
            policy["projects"] = {"exclude": [project_id]}
            _make_teams_unreadable(world, project_id, no_end())
        case 3:  # the scope
            scopes = ({"tags": {"env": "sandbox"}}, {"include": ["*0*", "sand*", "team*"]})
            policy["projects"] = dice.choice(scopes)
        case 4:  # `max_unreadable_projects`
            policy["limits"]["max_unreadable_projects"] = 0
            project_id = dice.choice(world.projects_of(world.organizations[0]))
            lists = {("invites", project_id), ("users", project_id)}
            make_unreadable(world, lists, faults.malformed())
        case 5:  # one condition of `keep`: what it keeps is in every list
            key, value = dice.choice(list(world.selections(1).items()))
            policy["keep"] = [{"name": "some", key: value}]
            policy["sources"] = [dice.choice(SOURCES)]
        case _:  # the look just before a removal
            _add_changing_users(world, accepting=1.0)

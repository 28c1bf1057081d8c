"""What happens to a random organization while a command runs, or between two nights."""

import json
from datetime import timedelta

import faults
from protected_world import World

from invite_sweeper.simulator import Call, SimulatedAtlas
from invite_sweeper.simulator.responses import SimulatedResponse

_FOREIGN_404S = (
    (b"default backend - 404", "text/plain; charset=utf-8"),
    (b'{"message":"no Route matched with those values"}', "application/json"),
    (b'{"error":404,"detail":"Not Found"}', "application/vnd.atlas.2023-01-01+json"),
    (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "application/xml"),
    (b"", None),
)
"""Bodies of a default backend, of gateways and of an object store, with their media types."""


def listed(sim: SimulatedAtlas) -> set[tuple[str, str, str]]:
    """Return what Atlas's lists of invited people contain, as `(source, scope id, id)`."""
    found = {("invites", key, id_) for key, group in sim.groups.items() for id_ in group.invites}
    for org_id, organization in sim.organizations.items():
        for user in organization.users.values():
            if user.status != "ACTIVE":
                found.add(("org_users", org_id, user.id))
                found.update(("users", project_id, user.id) for project_id in user.group_roles)
            if user.status == "PENDING":
                found.add(("org_invites", org_id, user.invitation_id))
    return found


# DELETEs that Atlas does not see ----------------------------------------------------------------


def answer_with_foreign_404s(world: World) -> None:
    """Answer DELETEs with 404s that are not Atlas's; some invitations are withdrawn just before."""
    sim, dice = world.cli.sim, world.dice
    share = dice.choice((0, 2, 5))

    def withdraw(context: Call) -> None:
        if int(context.item_id[-1], 16) < share:
            _withdraw(sim, context.scope_id, context.item_id)

    body, media = dice.choice(_FOREIGN_404S)
    foreign = SimulatedResponse(404, body, media, dated=False)
    sim.faults.add(faults.effect(before=withdraw), method="DELETE", times=None)
    sim.faults.add(
        faults.respond_with(foreign),
        method="DELETE",
        nth=dice.choice((1, 1, 3)),
        times=dice.choice((None, None, 4)),
    )


def _withdraw(sim: SimulatedAtlas, scope_id: str, id_: str) -> None:
    """Remove an invitation as a person does in the web interface."""
    if scope_id in sim.groups:
        sim.groups[scope_id].invites.pop(id_, None)
    for organization in sim.organizations.values():
        for user in list(organization.users.values()):
            if id_ in (user.id, user.invitation_id):
                del organization.users[user.id]


# A question that stays open ---------------------------------------------------------------------


def change_what_is_shown(world: World, shown: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Change about half of what a plan shows; return what must not be deleted any more."""
    sim, dice, changed = world.cli.sim, world.dice, set()
    for scope_id, id_ in sorted(shown):
        if dice.random() < 0.5:
            if scope_id in sim.groups and id_ in sim.groups[scope_id].invites:
                _change_invitation(world, scope_id, id_)
                changed.add((scope_id, id_))
            else:
                changed |= _change_user(world, id_)
    if dice.random() < 0.7:
        changed |= _lose_project(world, dice.choice(sorted(sim.groups)))
    return changed


def _change_invitation(world: World, project_id: str, id_: str) -> None:
    invites = world.cli.sim.groups[project_id].invites
    fields = world.dice.choice(
        (
            None,
            {"roles": ["GROUP_CLUSTER_MANAGER"]},
            {"inviterUsername": "boss@example.com"},
            {"expiresAt": "2126-01-01T00:00:00Z"},
            {"createdAt": "2026-01-02T03:04:05Z"},
        )
    )
    if fields is None:
        del invites[id_]
    else:
        document = json.loads(invites[id_].document) | fields
        invites[id_].document = json.dumps(document).encode()


def _change_user(world: World, id_: str) -> set[tuple[str, str]]:
    """Change a user, by its id or by that of its invitation; return what its lists show."""
    sim = world.cli.sim
    for org_id, organization in sim.organizations.items():
        for user in organization.users.values():
            if id_ in (user.id, user.invitation_id):
                kind = world.dice.choice(("accepted", "inviter", "date"))
                if kind == "accepted":
                    sim.set_status(user.id, "ACTIVE")
                elif kind == "inviter":
                    user.inviter = "boss@example.com"
                else:
                    user.created_at += timedelta(seconds=90)
                own = {(project_id, user.id) for project_id in user.group_roles}
                return own | {(org_id, user.id), (org_id, user.invitation_id)}
    return set()


def _lose_project(world: World, project_id: str) -> set[tuple[str, str]]:
    """Let a project leave the scope, or its lists be unreadable; return what is lost with it."""
    if "projects" in world.policy and world.dice.random() < 0.5:
        world.cli.sim.rename_project(project_id, "renamed-meanwhile")
        return {
            item.removed_as for item in world.items if project_id in (item.project_id, *item.linked)
        }
    hide_lists(world, {project_id})
    return {item.removed_as for item in world.items if item.project_id == project_id}


def hide_lists(world: World, project_ids: set[str]) -> None:
    """Let the lists of these projects, and no others, be refused because a role is missing."""
    world.cli.sim.faults.clear()
    for project_id in sorted(project_ids):
        for listed_as in ("invites", "users"):
            path = f"*/groups/{project_id}/{listed_as}"
            world.cli.sim.faults.add(faults.role_missing(), method="GET", path=path, times=None)

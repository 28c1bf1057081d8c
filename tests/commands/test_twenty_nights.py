"""Twenty nights with people who come and go: no refusal without a cause from outside."""

import json
import random
from datetime import datetime

import pytest
from running import cli_in
from seeds import seeds
from world import DAY, INVITED, SOURCES, World
from world_oracle import expected, left_by

from invite_sweeper.simulator.responses import format_atlas_time

NIGHTS = 20


def age(sim):
    """Move the dates of all invitations a day into the past; pending ones expire."""
    for group in sim.groups.values():
        for invite in group.invites.values():
            fields = json.loads(invite.document)
            for key in ("createdAt", "expiresAt"):
                fields[key] = format_atlas_time(datetime.fromisoformat(fields[key]) - DAY)
            invite.document = json.dumps(fields).encode()
    for organization in sim.organizations.values():
        for user in organization.users.values():
            user.created_at -= DAY
            if user.expires_at is not None:
                user.expires_at -= DAY
    sim.expire_invitations()


def come_and_go(world):
    """Advance by a day: a few accept, a few are invited."""
    sim = world.cli.sim
    dice = world.dice
    age(sim)
    pending = sorted({row.member for row in world.rows() if row.member and row.status in INVITED})
    for member in dice.sample(pending, len(pending) // 25):
        sim.set_status(member, "ACTIVE")
    invites = sorted(row.removed_as for row in world.rows() if row.source == "invites")
    for project_id, id_ in dice.sample(invites, len(invites) // 25):
        sim.accept(project_id, id_)
    for org_id in sim.organizations:
        for _ in range(dice.randint(1, 4)):
            world.add_person(org_id, age=DAY / 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_no_night_is_refused_and_each_deletes_what_is_due(tmp_path, seed):
    dice = random.Random(seed)
    with cli_in(tmp_path) as cli:
        world = World(cli, dice, oddities=False)
        world.fill(organizations=2, people=35)
        world.show_otherwise()
        world.policy = cli.keys
        cli.keys |= {
            "organizations": list(cli.sim.organizations),
            "sources": list(SOURCES),
            "keep": [{"name": "board", "usernames": ["*@board.example"]}],
            "limits": {"max_deletions": 10_000, "max_deletions_per_project": 10_000},
        }
        cli.keys["limits"]["max_share"] = 1.0  # the backlog of the first night
        deleted = 0
        for night in range(NIGHTS):
            found = expected(world, cli.sim.clock())
            must_stay = left_by(world, found)
            done = cli.sweep()
            assert done.code == 0, (night, done.err)
            assert done.summary["deleted"] == len(found.stale), night
            assert {row.key for row in world.rows()} == must_stay
            deleted += done.summary["deleted"]
            come_and_go(world)
        assert deleted > NIGHTS

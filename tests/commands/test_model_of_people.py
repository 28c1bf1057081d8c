"""What is shown as kept is there afterwards, and the numbers say so: a model of people.

Random organizations with people in any mix of the four lists; `world_oracle.expected` says what a
sweep must do. `INVITE_SWEEPER_CASES=2000` runs 2,000 cases.
"""

import os
import random

import faults
import pytest
from running import cli_in
from seeds import seeds
from world import SOURCES, World
from world_changes import make_unreadable
from world_oracle import expected, is_seen, is_stale, left_by

CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "8"))


def sent_deletes(cli):
    """Return a list that records each DELETE that arrives."""
    sent = []
    note = faults.effect(before=lambda call: sent.append((call.place_id, call.item_id)))
    cli.sim.faults.add(note, method="DELETE", times=None)
    return sent


def numbers(result):
    return tuple(result[key] for key in ("stale", "kept", "deleted", "invitations_seen"))


def write_policy(world):
    """Write a policy without limits and with one credential; most policies delete much."""
    keys = world.cli.keys
    world.write_policy()
    if world.dice.random() < 0.7:
        world.delete_most()
        world.policy["sources"] = list(SOURCES)
    world.policy["organizations"] = world.organizations
    world.policy["limits"] = keys["limits"]


def hide_one_list(world):
    """Let one list of the policy be refused, or not end in JSON."""
    if rows := [row for row in world.rows() if is_seen(world, row)]:
        hidden = {world.dice.choice(rows).key[:2]}
        fault = world.dice.choice((faults.role_missing(), faults.malformed()))
        make_unreadable(world, hidden, fault)


def check_left(world, found, must_stay, out_of_model):
    """Check what a sweep left; of who was invited twice nothing of the organization goes alone."""
    left = {row.key for row in world.rows()}
    now = world.cli.sim.clock()
    assert left - out_of_model == must_stay - out_of_model
    for rows in found.vague:
        if not all(is_stale(world, row, now) for row in rows):
            assert {row.key for row in rows if row.source.startswith("org_")} <= left


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(CASES))
def test_sweep_does_what_the_model_of_people_expects(tmp_path, seed):
    dice = random.Random(seed)
    with cli_in(tmp_path) as cli:
        world = World(cli, dice)
        world.fill(organizations=dice.choice((1, 1, 2)), people=dice.choice((3, 6, 12)))
        world.show_otherwise()
        write_policy(world)
        if dice.random() < 0.4:
            hide_one_list(world)
        found = expected(world, cli.sim.clock())
        before = {row.key for row in world.rows()}
        must_stay = left_by(world, found)
        stale, kept = len(found.stale), len(found.kept)
        vague = {row.member for rows in found.vague for row in rows}
        out_of_model = {row.key for row in world.rows() if row.member in vague}
        code = 4 if world.unread else 0
        sent = sent_deletes(cli)

        plan = cli.plan("--out", "plan")
        assert plan.code == code, plan.err
        if not vague:
            assert numbers(plan.summary) == (stale, kept, 0, stale + kept)
            assert len(cli.lines("planned")) == stale
        assert not sent
        assert {row.key for row in world.rows()} == before

        done = cli.sweep(*dice.choice(((), (), ("--plan", "plan"))))
        assert done.code == code, done.err
        check_left(world, found, must_stay, out_of_model)
        if not vague:
            assert sorted(sent) == sorted(rows[0].removed_as for rows in found.stale)
            assert numbers(done.summary) == (stale, kept, stale, stale + kept)

        # Where `keep` matched what is gone with a project, the next sweep may delete the rest.
        again = expected(world, cli.sim.clock())
        must_stay = left_by(world, again)
        second = cli.sweep()
        assert second.code == code, second.err
        if not again.vague:
            assert second.summary["stale"] == second.summary["deleted"] == len(again.stale)
        check_left(world, again, must_stay, out_of_model)

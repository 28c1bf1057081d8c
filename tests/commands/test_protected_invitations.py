"""The whole program against random organizations, policies, faults and kills.

Each case builds a simulated Atlas, runs commands as processes, and computes independently which
invitations had to stay. No code of the selection is used for that. The processes are forked from
one that has imported the program, because its imports take longer than most cases.

The seed of a case selects its commands (`SCRIPTS`). Without faults, a sweep does exactly what
`world_oracle.expected` says. `INVITE_SWEEPER_CASES=2000` runs 2,000 cases of each; half of the
seeds come from the date, see `seeds`.
"""

import os
import random
from collections import Counter
from datetime import datetime

import faults
import pytest
from builders import seeds
from commands.world import SOURCES, World
from commands.world_changes import FOCUSES, add_faults, focus, make_unreadable
from commands.world_oracle import expected, in_scope, is_seen, left_by, may_end
from running import cli_in, end, wait_until

from invite_sweeper.audit import AuditDirectory, Verdict, verify_directory
from invite_sweeper.simulator import Call

CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "15"))
MODELS = int(os.environ.get("INVITE_SWEEPER_CASES", "8"))


# What a case recorded -----------------------------------------------------------------------------


def removed(world: World) -> set[tuple[str, str]]:
    """Return what the simulated Atlas removed, as `(scope id, id)`; the scope of an id is known."""
    scopes = {id_: scope for _, scope, id_ in world.items}
    sim = world.cli.sim
    users = {(each.place_id, each.user_id) for each in sim.removed}
    ids = {id_ for _, id_ in users}
    return users | {(scopes[each], each) for each in sim.deleted if each not in ids}


def planned(world: World) -> set[tuple[str, str]]:
    lines = world.cli.lines("planned")
    return {(line["project_id"] or line["org_id"], line["invitation_id"]) for line in lines}


def listed_count(world: World) -> int:
    orgs = world.organizations
    sources = world.policy["sources"]
    return sum(row.org_id in orgs and row.source in sources for row in world.items.values())


# Commands --------------------------------------------------------------------------------------


def run(world: World, *arguments: str) -> int:
    sent_before = world.cli.deletes()
    done = world.cli.run(*arguments, "--output", "json")
    codes = {0, 3, 4, 5, 6} if world.ended else {0, 3, 4, 6}
    assert done.code in codes, done.err
    summary = done.summary
    assert summary["exit_code"] == done.code
    refused = done.code == 3 or "run_id" not in summary
    if refused or arguments[0] == "plan" or has_too_many_unreadable(world):
        assert world.cli.deletes() == sent_before
    if "run_id" in summary:
        check_claims(world, summary)
    return done.code


def has_too_many_unreadable(world: World) -> bool:
    unreadable = any(
        in_scope(world, key) and {("invites", key), ("users", key)} <= world.unread
        for key in world.projects
    )
    read = not {"invites", "users"}.isdisjoint(world.policy["sources"])
    return unreadable and read and world.policy["limits"]["max_unreadable_projects"] == 0


# The commands of one case ----------------------------------------------------------------------


def sweeps(world: World) -> None:
    add_faults(world)
    for _ in range(world.dice.choice((1, 1, 1, 2))):
        run(world, "sweep")


def focused(world: World) -> None:
    """A sweep of an organization in which one guard alone keeps most."""
    focus(world, world.seed % FOCUSES)
    run(world, "sweep")


def killed(world: World) -> None:
    """A sweep that is killed at a DELETE, and its successor, which recovers the deletion."""
    dice = world.dice
    processes = []
    world.delete_most()
    add_faults(world)

    def kill(_: Call) -> None:
        wait_until(lambda: processes)
        processes[0].kill()

    fault = dice.choice((faults.effect(kill), faults.after(kill)))
    world.cli.sim.faults.add(fault, method="DELETE", nth=dice.choice((1, 1, 2, 4)))
    processes.append(world.cli.fork("sweep"))
    end(processes[0])
    run(world, "sweep")


def saved_plan(world: World) -> None:
    """A saved plan limits a sweep over organizations, of one of which the credentials are gone.

    It is refused where a line of it was changed or is gone, and once it was used.
    """
    world.delete_most()
    world.use_all_organizations()
    assert run(world, "plan", "--out", "plan.jsonl") in {0, 4}
    listed = planned(world)
    assert len(listed) <= world.policy["limits"]["max_deletions"]
    world.invite_to_one(3)
    lines = (world.cli.folder / "plan.jsonl").read_bytes().splitlines(keepends=True)
    number = world.dice.randrange(1, len(lines) - 1)
    lines[number] = world.dice.choice((b"", lines[number].replace(b"a", b"e", 1)))
    (world.cli.folder / "damaged.jsonl").write_bytes(b"".join(lines))
    assert run(world, "sweep", "--plan", "damaged.jsonl") == 3
    gone = world.end_one_credential()
    if run(world, "sweep", "--plan", "plan.jsonl") in {0, 4}:
        assert run(world, "sweep", "--plan", "plan.jsonl") == 3  # it is used
    assert removed(world) <= listed
    assert not any(world.org_of(scope) == gone for scope, _ in removed(world))


SCRIPTS = (sweeps, focused, focused, saved_plan, killed)


# Checks ----------------------------------------------------------------------------------------


def check_claims(world: World, summary: dict[str, object]) -> None:
    """Compare the summary with the log of the same command and with what Atlas removed."""
    run_id = summary["run_id"]
    lines = world.cli.lines("outcome")
    own = [line for line in lines if line["run_id"] == run_id and "recovers" not in line]
    deleted = [line["invitation_id"] for line in own if line["outcome"] == "deleted"]
    assert len(deleted) == summary["deleted"]
    assert set(deleted) <= set(world.cli.sim.deleted)
    parts = summary["organizations"]
    assert sorted(each["id"] for each in parts) == sorted(world.organizations)
    for key in ("deleted", "already_gone", "failed", "skipped", "stale", "kept"):
        assert sum(each[key] for each in parts) == summary[key], key
    for part in parts:
        of_part = [line for line in own if line["org_id"] == part["id"]]
        assert sum(line["outcome"] == "deleted" for line in of_part) == part["deleted"]
    assert summary["stale"] + summary["kept"] == summary["invitations_seen"]
    assert summary["invitations_seen"] <= listed_count(world)


def check_limits(world: World) -> None:
    sent = world.cli.sent()
    limits = world.policy["limits"]
    assert len(sent) <= limits["max_deletions"]
    for count in Counter(line["run_id"] for line in world.cli.lines("intent")).values():
        assert count <= max(10, limits["max_share"] * listed_count(world))
    for project_id in world.projects:
        count = sum(line["project_id"] == project_id for line in sent)
        assert count <= limits["max_deletions_per_project"]


def check_end(world: World) -> None:
    gone = removed(world)
    reached = gone | planned(world)
    rows = list(world.items.values())
    starts = [datetime.fromisoformat(each["now"]) for each in world.cli.lines("run_started")]
    for row in rows:
        if row.removed_as in reached:
            assert any(may_end(world, row, rows, now) for now in starts), (row, world.policy)
    intended = {line["invitation_id"] for line in world.cli.lines("intent")}
    assert {each[1] for each in gone} <= intended
    check_limits(world)
    users = world.cli.sim.removed
    assert not [each for each in users if each.status == "ACTIVE" or each.user_id in world.changed]
    found = verify_directory(AuditDirectory(world.cli.audit_dir))
    # Without credentials, no run can resolve what a killed one left open.
    possible = {Verdict.SOUND, Verdict.UNFINISHED} if world.ended else {Verdict.SOUND}
    assert found.verdict in possible, found


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(CASES))
def test_no_run_deletes_what_had_to_stay(tmp_path, seed):
    dice = random.Random(seed)
    kind = dice.choice(("token", "service-account", "api-key"))
    with cli_in(tmp_path, kind=kind) as cli:
        world = World(cli, dice, seed)
        script = SCRIPTS[seed % len(SCRIPTS)]
        least = 2 if script is saved_plan else 1
        world.fill(organizations=dice.randint(least, 3), people=dice.randint(3, 12))
        world.write_policy()
        script(world)
        check_end(world)


# Exactly what the model says, and the numbers of it -----------------------------------------------


def sent_deletes(cli):
    sent = []
    note = faults.effect(before=lambda call: sent.append((call.place_id, call.item_id)))
    cli.sim.faults.add(note, method="DELETE", times=None)
    return sent


def numbers(result):
    return tuple(result[key] for key in ("stale", "kept", "deleted", "invitations_seen"))


def write_policy_without_limits(world):
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(MODELS))
def test_sweep_does_what_the_model_of_people_expects(tmp_path, seed):
    dice = random.Random(seed)
    with cli_in(tmp_path) as cli:
        world = World(cli, dice)
        world.fill(organizations=dice.choice((1, 1, 2)), people=dice.choice((3, 6, 12)))
        world.show_otherwise()
        write_policy_without_limits(world)
        if dice.random() < 0.4:
            hide_one_list(world)
        found, left = expected(world, cli.sim.clock())
        before = {row.key for row in world.rows()}
        must_stay = left_by(world, found)
        stale, kept = len(found), len(left)
        code = 4 if world.unread else 0
        sent = sent_deletes(cli)

        plan = cli.plan("--out", "plan")
        assert plan.code == code, plan.err
        assert numbers(plan.summary) == (stale, kept, 0, stale + kept)
        assert len(cli.lines("planned")) == stale
        assert not sent
        assert {row.key for row in world.rows()} == before

        done = cli.sweep(*dice.choice(((), (), ("--plan", "plan"))))
        assert done.code == code, done.err
        assert {row.key for row in world.rows()} == must_stay
        assert sorted(sent) == sorted(rows[0].removed_as for rows in found)
        assert numbers(done.summary) == (stale, kept, stale, stale + kept)

        # Where `keep` matched what is gone with a project, the next sweep may delete the rest.
        again, _ = expected(world, cli.sim.clock())
        must_stay = left_by(world, again)
        second = cli.sweep()
        assert second.code == code, second.err
        assert second.summary["stale"] == second.summary["deleted"] == len(again)
        assert {row.key for row in world.rows()} == must_stay

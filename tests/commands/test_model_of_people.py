"""What is shown as kept is there afterwards, and all numbers are the same: a model of people.

Random organizations with people in any mix of the four lists; `world_oracle.expected` says what a
sweep must do. `INVITE_SWEEPER_CASES=2000` runs 2,000 cases.
"""

import json
import os
import random
import re

import faults
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import cli_in
from seeds import seeds
from world import SOURCES, World
from world_changes import make_unreadable
from world_oracle import expected, is_seen, is_stale, left_by

CASES = int(os.environ.get("INVITE_SWEEPER_CASES", "20"))


def metrics(path):
    """Return the samples of a metrics file by name, those with labels added up."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        for sample in family.samples:
            labels = tuple(v for k, v in sample.labels.items() if k != "instance")
            found.setdefault(sample.name, {})[labels] = sample.value
    return {name: values.get((), sum(values.values())) for name, values in found.items()} | {
        "deleted": found["invite_sweeper_outcomes"][("deleted",)]
    }


def number_after(label, text):
    """Return the number of a line that begins with the label; 0 for "none" or without a line."""
    found = re.search(rf"^{label}\s+([\d,]+)", text, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


def sent_deletes(cli):
    """Return a list that records each DELETE that arrives."""
    sent = []
    cli.sim.faults.add(
        faults.effect(before=lambda request: sent.append((request.place_id, request.item_id))),
        method="DELETE",
        times=None,
    )
    return sent


def check_plan(done, cli, stale, kept):
    """Check the terminal and the log of a dry run."""
    (end,) = cli.lines("run_finished")
    planned = cli.lines("planned")
    assert (end["stale"], end["kept"], len(planned)) == (stale, kept, stale)
    assert number_after("Seen", done.out) == stale + kept
    assert number_after("Stale", done.out) == stale
    assert number_after("Kept", done.out) == kept


def check_numbers(summary, cli, message, stale, kept):
    """Check each place where a sweep has how many there were."""
    numbers = (stale, kept, stale, stale + kept)
    run_id = summary["run_id"]
    (end,) = [x for x in cli.lines("run_finished") if x["run_id"] == run_id]
    for place in (summary, message, end):
        told = (place[key] for key in ("stale", "kept", "deleted", "invitations_seen"))
        assert tuple(told) == numbers
        assert sum(place["kept_by_reason"].values()) == kept
    for key in ("stale", "kept", "deleted", "invitations_seen"):
        assert sum(each[key] for each in summary["organizations"]) == summary[key]
    assert (summary["already_gone"], summary["failed"]) == (0, 0)
    assert [each["outcome"] for each in summary["invitations"]] == ["deleted"] * stale
    told = metrics(cli.folder / "run.prom")
    prefix = "invite_sweeper_"
    names = [f"{prefix}stale", f"{prefix}kept", "deleted", f"{prefix}invitations_seen"]
    assert tuple(told.get(name, 0) for name in names) == numbers
    assert told[f"{prefix}organization_kept"] == kept
    lines = dict.fromkeys(("planned", "intent", "outcome"), stale)
    lines["kept"] = kept if cli.keys["audit"]["record"] == "all" else 0
    for event, count in lines.items():
        assert sum(line["run_id"] == run_id for line in cli.lines(event)) == count, event


def write_policy(world):
    """Write a policy without limits and with one credential; most policies delete much."""
    keys = world.cli.keys
    world.write_policy()
    if world.dice.random() < 0.7:
        world.delete_most()
        world.policy["sources"] = list(SOURCES)
    world.policy["organizations"] = world.organizations
    world.policy["limits"] = keys["limits"]
    world.policy["audit"] = {"record": world.dice.choice(("planned", "all"))}
    world.policy["notify"] = [{"kind": "webhook", "url_env": "HOOK", "secret_env": "KEY"}]


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
def test_sweep_does_what_the_model_of_people_expects(tmp_path, receiver, seed):
    dice = random.Random(seed)
    with cli_in(tmp_path) as cli:
        cli.short_waits = True
        world = World(cli, dice)
        world.fill(organizations=dice.choice((1, 1, 2)), people=dice.choice((3, 6, 12)))
        world.show_otherwise()
        write_policy(world)
        if dice.random() < 0.4:
            hide_one_list(world)
        found = expected(world, cli.sim.clock())
        before = {row.key for row in world.rows()}
        must_stay = left_by(world, found)
        stale = len(found.stale)
        vague = {row.member for rows in found.vague for row in rows}
        out_of_model = {row.key for row in world.rows() if row.member in vague}
        code = 4 if world.unread else 0
        sent = sent_deletes(cli)

        plan = cli.run("plan", "--policy", "policy.yaml", "--out", "plan", COLUMNS="200")
        assert plan.code == code, plan.err
        if not vague:
            check_plan(plan, cli, stale, len(found.kept))
        assert not sent
        assert {row.key for row in world.rows()} == before

        environment = {"HOOK": receiver.url, "KEY": "very-secret"}
        receiver.requests.clear()
        bound = dice.choice(((), (), ("--plan", "plan")))
        done = cli.sweep("--metrics-file", "run.prom", *bound, **environment)
        assert done.code == code, done.err
        check_left(world, found, must_stay, out_of_model)
        if not vague:
            named = sorted(rows[0].removed_as for rows in found.stale)
            assert sorted(sent) == named
            *_, body = receiver.requests[-1]
            check_numbers(done.summary, cli, json.loads(body), stale, len(found.kept))

        # Where `keep` matched what is gone with a project, the next sweep may delete the rest.
        again = expected(world, cli.sim.clock())
        must_stay = left_by(world, again)
        second = cli.sweep(**environment)
        assert second.code == code, second.err
        if not again.vague:
            assert second.summary["stale"] == second.summary["deleted"] == len(again.stale)
        check_left(world, again, must_stay, out_of_model)

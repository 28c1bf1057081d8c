"""What is shown as kept is there afterwards, and all numbers are the same: a model of people.

Random organizations with people in any mix of the four lists; `people.Estate` says what a sweep
must do. `INVITE_SWEEPER_CASES=2000` runs 2,000 cases.
"""

import json
import os
import random
import re

import faults
import pytest
from people import Estate
from prometheus_client.parser import text_string_to_metric_families
from running import cli_in
from seeds import seeds

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
        faults.effect(before=lambda request: sent.append((request.scope_id, request.item_id))),
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
    """Check each place where a sweep says how many there were."""
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(CASES))
def test_sweep_does_what_the_model_of_people_says(tmp_path, receiver, seed):
    dice = random.Random(seed)
    with cli_in(tmp_path) as cli:
        cli.short_waits = True
        estate = Estate(cli, dice)
        estate.fill(people=dice.choice((3, 6, 12)), organizations=dice.choice((1, 1, 2)))
        cli.account.org_ids = tuple(cli.sim.organizations)
        estate.write_policy()
        cli.keys["notify"] = [{"kind": "webhook", "url_env": "HOOK", "secret_env": "KEY"}]
        if dice.random() < 0.3:
            estate.hide_one_list()
        expected, before = estate.expected(), {row.key for row in estate.rows()}
        must_stay, stale = estate.left_by(expected), len(expected.stale)
        vague = {row.key for rows in expected.vague for row in rows}
        vague_members = {row.member for rows in expected.vague for row in rows}
        out_of_model = {row.key for row in estate.rows() if row.member in vague_members - {""}}
        code, sent = 4 if estate.unread else 0, sent_deletes(cli)

        plan = cli.run("plan", "--policy", "policy.yaml", "--out", "plan", COLUMNS="200")
        assert plan.code == code, plan.err
        if not vague:
            check_plan(plan, cli, stale, len(expected.kept))
        assert not sent
        assert {row.key for row in estate.rows()} == before

        environment = {"HOOK": receiver.url, "KEY": "very-secret"}
        receiver.requests.clear()
        bound = dice.choice(((), (), ("--plan", "plan")))
        done = cli.sweep("--metrics-file", "run.prom", *bound, **environment)
        assert done.code == code, done.err
        left = {row.key for row in estate.rows()}
        assert left - out_of_model == must_stay - out_of_model
        for rows in expected.vague:
            check_twice_invited(estate, rows, left)
        if not vague:
            named = sorted((rows[0].scope, rows[0].id) for rows in expected.stale)
            assert sorted(sent) == named
            *_, body = receiver.requests[-1]
            check_numbers(done.summary, cli, json.loads(body), stale, len(expected.kept))

        count = len(sent)
        second = cli.sweep(**environment)
        assert second.code == code, second.err
        assert len(sent) == count
        assert second.summary["stale"] == second.summary["deleted"] == 0
        assert {row.key for row in estate.rows()} == left


def check_twice_invited(estate, rows, left):
    """Check that of a person who was invited twice nothing of the organization goes alone."""
    of_organization = {row.key for row in rows if row.source.startswith("org_")}
    if not all(map(estate.is_stale, rows)):
        assert of_organization <= left

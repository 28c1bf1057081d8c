"""One plan, one signature and one sweep over three organizations with a credential each."""

import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from running import cli_in

DAYS = timedelta(days=1)
ORGANIZATIONS = {"NORTH": "1" * 24, "EAST": "2" * 24, "SOUTH": "3" * 24}
PLAN = ("--policy", "policy.yaml", "--out", "plan.jsonl")


@pytest.fixture
def cli(tmp_path):
    """Three organizations with two projects each and a stale invitation in each project."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    (tmp_path / "boss.pem").write_bytes(private)
    public = key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
    (tmp_path / "boss.pub").write_bytes(public)
    with cli_in(tmp_path) as found:
        found.ids, found.changes = {}, dict.fromkeys(found.account.environment(), None)
        found.keys["organizations"] = []
        for name, org_id in ORGANIZATIONS.items():
            found.sim.add_organization(org_id, f"Example {name.title()}")
            found.ids[name] = set()
            for number in range(2):
                project = found.sim.add_project(f"{name} {number}", org_id)
                found.projects.append(project)
                invited = found.sim.invite(project, f"{name}{number}@example.com", age=20 * DAYS)
                found.ids[name].add(invited)
            account = found.sim.add_service_account(org_id)
            variables = account.environment().items()
            found.changes |= {f"{key}_{name}": value for key, value in variables}
            found.keys["organizations"].append({"id": org_id, "credentials": name})
        yield found


def save(cli):
    done = cli.run("plan", *PLAN, **cli.changes)
    assert done.code == 0, done.err
    return cli.folder / "plan.jsonl"


def approve(cli):
    done = cli.run("plan", "approve", "plan.jsonl", "--key", "boss.pem", "--yes")
    assert done.code == 0, done.err
    return done


def apply(cli, **changes):
    approval = ("--require-approval", "boss.pub")
    return cli.sweep("--plan", "plan.jsonl", *approval, **cli.changes | changes)


def test_one_approved_plan_is_applied_in_all_organizations_and_used_once(cli):
    save(cli)
    late = cli.sim.invite(cli.projects[0], "late@example.com", age=20 * DAYS)
    shown = approve(cli).out
    for name, org_id in ORGANIZATIONS.items():
        assert f"Example {name.title()} ({org_id})" in shown
        assert re.search(
            rf"^Example {name.title()} \({org_id}\)  2\n"
            rf"  {name} \d  1\n.*{name}\d@example\.com.*\n\n  {name} \d  1\n",
            shown,
            re.MULTILINE,
        )
    done = apply(cli)
    assert done.code == 0, done.err
    assert set(cli.sim.deleted) == set.union(*cli.ids.values())
    assert cli.sim.invitations(cli.projects[0]) == (late,)
    digests = {line["plan_sha256"] for line in cli.lines("run_started")[-3:]}
    assert len(digests) == 1
    deleted = cli.deletes()
    assert (apply(cli).code, cli.deletes()) == (3, deleted)


@pytest.mark.parametrize("how", ["edited", "cut"])
def test_plan_that_was_edited_or_cut_deletes_nothing_in_any_organization(cli, how):
    path = save(cli)
    approve(cli)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines = [line.replace(b"NORTH0@example.com", b"south0@example.com") for line in lines]
    else:
        del lines[1]
    path.write_bytes(b"".join(lines))
    assert (apply(cli).code, cli.deletes()) == (3, 0)


def test_organization_whose_credential_fails_after_the_plan_is_left_out_and_said(cli):
    save(cli)
    approve(cli)
    done = apply(cli, MONGODB_ATLAS_CLIENT_SECRET_EAST="wrong")
    assert done.code == 4
    assert set(cli.sim.deleted) == cli.ids["NORTH"] | cli.ids["SOUTH"]
    by_name = {each["name"]: each for each in done.summary["organizations"]}
    assert by_name["Example East"]["exit_code"] == 5
    (error,) = done.errors
    assert f"Example East ({ORGANIZATIONS['EAST']})" in error
    assert "MONGODB_ATLAS_CLIENT_SECRET_EAST" in done.err


def test_organization_that_is_renamed_after_the_plan_is_applied_with_its_new_name(cli):
    save(cli)
    approve(cli)
    cli.sim.add_organization(ORGANIZATIONS["EAST"], "Renamed")
    done = apply(cli)
    assert (done.code, set(cli.sim.deleted)) == (0, set.union(*cli.ids.values()))
    names = {each["id"]: each["name"] for each in done.summary["organizations"]}
    assert names[ORGANIZATIONS["EAST"]] == "Renamed"


@pytest.mark.parametrize(("limit", "code"), [(5, 3), (6, 0)])
def test_limit_that_only_all_organizations_together_reach_refuses_the_plan(cli, limit, code):
    cli.keys["limits"]["max_deletions"] = limit
    done = cli.run("plan", "--policy", "policy.yaml", *PLAN[2:], "--output", "json", **cli.changes)
    saved = (cli.folder / "plan.jsonl").exists()
    error = done.summary["error"]
    assert (saved, error is None) == (code == 0, code == 0)
    if error is not None:
        assert re.match("In 3 organizations together: .*max_deletions", error["message"])
        assert (cli.sweep(**cli.changes).code, cli.deletes()) == (3, 0)

"""`plan --out` and `sweep --plan` delete at most what was reviewed, once."""

import hashlib
import json
import os
import re
import shlex
from datetime import datetime, timedelta

import faults
import msgspec
import pytest

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)


def stock(cli, count=3):
    project = cli.sim.add_project("Project")
    ids = [
        cli.sim.invite(project, f"p{n}@example.com", age=20 * DAYS + n * timedelta(hours=1))
        for n in range(count)
    ]
    return project, ids


def saved(cli):
    done = cli.plan("--out", "plan.jsonl")
    assert done.code == 0, done.err
    return cli.folder / "plan.jsonl"


def by_plan(cli, *arguments, **changes):
    return cli.sweep("--plan", "plan.jsonl", *arguments, **changes)


def test_plan_is_private_and_sweep_by_it_deletes_just_what_it_lists(cli):
    project, ids = stock(cli)
    path = saved(cli)
    assert path.stat().st_mode & 0o777 == 0o600
    late = cli.sim.invite(project, "late@example.com", age=20 * DAYS)
    done = by_plan(cli)
    assert done.code == 0
    assert sorted(cli.sim.deleted) == sorted(ids)
    assert cli.sim.invitations(project) == (late,)
    assert done.summary["kept_by_reason"] == {"not_in_plan": 1}
    assert cli.lines("run_started")[-1]["plan_sha256"]


def test_planned_invitations_gone_or_accepted_since_are_skipped_and_reported(cli):
    project, ids = stock(cli)
    saved(cli)
    cli.sim.accept(project, ids[0])
    done = by_plan(cli)
    assert (done.code, sorted(cli.sim.deleted)) == (0, sorted(ids[1:]))
    assert said_unseen(1) in done.warnings


def said_unseen(count):
    were = "was" if count == 1 else "were"
    return (
        f"{count} of the plan's invitations {were} not seen: gone, or in a list that was not read."
    )


def test_plan_of_another_policy_is_refused_if_the_policy_is_found_at_the_default_path(cli):
    stock(cli)
    saved(cli)
    cli.keys["keep"] = [{"name": "board", "usernames": ["p1@*"]}]
    (cli.folder / "config").mkdir()
    cli.write_policy()
    (cli.folder / "config" / "policy.yaml").write_bytes((cli.folder / "policy.yaml").read_bytes())
    done = cli.run("sweep", "--plan", "plan.jsonl", "--output", "json")
    assert (done.code, cli.deletes()) == (3, 0)
    assert "another policy" in done.err


def test_plan_that_was_applied_is_refused(cli):
    stock(cli)
    saved(cli)
    assert by_plan(cli).code == 0
    before = cli.deletes()
    again = by_plan(cli)
    assert (again.code, cli.deletes()) == (3, before)
    assert "already been applied" in again.err


def test_dry_run_of_a_plan_does_not_use_it_up(cli):
    _, ids = stock(cli)
    saved(cli)
    assert by_plan(cli, "--dry-run").code == 0
    assert cli.deletes() == 0
    assert by_plan(cli).code == 0
    assert sorted(cli.sim.deleted) == sorted(ids)


def test_dry_run_of_a_plan_deletes_nothing_even_with_yes(cli):
    stock(cli)
    saved(cli)
    late = cli.sim.add_project("Late")
    cli.sim.invite(late, "late@example.com", age=20 * DAYS)
    done = by_plan(cli, "--dry-run", "--yes", "--detailed-exitcode")
    assert (done.code, cli.deletes()) == (10, 0), done.err
    assert (done.summary["mode"], done.summary["stale"]) == ("dry-run", 3)
    assert done.summary["kept_by_reason"] == {"not_in_plan": 1}


def test_plan_of_another_organization_is_refused(cli):
    stock(cli)
    saved(cli)
    cli.keys["organizations"].append("0123456789abcdef01234567")
    done = cli.run("sweep", "--policy", "policy.yaml", "--plan", "plan.jsonl")
    assert (done.code, cli.deletes()) == (3, 0)
    assert "other organizations" in done.err


def test_plan_of_another_host_is_refused(cli):
    stock(cli)
    saved(cli)
    done = by_plan(cli, "--base-url", cli.base_url.replace("127.0.0.1", "localhost"))
    assert (done.code, cli.deletes()) == (3, 0)
    assert "localhost" in done.err


def aged(data, *, hours):
    """Return the same plan as if it had been made that long ago."""
    *body, _ = data.splitlines(keepends=True)
    header = msgspec.json.decode(body[0])
    header["now"] = (datetime.fromisoformat(header["now"]) - timedelta(hours=hours)).isoformat()
    body[0] = msgspec.json.encode(header) + b"\n"
    return b"".join(
        [*body, msgspec.json.encode({"sha256": hashlib.sha256(b"".join(body)).hexdigest()}), b"\n"]
    )


def test_plan_over_24_hours_old_is_refused_by_default(cli):
    stock(cli)
    path = saved(cli)
    path.write_bytes(aged(path.read_bytes(), hours=24.1))
    done = by_plan(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "ago" in done.err
    assert by_plan(cli, "--plan-max-age", "2d").code == 0


def test_refused_run_saves_no_plan(cli):
    stock(cli)
    cli.keys["limits"]["max_deletions"] = 2
    assert cli.plan("--out", "plan.jsonl").code == 3
    assert not (cli.folder / "plan.jsonl").exists()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/plan.jsonl", ("plan",)),
        ("missing/plan.jsonl", ("sweep", "--dry-run")),
        ("missing/plan.jsonl", ("sweep", "--yes")),
        ("policy.yaml/plan.jsonl", ("plan",)),
        ("folder", ("plan",)),
        (".", ("plan",)),
        ("n" * 256, ("plan",)),
    ],
    ids=["plan", "dry run", "sweep", "in a file", "a folder", "this folder", "too long a name"],
)
def test_unwritable_plan_path_ends_with_2_before_atlas_is_called(cli, place, words):
    stock(cli)
    (cli.folder / "folder").mkdir()
    done = cli.run(*words, "--policy", "policy.yaml", "--output", "json", "--out", place)
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    is_directory = place in {"folder", "."}
    reason = "is a directory" if is_directory else "cannot be written"
    assert f"{place} {reason}" in done.err
    assert "Atlas was not called." in done.err
    # A directory is refused before the folder of the audit log is created.
    left = {"folder", "policy.yaml"} if is_directory else {"audit", "folder", "policy.yaml"}
    assert {path.name for path in cli.folder.iterdir()} == left


@pytest.mark.parametrize("words", [("plan",), ("sweep", "--yes")], ids=str)
def test_plan_that_cannot_be_saved_after_listing_ends_with_3(cli, words):
    project, _ = stock(cli)
    taken = cli.folder / "plan.jsonl"
    cli.sim.faults.add(
        faults.effect(before=lambda _: taken.mkdir(exist_ok=True)), path=f"*{project}/invites"
    )
    done = cli.run(*words, "--policy", "policy.yaml", "--output", "json", "--out", "plan.jsonl")
    assert (done.code, done.summary["exit_code"], cli.deletes()) == (3, 3, 0)
    assert "The plan plan.jsonl was not saved" in done.err
    assert "Nothing was deleted." in done.err
    assert "Atlas was not called" not in done.err
    assert not list(cli.folder.glob(".plan*"))


def test_plan_max_age_without_a_plan_is_wrong_usage_even_with_the_default(cli):
    stock(cli)
    done = cli.sweep("--plan-max-age", "24h")
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert "--plan-max-age needs a plan." in done.err


# --- what is said at the end -----------------------------------------------------------------


def test_plan_out_says_where_the_plan_is_and_its_commands_work(cli):
    _, ids = stock(cli)
    done = cli.run("plan", "--policy", "policy.yaml", "--out", "my plan.jsonl")
    saved_to, show, apply = done.out.splitlines()[-3:]
    assert saved_to == "Plan saved to my plan.jsonl."
    _, *words = shlex.split(show.partition(": ")[2])
    assert words == ["plan", "show", "my plan.jsonl"]
    assert cli.run(*words).code == 0
    _, *words = shlex.split(apply.partition(": ")[2])
    assert cli.run(*words).code == 0
    assert sorted(cli.sim.deleted) == sorted(ids)


def test_sweep_with_out_does_not_offer_to_delete_again(cli):
    stock(cli)
    done = cli.run("sweep", "--policy", "policy.yaml", "--out", "plan.jsonl")
    assert "Plan saved to plan.jsonl." in done.out
    assert "--plan" not in done.out


def test_json_of_plan_out_is_one_object_and_the_log_says_where_the_plan_is(cli):
    stock(cli)
    done = cli.plan("--out", "plan.jsonl")
    assert done.summary["exit_code"] == 0
    assert '"file": "plan.jsonl"' in done.err


def test_quiet_plan_out_and_refused_plan_say_nothing_about_the_plan(cli):
    stock(cli)
    assert cli.run("plan", "--policy", "policy.yaml", "--out", "p.jsonl", "-q").out == ""
    cli.keys["limits"]["max_deletions"] = 2
    done = cli.run("plan", "--policy", "policy.yaml", "--out", "q.jsonl")
    assert (done.code, "Plan saved" in done.out) == (3, False)


def test_plan_whose_file_has_another_sha256_is_refused_and_the_one_that_was_read_is_applied(cli):
    stock(cli)
    saved(cli)
    sha256 = hashlib.sha256((cli.folder / "plan.jsonl").read_bytes()).hexdigest()
    done = cli.sweep("--plan", "plan.jsonl", "--plan-sha256", "0" * 64)
    assert (done.code, cli.deletes(), done.summary["reasons"]) == (3, 0, ["plan"])
    assert f"The plan has the SHA-256 {sha256}, not {'0' * 64}." in done.err
    done = cli.sweep("--plan", "plan.jsonl", "--plan-sha256", sha256.upper())
    assert (done.code, cli.deletes()) == (0, 3)
    assert cli.lines("run_started")[-1]["plan_sha256"] == sha256


# --- plan show -------------------------------------------------------------------------------


def show(cli, *arguments, code=0, **changes):
    done = cli.run("plan", "show", "plan.jsonl", "--output", "json", *arguments, **changes)
    assert done.code == code, done.err
    return json.loads(done.out)


def test_plan_show_says_what_would_be_deleted_where_and_by_which_policy_and_calls_no_one(cli):
    project, ids = stock(cli)
    saved(cli)
    before = len(cli.sim.requests)
    shown = show(cli, MONGODB_ATLAS_ACCESS_TOKEN=None)
    assert len(cli.sim.requests) == before
    assert {each["invitation_id"] for each in shown["invitations"]} == set(ids)
    assert (shown["planned"], shown["rules"]) == (3, {"forgotten": 3})
    assert [(each["project_id"], each["planned"]) for each in shown["projects"]] == [(project, 3)]
    assert shown["organizations"] == [{"id": ORG_ID, "name": "Example Industries"}]
    assert shown["base_url"] == cli.base_url
    policy = cli.folder / "policy.yaml"
    assert shown["policy_path"] == str(policy)
    assert shown["policy_sha256"] == hashlib.sha256(policy.read_bytes()).hexdigest()
    assert (shown["too_old"], shown["from_future"], shown["used"]) == (False, False, False)
    plan = cli.folder / "plan.jsonl"
    assert shown["sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()


def test_plan_show_counts_per_rule_and_project_and_lists_owners_first_then_the_oldest(cli):
    other = cli.sim.add_project("Other")
    stock(cli)
    cli.sim.invite(other, "boss@example.com", age=15 * DAYS, roles=("GROUP_OWNER",))
    saved(cli)
    text = cli.run("plan", "show", "plan.jsonl").out
    assert f"4 invitations in 2 projects of organization Example Industries ({ORG_ID})" in text
    rows = text.partition("AGE")[2]
    assert re.findall(r"^\w+ {2}\d$", rows, re.MULTILINE) == ["Other  1", "Project  3"]
    names = ["boss@example.com", "p2@example.com", "p1@example.com", "p0@example.com"]
    assert re.findall(r"\S+@example\.com", rows) == names
    assert re.search(r"by rule +4  forgotten", text)
    assert re.search(r"by list +3  Project\n +1  Other", text)


def test_plan_show_does_not_count_the_list_of_an_organization_as_a_project(cli):
    stock(cli)
    cli.sim.add_user("new@example.com", age=20 * DAYS)
    cli.keys["sources"] = ["invites", "org_invites"]
    saved(cli)
    text = cli.run("plan", "show", "plan.jsonl").out
    places = "in 1 project and 1 organization list"
    assert f"4 invitations {places} of organization Example Industries ({ORG_ID})" in text


def test_plan_of_52_shows_50_and_the_command_that_shows_all(cli):
    stock(cli, 52)
    saved(cli)
    text = cli.run("plan", "show", "plan.jsonl").out
    assert text.count("@example.com") == 50
    assert "… 2 more\n" in text
    (shown,) = re.findall(r"^Show all: invite-sweeper (.*)$", text, re.MULTILINE)
    assert cli.run(*shlex.split(shown)).out.count("@example.com") == 52


def test_plan_show_without_an_invitation_ends_with_0(cli):
    cli.sim.add_project("Empty")
    saved(cli)
    assert show(cli)["planned"] == 0
    shown = cli.run("plan", "show", "plan.jsonl").out
    assert f"0 invitations of organization Example Industries ({ORG_ID})" in shown


@pytest.mark.parametrize(("hours", "too_old"), [(23.9, False), (24.1, True)])
def test_plan_show_says_whether_the_plan_is_too_old(cli, hours, too_old):
    stock(cli)
    path = saved(cli)
    path.write_bytes(aged(path.read_bytes(), hours=hours))
    assert show(cli)["too_old"] is too_old
    assert show(cli, "--plan-max-age", "2d")["too_old"] is False
    assert ("too old, the limit is 24 hours" in cli.run("plan", "show", "plan.jsonl").out) == (
        too_old
    )


def test_plan_show_says_that_the_plan_was_used_and_by_which_run(cli):
    stock(cli)
    saved(cli)
    run_id = by_plan(cli).summary["run_id"]
    assert (show(cli)["used"], show(cli)["used_by_run"]) == (True, run_id)
    assert f"yes, by run {run_id}" in cli.run("plan", "show", "plan.jsonl").out


def test_use_is_read_from_the_audit_log_that_is_named(cli):
    stock(cli)
    saved(cli)
    assert by_plan(cli).code == 0
    (cli.folder / "audit").rename(cli.folder / "moved")
    assert show(cli)["used"] is True
    (cli.folder / "plan.jsonl.applied").unlink()
    assert show(cli)["used"] is None
    assert show(cli, "--audit-log", "moved/invite-sweeper.jsonl")["used"] is True


def test_used_plan_is_refused_with_another_log_too(cli):
    stock(cli)
    saved(cli)
    assert by_plan(cli).code == 0
    before = cli.deletes()
    other = by_plan(cli, "--audit-log", "other.jsonl")
    assert (other.code, cli.deletes()) == (3, before)
    assert "has already been applied, by run " in other.err
    assert "with the log" in other.err


def test_plan_made_with_one_log_may_be_applied_with_another(cli):
    _, ids = stock(cli)
    saved(cli)
    assert by_plan(cli, "--audit-log", "other.jsonl").code == 0
    assert sorted(cli.sim.deleted) == sorted(ids)


def test_invitation_whose_roles_changed_since_the_plan_is_left_out_and_said(cli):
    project, ids = stock(cli)
    dates = {"createdAt": "2026-10-01T00:00:00Z", "expiresAt": "2027-10-31T00:00:00Z"}
    changed = cli.sim.invite(project, "changed@example.com", **dates)
    saved(cli)
    owner = {"id": changed, "roles": ("GROUP_OWNER",)}
    cli.sim.invite(project, "changed@example.com", **dates, **owner)
    done = by_plan(cli)
    assert (done.code, sorted(cli.sim.deleted)) == (0, sorted(ids))
    assert "1 of the plan's invitations is kept because the roles" in done.err


def test_use_is_found_from_any_folder(cli, tmp_path):
    stock(cli)
    saved(cli)
    assert by_plan(cli).code == 0
    away = tmp_path / "away"
    away.mkdir()
    here, cli.folder = cli.folder, away
    done = cli.run("plan", "show", str(here / "plan.jsonl"), "--output", "json")
    assert done.summary["used"] is True


def test_use_is_not_known_from_the_log_of_other_runs(cli):
    stock(cli)
    assert cli.plan("--audit-log", "other.jsonl").code == 0
    saved(cli)
    assert show(cli, "--audit-log", "other.jsonl")["used"] is None
    text = cli.run("plan", "show", "plan.jsonl", "--audit-log", "other.jsonl").out
    text = " ".join(text.split())  # lines are wrapped
    assert "other.jsonl is not the log of the run that created it. A sweep checks it." in text


DAMAGES = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"\xff\x00 not a plan\n",
    "cut": lambda data: data[:-70],
    "edited": lambda data: data.replace(b"p1@example.com", b"p9@example.com"),
    "not JSON": lambda data: data.replace(b"{", b"[", 1),
    "a long line": lambda _: b"x" * (1 << 21),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_plan_is_refused_with_one_object_and_without_a_traceback(cli, how):
    stock(cli)
    path = saved(cli)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    done = cli.run("plan", "show", "plan.jsonl", "--output", "json")
    assert (done.code, done.summary["exit_code"]) == (3, 3)
    assert set(done.summary["error"]) == {"message", "consequence", "hint"}
    assert done.summary["error"]["message"].startswith("The plan is not valid: ")
    assert "Traceback" not in done.err
    assert cli.run("plan", "show", "plan.jsonl").out == ""


@pytest.mark.parametrize("place", ["missing.jsonl", "folder", "pipe", "/dev/zero"])
def test_plan_that_is_not_a_regular_file_is_wrong_usage_and_does_not_block(cli, place):
    (cli.folder / "folder").mkdir()
    os.mkfifo(cli.folder / "pipe")
    done = cli.run("plan", "show", place, "--output", "json")
    assert (done.code, done.summary["exit_code"]) == (2, 2)
    assert f"The plan {place} cannot be read" in done.summary["error"]["message"]


def test_names_in_a_plan_cannot_move_the_cursor(cli):
    project = cli.sim.add_project("Evil \x1b[2J")
    cli.sim.invite(project, "a\x1b]0;x\x07\r\u202eb@example.com", age=30 * DAYS)
    saved(cli)
    text = cli.run("plan", "show", "plan.jsonl", COLUMNS="200").out
    assert not set(text) & set("\x1b\x07\r\u202e")
    assert "[U+202E]" in text

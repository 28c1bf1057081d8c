"""No command deletes or invites upon a log that `audit verify` calls damaged; each reports it."""

import json
import shlex
import shutil

import pytest
from running import cli_in, printed

AUDIT = ("--audit-dir", "audit")
POLICY = ("--policy", "policy.yaml")
JUDGING = {
    "sweep": ("sweep", *POLICY),
    "plan": ("plan", *POLICY),
    "restore": ("restore", "2", *POLICY),
}
SHOWING = {
    "audit show": ("audit", "show", *AUDIT),
    "audit show --event": ("audit", "show", *AUDIT, "--event", "planned"),
    "doctor -q": ("doctor", "-q", *POLICY),
    "explain -q": ("explain", "-q", "*", *POLICY),
    "report": ("report", "audit", "--format", "md"),
}


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory):
    """Make a dry run, a sweep that deletes 6 people and one that a limit refuses, once for all."""
    with cli_in(tmp_path_factory.mktemp("nights")) as cli:
        cli.keys["limits"] |= {"max_deletions": 6, "max_share": 1.0}
        cli.stock(1, 6, 2)
        assert cli.plan().code == 0
        assert cli.sweep().summary["deleted"] == 6
        cli.stock(1, 6)
        assert cli.sweep().code == 3
        shutil.copytree(cli.audit_dir, cli.folder / "undamaged")
        yield cli


@pytest.fixture
def nights(three_runs):
    """The three runs, whose audit directory is as they left it."""
    shutil.rmtree(three_runs.audit_dir)
    shutil.copytree(three_runs.folder / "undamaged", three_runs.audit_dir)
    return three_runs


def cut_the_newest(files):
    lines = files[-1].read_bytes().splitlines(keepends=True)
    files[-1].write_bytes(b"".join(lines[:-1]))


@pytest.mark.parametrize("words", JUDGING.values(), ids=JUDGING)
def test_command_that_judges_by_earlier_runs_refuses_damage_and_prints_how_to_check_it(
    nights, words
):
    cut_the_newest(nights.run_files())
    files = nights.run_files()
    done = nights.run(*words, "-o", "json")
    assert (done.code, nights.deletes(), nights.run_files()) == (3, 6, files)
    assert done.summary["reasons"] == ["earlier_runs"]
    verified = nights.run(*printed(done.err, "Check the audit log with"))
    assert (verified.code, verified.out.startswith("Damaged")) == (3, True)


@pytest.mark.parametrize("words", SHOWING.values(), ids=SHOWING)
def test_command_that_only_reads_reports_a_missing_file(nights, words):
    files = nights.run_files()
    files[1].rename(nights.folder / "away")
    done = nights.run(*words)
    assert "file 000002 is missing" in done.err + done.out
    if words[0] in {"audit", "doctor"}:
        assert (done.code, bool(done.out)) == (3, True)


@pytest.fixture
def used_plan(cli):
    """Apply a plan that deletes two people; one of them is invited again."""
    (project,) = cli.stock(stale=2)
    assert cli.plan("--out", "plan.jsonl").code == 0
    assert cli.sweep("--plan", "plan.jsonl").summary["deleted"] == 2
    cli.sim.invite(project, "p0@example.com")
    return cli


def test_used_plan_is_refused_where_its_sweep_is_lost_and_a_new_one_deletes(used_plan):
    plan = "plan.jsonl"
    used_plan.run_files()[1].unlink()
    assert used_plan.sweep("--plan", plan).summary["reasons"] == ["earlier_runs"]
    done = used_plan.sweep("--plan", plan, "--accept-missing")
    assert (done.code, done.summary["reasons"], used_plan.deletes()) == (3, ["plan"], 2)
    assert "The file of a run is lost" in done.summary["error"]["message"]
    command = printed(done.summary["error"]["hint"], "create a new plan with")
    assert used_plan.run(*command).code == 0
    done = used_plan.sweep("--plan", plan)
    assert (done.code, done.summary["reasons"], used_plan.deletes()) == (3, ["plan"], 2)
    shown = used_plan.run("audit", "show", plan, *AUDIT).out
    assert "It cannot be applied. The file of a run is lost" in " ".join(shown.split())


@pytest.mark.parametrize(("number", "file"), [(0, ""), (1, "x/000001-r1.jsonl")])
def test_head_that_names_no_file_of_a_run_is_refused_and_reported(nights, number, file):
    head = json.loads((nights.audit_dir / "HEAD").read_bytes())
    (nights.audit_dir / "HEAD").write_text(json.dumps({**head, "number": number, "file": file}))
    for words in (JUDGING["sweep"], SHOWING["audit show"], ("audit", "verify", "audit")):
        done = nights.run(*words)
        assert f"HEAD names the file {file} as that of run {number}" in done.err + done.out
    assert (nights.deletes(), len(nights.run_files())) == (6, 3)


def test_after_accept_missing_was_given_once_every_night_goes_on(nights):
    files = nights.run_files()
    files[1].unlink()
    left = nights.run_files()
    for words in JUDGING.values():
        refused = nights.run(*words, "-o", "json")
        assert (refused.code, nights.deletes(), nights.run_files()) == (3, 6, left)
        assert refused.summary["reasons"] == ["earlier_runs"]
    done = nights.run(*shlex.split(refused.summary["error"]["command"])[1:], "-o", "json")
    assert done.summary["exit_code"] == done.code
    assert nights.run_files() != files
    lines = [json.loads(line) for line in nights.run_files()[-1].read_text().splitlines()]
    assert [line["numbers"] for line in lines if line["event"] == "missing_accepted"] == [[2]]
    (warning,) = (each for each in done.summary["warnings"] if each["code"] == "audit_log")
    assert "2 " in warning["message"]
    assert "lost: what was deleted and announced there does not count." in warning["message"]
    found = nights.run("audit", "verify", "audit")
    assert (found.code, found.out.startswith("Sound")) == (0, True), found.out
    assert "2 " in found.out.partition("Lost  ")[2]
    found = json.loads(nights.run("audit", "verify", "audit", "-o", "json").out)
    assert found["missing_accepted"] == [2]
    assert "earlier_runs" not in nights.plan().summary["reasons"]
    assert "missing_accepted" not in nights.run_files()[-1].read_text()


def test_killed_run_that_is_put_back_after_it_was_accepted_as_lost_is_to_be_moved_away_again(
    nights,
):
    newest = nights.run_files()[-1]
    cut_the_newest([newest])
    kept = newest.read_bytes()
    head = json.loads((nights.audit_dir / "HEAD").read_bytes())
    at_start = {"last_hash": json.loads(kept.splitlines()[0])["prev"], "ended": False}
    (nights.audit_dir / "HEAD").write_text(json.dumps(head | at_start))
    newest.unlink()
    assert "earlier_runs" not in nights.plan("--accept-missing").summary["reasons"]
    newest.write_bytes(kept)
    refused = nights.sweep()
    assert (refused.code, nights.deletes()) == (3, 6)
    again = f"If {newest.name} was accepted as lost and put back later, move it away again."
    assert again in refused.summary["error"]["hint"]
    newest.unlink()
    assert nights.run("audit", "verify", "audit").code == 0


def test_accept_missing_accepts_no_other_damage(nights):
    cut_the_newest(nights.run_files())
    assert nights.sweep("--accept-missing").code == 3
    assert nights.deletes() == 6

"""No command deletes or invites upon a log that `audit verify` calls damaged; each reports it."""

import json
import shlex
import shutil

import pytest
from benchmarks.nights import write_nights
from running import cli_in, printed

JUDGING = ("sweep", "plan", "restore 2")
SHOWING = (
    "audit show",
    "audit show --event planned",
    "doctor -q",
    "explain -q *",
    "report --format md",
)


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


@pytest.mark.parametrize("command", JUDGING)
def test_command_that_judges_by_earlier_runs_refuses_damage_and_prints_how_to_check_it(
    nights, command
):
    cut_the_newest(nights.run_files())
    files = nights.run_files()
    done = nights.run(*command.split(), "-o", "json")
    assert (done.code, nights.deletes(), nights.run_files()) == (3, 6, files)
    assert done.summary["reasons"] == ["earlier_runs"]
    verified = nights.run(*printed(done.err, "Check the audit log with"))
    assert (verified.code, verified.out.startswith("Damaged")) == (3, True)


@pytest.mark.parametrize("command", SHOWING)
def test_command_that_only_reads_reports_a_missing_file(nights, command):
    files = nights.run_files()
    files[1].rename(nights.folder / "away")
    done = nights.run(*command.split())
    assert "file 000002 is missing" in done.err + done.out
    if command.startswith(("audit", "doctor")):
        assert (done.code, bool(done.out)) == (3, True)


@pytest.mark.parametrize(("number", "file"), [(0, ""), (1, "x/000001-r1.jsonl")])
def test_head_that_names_no_file_of_a_run_is_refused_and_reported(nights, number, file):
    head = json.loads((nights.audit_dir / "HEAD").read_bytes())
    (nights.audit_dir / "HEAD").write_text(json.dumps({**head, "number": number, "file": file}))
    for command in ("sweep", "audit show", "audit verify"):
        done = nights.run(*command.split())
        assert f"HEAD names the file {file} as that of run {number}" in done.err + done.out
    assert (nights.deletes(), len(nights.run_files())) == (6, 3)


def test_after_accept_missing_was_given_once_every_night_goes_on(nights):
    lost = nights.run_files()[1]
    kept = lost.read_bytes().splitlines(keepends=True)
    lost.unlink()
    for command in JUDGING:
        refused = nights.run(*command.split(), "-o", "json")
        assert (refused.code, nights.deletes(), len(nights.run_files())) == (3, 6, 2)
        assert refused.summary["reasons"] == ["earlier_runs"]
    done = nights.run(*shlex.split(refused.summary["error"]["command"])[1:], "-o", "json")
    assert [line["numbers"] for line in nights.lines("missing_accepted")] == [[2]]
    (warning,) = (each for each in done.summary["warnings"] if each["code"] == "audit_log")
    assert "2 " in warning["message"]
    assert "lost: what was deleted and announced there does not count." in warning["message"]
    found = nights.run("audit", "verify", "-o", "json")
    assert (found.code, found.summary["missing_accepted"]) == (0, [2])
    assert "earlier_runs" not in nights.plan().summary["reasons"]
    assert len(nights.lines("missing_accepted")) == 1
    lost.write_bytes(b"".join(kept[:-1]))  # of a killed run
    assert "earlier_runs" not in nights.plan().summary["reasons"]
    found = nights.run("audit", "verify")
    assert (found.code, f"Left aside  {lost.name}" in found.out) == (0, True)


def test_accept_missing_accepts_no_other_damage(nights):
    cut_the_newest(nights.run_files())
    assert nights.sweep("--accept-missing").code == 3
    assert nights.deletes() == 6


def test_what_was_changed_before_the_last_30_runs_is_read_only_where_the_policy_has_a_notice(cli):
    cli.stock()
    write_nights(cli.audit_dir, nights=40, deletions=1)
    path = min(cli.audit_dir.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"mode":"sweep"', b'"mode":"other"'))
    assert cli.plan().code == 0
    cli.keys["notice"] = {"wait": "7d"}
    done = cli.plan()
    assert (done.code, path.name in done.err) == (3, True)

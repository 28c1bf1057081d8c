"""The population file of a run, end to end: it reconciles, or nothing is deleted."""

import csv
import hashlib
import json
import os
import signal
import stat
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta

import faults
import pytest
from running import COMMAND, wait_until

from invite_sweeper.simulator.seed import ORG_ID

OTHER = "0123456789abcdef01234567"
ALL = ["invites", "users", "org_users", "org_invites"]
DAYS = timedelta(days=1)
STALE = {
    "name": "stale",
    "older_than": "14d",
    "statuses": ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"],
}
TOTALS = (
    *("projects_seen", "projects_unreadable", "invitations_seen", "stale", "trimmed", "kept"),
    "kept_by_reason",
)


def rows_of(path):
    """Return the rows of a population file."""
    text = path.read_text("utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


def manifest_of(path):
    return json.loads(path.with_name(f"{path.name}.manifest.json").read_text("utf-8"))


def totals_of(path):
    return manifest_of(path)["totals"]


def refused(cli, done, *texts):
    assert (done.code, cli.sim.requests, cli.deletes()) == (2, (), 0), done.err
    for text in texts:
        assert text in done.err
    assert "Traceback" not in done.err


# --- it reconciles -------------------------------------------------------------------------


@pytest.mark.slow
def test_population_of_200_projects_with_60_invitations_reconciles_to_the_last_one(cli):
    """In all four lists, with unreadable lists, a project that is gone, and trims."""
    for number in range(200):
        project = cli.sim.add_project(f"Project {number}")
        cli.projects.append(project)
        for n in range(60):
            age = (20 if n % 3 else 2) * DAYS
            cli.sim.invite(project, f"p{number}-{n}@example.com", age=age)
        if number % 10 == 0:
            roles = {project: ["GROUP_OWNER"]}
            cli.sim.add_user(f"u{number}@example.com", age=(number % 40) * DAYS, group_roles=roles)
    lost, list_lost, gone = cli.projects[1], cli.projects[10], cli.projects[199]
    missing = faults.role_missing()
    cli.sim.faults.add(missing, path=f"*/groups/{lost}/*", times=None)
    cli.sim.faults.add(missing, path=f"*/groups/{list_lost}/users*", times=None)
    vanish = faults.fail_with(404, "GROUP_NOT_FOUND")
    cli.sim.faults.add(vanish, path=f"*/groups/{gone}/*", times=None)
    cli.keys |= {"sources": ALL, "rules": [STALE]}
    cli.keys["limits"] |= {"over_limit": "trim", "max_deletions": 300}
    done = cli.plan("--population", "population.jsonl")

    assert done.code == 4, done.err
    path = cli.folder / "population.jsonl"
    found, lists = rows_of(path), manifest_of(path)["lists"]
    summary, totals = done.summary, totals_of(path)
    assert {name: totals[name] for name in TOTALS} == {name: summary[name] for name in TOTALS}
    assert summary["trimmed"] == summary["stale"] - 300 > 0
    assert summary["projects_unreadable"] == 3
    # Counted again from the rows, and compared with what Atlas holds.
    assert Counter(row["decision"] for row in found) == {
        "stale": summary["stale"],
        "kept": summary["kept"],
    }
    kept = Counter(row["reason"] for row in found if row["decision"] == "kept")
    assert kept == summary["kept_by_reason"]
    truth = {i for each in cli.projects[:199] if each != lost for i in cli.sim.invitations(each)}
    ids = {source: [r["invitation_id"] for r in found if r["source"] == source] for source in ALL}
    assert len(ids["invites"]) == 198 * 60
    assert set(ids["invites"]) == truth
    assert len(ids["users"]) == 19
    assert sorted(ids["org_users"]) == sorted(cli.sim.users())
    assert len(ids["org_invites"]) == 20
    # Each list has a line, also those that were not read.
    assert len(lists) == 2 + 200 * 2 == totals["lists"]
    unread = {(e["project_id"], e["source"]) for e in lists if not e["complete"]}
    assert unread == {(lost, "invites"), (lost, "users"), (list_lost, "users")}
    assert sum(each["rows"] for each in lists) == len(found) == totals["rows"]
    assert manifest_of(path)["complete"] is False
    # The trimmed ones are those without a `planned` line.
    planned = {(line["source"], line["invitation_id"]) for line in cli.lines("planned")}
    stale = {(r["source"], r["invitation_id"]) for r in found if r["decision"] == "stale"}
    assert planned < stale
    assert len(stale - planned) == summary["trimmed"]


@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_population_of_a_sweep_has_the_rows_that_were_deleted_and_the_others(cli, name):
    cli.stock(2, 2, 1)
    done = cli.sweep("--population", name)

    assert (done.code, done.summary["deleted"]) == (0, 4), done.err
    path = cli.folder / name
    rows = rows_of(path)
    decided = {row["invitation_id"]: (row["decision"], row["reason"]) for row in rows}
    assert {i for i, (decision, _) in decided.items() if decision == "stale"} == set(
        cli.sim.deleted
    )
    assert Counter(decided.values()) == {("stale", "forgotten"): 4, ("kept", "too_young"): 2}
    totals = totals_of(path)
    assert {each: totals[each] for each in TOTALS} == {each: done.summary[each] for each in TOTALS}
    assert manifest_of(path)["complete"] is True


def test_hash_of_the_population_is_in_run_finished_and_under_the_chain(cli):
    cli.stock(2, 2, 1)
    assert cli.sweep("--population", "population.csv").code == 0

    path = cli.folder / "population.csv"
    (finished,) = cli.lines("run_finished")
    manifest = path.with_name("population.csv.manifest.json")
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (path, manifest)]
    names = ("population_sha256", "population_manifest_sha256")
    assert [finished[name] for name in names] == digests
    assert manifest_of(path)["sha256"] == digests[0]
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    verify = ("audit", "verify", str(cli.log_path))
    assert cli.run(*verify).code == 0
    forged = cli.log_path.read_text(encoding="utf-8").replace(
        finished["population_sha256"], "0" * 64
    )
    cli.log_path.write_text(forged, encoding="utf-8")
    assert cli.run(*verify).code == 3


def test_run_without_a_population_has_no_hash(cli):
    cli.stock(2, 2, 1)
    assert cli.sweep().code == 0
    assert "population_sha256" not in cli.lines("run_finished")[0]


def test_population_of_a_refused_run_is_complete(cli):
    cli.stock(2, 2, 1)
    cli.keys["limits"]["max_deletions"] = 3
    done = cli.sweep("--population", "population.jsonl")

    assert (done.code, cli.deletes()) == (3, 0)
    path = cli.folder / "population.jsonl"
    assert totals_of(path)["stale"] == 4
    assert cli.lines("run_finished")[0]["population_sha256"] == (
        hashlib.sha256(path.read_bytes()).hexdigest()
    )


def test_missing_folder_of_the_population_is_made(cli):
    cli.stock(2, 2, 1)
    assert cli.plan("--population", "new/folder/population.csv").code == 0
    path = cli.folder / "new/folder/population.csv"
    assert len(rows_of(path)) == 6
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_policy_names_the_population_by_date_and_run(cli):
    cli.stock(2, 2, 1)
    cli.keys["audit"] = {"population": "population-{date}-{run_id}.csv"}
    day = datetime.now(UTC).date()
    runs = [cli.plan().summary["run_id"] for _ in range(2)]

    assert [(cli.folder / f"population-{day}-{run}.csv").exists() for run in runs] == [True] * 2


def test_option_overrides_the_policy(cli):
    cli.stock(2, 2, 1)
    cli.keys["audit"] = {"population": "one.csv"}
    assert cli.plan("--population", "two.csv").code == 0
    assert ((cli.folder / "one.csv").exists(), (cli.folder / "two.csv").exists()) == (False, True)


def test_file_of_the_run_before_is_replaced(cli):
    cli.stock(2, 2, 1)
    runs = [cli.plan("--population", "population.jsonl").summary["run_id"] for _ in range(2)]

    (described,) = manifest_of(cli.folder / "population.jsonl")["runs"]
    assert described["run_id"] == runs[1]
    assert (described["mode"], described["organizations"]) == ("dry-run", [ORG_ID])
    policy = (cli.folder / "policy.yaml").read_bytes()
    assert described["policy_sha256"] == hashlib.sha256(policy).hexdigest()


# --- a population that cannot be written ---------------------------------------------------


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("population.txt", "does not end with .csv or .jsonl"),
        ("population", "does not end with .csv or .jsonl"),
        ("population.CSV", "does not end with .csv or .jsonl"),
        (".csv", "does not end with .csv or .jsonl"),
        ("", "does not end with .csv or .jsonl"),
        ("{day}.csv", "braces that are not a placeholder"),
        ("{date}/population.csv", "braces that are not a placeholder"),
        ("folder.csv", "is a directory"),
        ("pipe.csv", "it is not a regular file"),
    ],
)
def test_population_that_cannot_be_created_is_refused_before_atlas_is_called(cli, place, text):
    cli.stock(2, 2, 1)
    (cli.folder / "folder.csv").mkdir()
    os.mkfifo(cli.folder / "pipe.csv")
    refused(cli, cli.sweep("--population", place), text, "Atlas was not called.")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("population.txt", "the string `population.txt` does not end with .csv or .jsonl"),
        ("{day}.csv", "the string `{day}.csv` contains braces that are not a placeholder"),
    ],
)
def test_policy_with_an_unusable_population_is_invalid(cli, path, text):
    cli.keys["audit"] = {"population": path}
    cli.write_policy()
    done = cli.run("validate", "policy.yaml")
    assert done.code == 2
    assert f"audit.population: {text}" in done.out + done.err


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("audit/invite-sweeper.jsonl", "would overwrite the audit log"),
        ("audit/invite-sweeper.jsonl/../invite-sweeper.jsonl", "would overwrite the audit log"),
        ("other.jsonl", "would overwrite --out"),
        ("plan.jsonl", "would overwrite the plan"),
    ],
)
def test_population_over_a_file_of_the_run_is_refused(cli, place, what):
    done = cli.sweep("--population", place, "--out", "other.jsonl", "--plan", "plan.jsonl")
    assert done.code == 2
    assert what in done.err or "other.jsonl would overwrite --population" in done.err


def test_shards_need_the_run_id_in_the_name(cli):
    cli.stock(2, 2, 1)
    cli.keys["audit"] = {"population": "population.csv"}
    refused(cli, cli.sweep("--shard", "1/2"), "would be written by every shard", "{run_id}")
    cli.keys["audit"] = {"population": "population-{run_id}.csv"}
    assert [cli.plan("--shard", f"{n}/2").code for n in (1, 2)] == [0, 0]
    paths = sorted(cli.folder.glob("population-*.csv"))
    assert sum(totals_of(path)["invitations_seen"] for path in paths) == 6


@pytest.mark.needs("root", "mount")  # a disk of a fixed size
@pytest.mark.parametrize("words", [["sweep", "--yes"], ["plan"]], ids=["sweep", "plan"])
@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_full_disk_of_the_population_deletes_nothing_and_leaves_no_file(cli, name, words):
    cli.stock(20, 20, 1)
    cli.write_policy()
    small = cli.folder / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=64k,mode=700 tmpfs {small}"
    script = f'{mount} && "$@"; code=$?; ls -A {small}; exit $code'
    command = [*COMMAND, *words, "--policy", "policy.yaml", "-q", "--population", f"small/{name}"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert (done.returncode, cli.deletes(), done.stdout) == (7, 0, ""), done.stderr
    assert f"The population small/{name} cannot be written: No space left" in done.stderr
    assert "Nothing was deleted." in done.stderr
    (finished,) = cli.lines("run_finished")
    assert (finished["exit_code"], "population_sha256" in finished) == (7, False)
    assert cli.run("audit", "verify", str(cli.log_path)).code == 0


# --- interruptions -------------------------------------------------------------------------


def test_run_that_is_stopped_while_it_reads_leaves_no_population(cli):
    cli.stock(30, 2, 1)
    cli.sim.faults.set_latency(0.1)
    cli.keys["execution"] = {"concurrency": 1}
    process = cli.fork("sweep", "--policy", "policy.yaml", "--population", "population.csv")
    wait_until(lambda: len(cli.sim.requests) > 5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, cli.deletes()) == (8, 0)
    assert b"no population written" in err
    assert not list(cli.folder.glob("*population*")) + list(cli.folder.glob(".population*"))
    assert "population_sha256" not in cli.lines("run_finished")[0]


def test_run_that_is_killed_while_it_reads_leaves_nothing_that_looks_complete(cli):
    cli.stock(30, 2, 1)
    cli.sim.faults.set_latency(0.1)
    cli.keys["execution"] = {"concurrency": 1}
    process = cli.fork("sweep", "--policy", "policy.yaml", "--population", "population.csv")
    wait_until(lambda: len(cli.sim.requests) > 5)
    process.kill()
    process.communicate(timeout=60)

    left = [each for each in cli.folder.iterdir() if "population" in each.name]
    assert {(each.name[0], each.suffix) for each in left} == {(".", ".partial")}
    cli.sim.faults.set_latency(0.0)
    assert cli.sweep("--population", "population.csv").code == 0
    assert totals_of(cli.folder / "population.csv")["stale"] == 60


def two_organizations(cli):
    """Add another organization with a credential; return the changes of the environment."""
    cli.sim.add_organization(OTHER, "Elsewhere")
    other = cli.sim.add_project("Elsewhere", OTHER)
    cli.sim.invite(other, "old@example.com", age=20 * DAYS)
    cli.keys["organizations"] = [ORG_ID, {"id": OTHER, "credentials": "BETA"}]
    return {"MONGODB_ATLAS_ACCESS_TOKEN_BETA": cli.sim.add_token(OTHER).secret}


def test_population_of_two_organizations_is_one_file_whose_totals_are_those_of_the_command(cli):
    cli.stock(2, 2, 1)
    changes = two_organizations(cli)
    done = cli.sweep("--population", "population.jsonl", **changes)
    assert done.code == 0, done.err
    path = cli.folder / "population.jsonl"
    rows = rows_of(path)
    assert {row["org_id"] for row in rows} == {ORG_ID, OTHER}
    totals = totals_of(path)
    assert manifest_of(path)["complete"] is True
    assert totals["invitations_seen"] == len(rows) == done.summary["invitations_seen"]
    assert totals["stale"] == done.summary["stale"] == 5
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [line["population_sha256"] for line in cli.lines("run_finished")] == [digest] * 2

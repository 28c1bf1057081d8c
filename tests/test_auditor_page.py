"""What deploy/README.md promises an auditor: each command works, each answer is true."""

import csv
import hashlib
import json
import shutil
from collections import Counter
from datetime import timedelta

import pytest
from readmes import OPERATORS, section
from running import cli_in, run_line

from invite_sweeper.audit.chain import GENESIS_HASH, add_seal, line_hash
from invite_sweeper.json_text import to_json

COMMANDS = section(OPERATORS, "What an auditor gets").commands
DAYS = timedelta(days=1)


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def command(*words):
    (found,) = [each for each in COMMANDS if all(word in each for word in words)]
    return found


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """A simulated Atlas with stale, young and protected invitations."""
    folder = tmp_path_factory.mktemp("auditor")
    with cli_in(folder) as found:
        for number in range(3):
            project = found.sim.add_project(f"Project {number}")
            found.projects.append(project)
            for name, days in (("ada", 20), ("bo", 2), ("cyd@board", 20)):
                address = f"{name}.{number}@example.com"
                if "board" in name:
                    address = f"cyd.{number}@board.example.com"
                found.sim.invite(project, address, age=days * DAYS)
        found.keys["keep"] = [
            {
                "name": "board",
                "usernames": ["*@board.example.com"],
                "reason": "they travel",
                "until": "2099-03-31",
            }
        ]
        found.keys["audit"] = {"record": "all"}
        found.write_policy()
        found.before = {i for each in found.projects for i in found.sim.invitations(each)}
        yield found


@pytest.fixture(scope="module")
def results(cli):
    """Run each command of the page in its order; return its output by command."""
    found = {}
    for line in COMMANDS:
        words = line
        if " HEX " in words:
            words = words.replace(" HEX ", f" {sha256_of(cli.folder / 'plan.jsonl')} ")
        if "LAST_HASH" in words:
            last = cli.log_path.read_bytes().splitlines()[-1]
            words = words.replace("LAST_HASH", line_hash(last))
        found[line] = run_line(words, cli.folder, cli.environment)
    return found


@pytest.fixture(scope="module")
def rows(cli, results):
    """Stale and kept invitations of the sweep, as the page's CSV shows them."""
    text = (cli.folder / "population.csv").read_text("utf-8")
    run_id = cli.lines("run_started")[-1]["run_id"]
    found = [row for row in csv.DictReader(text.splitlines()) if row["run_id"] == run_id]
    return [row for row in found if row["event"] in {"planned", "kept"}]


@pytest.fixture(scope="module")
def finished(results):
    """The `run_finished` line of the sweep, as the page's command shows it."""
    shown = results[command("--event run_finished")].out.splitlines()
    return json.loads(shown[-1])


def test_every_command_of_the_page_works_in_its_order(results):
    assert len(results) >= 7
    failed = {c: (d.code, d.err[-300:]) for c, d in results.items() if d.code}
    assert failed == {}


def test_population_has_one_row_for_each_invitation_with_its_decision(cli, rows):
    assert Counter(row["invitation_id"] for row in rows) == dict.fromkeys(cli.before, 1)
    assert Counter((row["event"], row["rule"] or row["reason"]) for row in rows) == {
        ("planned", "forgotten"): 3,
        ("kept", "too_young"): 3,
        ("kept", "keep:board"): 3,
    }
    for row in rows:
        assert all(row[name] for name in ("username", "roles", "inviter", "created_at"))
        assert row["expires_at"] > row["created_at"]


def test_log_shows_what_was_deleted_and_an_intent_before(cli, results):
    shown = results[command("--outcome deleted")].out.splitlines()
    deleted = [json.loads(line)["invitation_id"] for line in shown]
    assert sorted(deleted) == sorted(cli.sim.deleted)
    assert len(deleted) == 3
    events = [(line["event"], line.get("invitation_id")) for line in cli.lines()]
    for each in deleted:
        assert events.index(("intent", each)) < events.index(("outcome", each))


def test_exceptions_have_a_reason_an_end_and_their_invitations(rows, finished):
    (entry,) = finished["keep_entries"]
    assert entry == {
        "name": "board",
        "reason": "they travel",
        "until": "2099-03-31",
        "matched": 3,
    }
    assert sum(row["reason"] == "keep:board" for row in rows) == 3


def test_plan_with_another_hash_deletes_nothing(cli, results, tmp_path):
    shutil.copy(cli.folder / "plan.jsonl", tmp_path)
    arguments = ("--plan", str(tmp_path / "plan.jsonl"), "--plan-sha256", "0" * 64)
    done = cli.sweep(*arguments)
    assert (done.code, len(cli.sim.deleted)) == (3, 3)
    assert f"has the SHA-256 {sha256_of(cli.folder / 'plan.jsonl')}, not 000" in done.err


def test_run_names_the_plan_that_was_read(cli, results):
    sha256 = sha256_of(cli.folder / "plan.jsonl")
    started = [line["plan_sha256"] for line in cli.lines("run_started") if "plan_sha256" in line]
    assert started[:1] == [sha256]
    assert sha256 in results[command("audit show plan.jsonl")].out


def rewrite(source, target, old, new):
    """Copy an audit directory with a text replaced, and every hash, seal and HEAD made anew."""
    target.mkdir()
    prev = GENESIS_HASH
    for path in sorted(source.glob("*.jsonl")):
        lines = []
        for line in path.read_bytes().splitlines():
            record = {**json.loads(line.replace(old, new)), "prev": prev}
            sealed = record.pop("seal", None) is not None
            changed = add_seal(to_json(record)) if sealed else to_json(record)
            prev = line_hash(changed)
            lines.append(changed + b"\n")
        (target / path.name).write_bytes(b"".join(lines))
    head = json.loads((source / "HEAD").read_bytes())
    (target / "HEAD").write_bytes(to_json({**head, "last_hash": prev}))


def test_log_that_was_rewritten_as_a_whole_is_found_by_a_kept_hash(cli, results):
    assert "Expected hash  that of " in results[command("audit verify")].out
    kept = cli.lines("run_finished")[0]["prev"]
    rewrite(cli.audit_dir, cli.folder / "rewritten", b"ada.0@", b"eve.0@")
    verify = ("audit", "verify", "rewritten")
    assert cli.run(*verify).code == 0
    assert cli.run(*verify, "--expect-head", kept).code == 3
    genuine = ("audit", "verify", "audit")
    assert cli.run(*genuine, "--expect-head", kept).code == 0

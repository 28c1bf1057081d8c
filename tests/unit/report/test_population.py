"""The population file: its rows, formulas, manifest, and what a failure leaves."""

import csv
import errno
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import unicodedata
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from builders import NOW, ORG, OTHER_ORG, PROJECT, invitation, object_id
from hypothesis import example, given
from hypothesis import strategies as st

from invite_sweeper.errors import AuditLogError, UsageError
from invite_sweeper.models import (
    InvitationList,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.population import PopulationFile, PopulationRun
from invite_sweeper.report.population_rows import COLUMNS
from invite_sweeper.sweep.discovery import ListedInvitations
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import neutralize_formula

ALPHA = Project(PROJECT, "Sandbox Alpha", ORG)
READ_AT = NOW + timedelta(seconds=7)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def run(run_id="run-1", organization=ORG):
    query = {"lists": {"invites": "GET /invites"}, "projects": {"include": ["=x", "*"]}}
    return PopulationRun(run_id, "sweep", "5" * 64, "policy.yaml", (organization,), query)


def opened(path, *runs):
    return PopulationFile(
        path,
        now=NOW,
        base_url="https://cloud.mongodb.com",
        tool_version="0.1.0",
        runs=runs or (run(),),
        clock=lambda: READ_AT,
    )


def listed(*invitations, rows=None, project=ALPHA, source=Source.INVITES):
    return ListedInvitations(ListRef(project, source), InvitationList(invitations, rows))


def kept(number=1, reason="too_young", **changes):
    return Decision(invitation(number, **{"source": Source.INVITES, **changes}), None, reason)


def stale(number=1, rule="forgotten", **changes):
    return Decision(invitation(number, **{"source": Source.INVITES, **changes}), rule, None)


def summary(*decisions, run_id="run-1", **changes):
    reasons = Counter(each.keep_reason for each in decisions if each.keep_reason)
    counts = {
        "invitations_seen": len(decisions),
        "stale": sum(each.stale for each in decisions),
        "kept": reasons.total(),
        "kept_by_reason": dict(reasons),
    }
    return RunSummary(run_id, "sweep", NOW.isoformat(), **{**counts, **changes})


def written(path, *decisions, outcome=None, **changes):
    """Write one list and return the file's hash."""
    outcome = outcome or listed(*(each.invitation for each in decisions))
    with opened(path) as file:
        part = file.for_run("run-1")
        part.add_list(outcome, decisions)
        part.end(summary(*decisions, **changes))
    return part.sha256


def manifest(path):
    return json.loads(path.with_name(f"{path.name}.manifest.json").read_text("utf-8"))


def rows(path):
    text = path.read_text("utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


# --- rows ----------------------------------------------------------------------------------


def test_jsonl_has_one_object_for_each_invitation_with_its_decision(tmp_path):
    path = tmp_path / "population.jsonl"
    written(path, stale(1), kept(2, "keep:board"), kept(3, created_at=None))

    found = rows(path)
    assert [(e["invitation_id"], e["decision"], e["reason"]) for e in found] == [
        (object_id(1), "stale", "forgotten"),
        (object_id(2), "kept", "keep:board"),
        (object_id(3), "kept", "too_young"),
    ]
    assert found[0] == {
        "source": "invites",
        "complete": True,
        "invitation_id": object_id(1),
        "project_id": PROJECT,
        "project_name": "Sandbox Alpha",
        "org_id": ORG,
        "username": "person-1@example.com",
        "roles": ["GROUP_READ_ONLY"],
        "inviter": "nmtxqlkl",
        "created_at": "2026-11-05T01:00:00Z",
        "expires_at": "2026-12-05T01:00:00Z",
        "age_days": 20.0,
        "status": "PENDING",
        "decision": "stale",
        "reason": "forgotten",
        "team_ids": [],
        "project_roles": [],
        "linked_projects": [],
    }
    assert found[2]["created_at"] is found[2]["age_days"] is None


def test_csv_has_the_same_rows_under_one_header(tmp_path):
    path, same = tmp_path / "population.csv", tmp_path / "population.jsonl"
    linked = (("a" * 24, "Alpha"), ("b" * 24, "Beta"))
    of_organization = kept(
        2,
        source=Source.ORG_USERS,
        status="INVITATION_EXPIRED",
        project_roles=(("a" * 24, "GROUP_OWNER"),),
        linked_projects=linked,
    )
    decisions = stale(1, roles=("GROUP_OWNER", "GROUP_READ_ONLY")), of_organization
    written(path, *decisions)
    written(same, *decisions)

    first, second = rows(path)
    assert tuple(first) == COLUMNS
    assert (first["complete"], first["roles"]) == ("true", "GROUP_OWNER, GROUP_READ_ONLY")
    assert (second["project_id"], second["status"]) == ("", "INVITATION_EXPIRED")
    assert second["project_roles"] == f"{'a' * 24}:GROUP_OWNER"
    assert second["linked_projects"] == f"{'a' * 24}:Alpha, {'b' * 24}:Beta"
    other = rows(same)
    for row, record in zip((first, second), other, strict=True):
        assert row["invitation_id"] == record["invitation_id"]
        assert row["username"] == record["username"]
        assert float(row["age_days"]) == record["age_days"]


@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_manifest_names_run_policy_host_query_and_instant_and_the_hash(tmp_path, name):
    path = tmp_path / name
    digest = written(path, kept())

    found = manifest(path)
    assert (found["population"], found["now"]) == (name, "2026-11-25T01:00:00.000000Z")
    assert (found["host"], found["organizations"]) == ("https://cloud.mongodb.com", [ORG])
    assert (found["sha256"], found["rows"], found["complete"]) == (digest, 1, True)
    (described,) = found["runs"]
    assert (described["run_id"], described["policy_sha256"]) == ("run-1", "5" * 64)
    assert described["query"]["lists"] == {"invites": "GET /invites"}


@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_secret_in_a_name_is_in_neither_file(tmp_path, name):
    secret = "tok-population-0123456789"
    SECRETS.add(secret)
    path = tmp_path / name
    unread = ListUnreadable(PROJECT, secret, secret, 403, secret, Source.USERS, ORG)
    decisions = [kept(1, username=f"{secret}@example.com", inviter=secret)]
    with opened(path) as file:
        part = file.for_run("run-1")
        part.add_list(listed(decisions[0].invitation), decisions)
        part.add_list(unread, [])
        part.end(summary(*decisions))
    for each in tmp_path.iterdir():
        assert secret not in each.read_text("utf-8")
    assert len(rows(path)) == 1


def test_secret_in_the_query_or_an_error_is_not_in_the_manifest(tmp_path):
    secret = "tok-population-query-0123456789"
    SECRETS.add(secret)
    path = tmp_path / "population.jsonl"
    query = {"projects": {"include": [secret]}}
    runs = [run(f"run-{number}")._replace(query=query) for number in (1, 2)]
    with opened(path, *runs) as file:
        file.for_run("run-2").fail(f"refused: {secret}")
        part = file.for_run("run-1")
        part.add_list(listed(kept().invitation), [kept()])
        part.end(summary(kept()))
    failed = [each for each in manifest(path)["runs"] if each.get("failed")]
    assert [each["failed"].partition(":")[0] for each in failed] == ["refused"]
    for each in tmp_path.iterdir():
        assert secret not in each.read_text("utf-8")


# --- lists ---------------------------------------------------------------------------------


def test_list_says_how_many_rows_atlas_gave_when_and_from_which_host(tmp_path):
    path = tmp_path / "population.jsonl"
    decision = kept()
    written(path, decision, outcome=listed(decision.invitation, rows=3))

    (found,) = manifest(path)["lists"]
    assert (found["rows"], found["invitations"], found["complete"]) == (3, 1, True)
    assert found["read_at"] == "2026-11-25T01:00:07.000000Z"
    assert manifest(path)["totals"]["rows"] == 3


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        (
            ListUnreadable(PROJECT, "Alpha", "No.", 403, "NOPE", Source.USERS, ORG, 500),
            {"source": "users", "org_id": ORG, "project_id": PROJECT, "rows": 500},
        ),
        (
            ListUnreadable(ORG, "", "No.", 403, "NOPE", Source.ORG_USERS, ORG),
            {"source": "org_users", "org_id": ORG, "project_id": None, "project_name": None},
        ),
        (
            ListUnreadable("nonsense", "Alpha", "The project id is malformed."),
            {"source": None, "org_id": None, "project_id": "nonsense"},
        ),
        (
            SourceRetired(PROJECT, "Alpha", "Retired.", 410, None, Source.INVITES, ORG),
            {"source": "invites", "org_id": None, "project_id": None, "project_name": None},
        ),
    ],
    ids=["project list", "organization list", "malformed project", "retired source"],
)
def test_list_that_was_not_read_is_incomplete_and_says_why(tmp_path, outcome, fields):
    path = tmp_path / "population.jsonl"
    written(path, outcome=outcome)

    (found,) = manifest(path)["lists"]
    expected = {**fields, "complete": False, "invitations": 0, "reason": outcome.reason}
    assert found.items() >= expected.items()
    assert manifest(path)["complete"] is False
    assert manifest(path)["totals"]["lists_incomplete"] == 1


def test_project_that_is_gone_has_a_complete_and_empty_list(tmp_path):
    path = tmp_path / "population.jsonl"
    written(path, outcome=ProjectGone(PROJECT, "Alpha", ORG, Source.USERS))

    (found,) = manifest(path)["lists"]
    assert (found["source"], found["complete"], found["rows"]) == ("users", True, 0)
    assert found["reason"] == "The project no longer exists."


# --- totals --------------------------------------------------------------------------------


def test_totals_are_those_of_the_summary(tmp_path):
    path = tmp_path / "population.jsonl"
    decisions = stale(1), stale(2), kept(3), kept(4, "keep:board")
    written(path, *decisions, trimmed=1, projects_seen=1)

    last = manifest(path)["totals"]
    assert manifest(path)["complete"] is True
    assert (last["invitations_seen"], last["stale"], last["trimmed"], last["kept"]) == (4, 2, 1, 2)
    assert last["kept_by_reason"] == {"too_young": 1, "keep:board": 1}
    assert (last["projects_seen"], last["lists"], last["lists_incomplete"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [{"invitations_seen": 2}, {"stale": 0}, {"kept_by_reason": {"no_rule": 1}}],
    ids=["seen", "stale", "reasons"],
)
def test_totals_that_differ_from_the_summary_leave_no_file(tmp_path, changes):
    path = tmp_path / "population.jsonl"
    with pytest.raises(AuditLogError, match="do not add up"):
        written(path, stale(), **changes)
    assert list(tmp_path.iterdir()) == []


# --- several runs --------------------------------------------------------------------------


def test_several_runs_share_one_file_and_the_last_one_completes_it(tmp_path):
    path = tmp_path / "population.jsonl"
    one, two = stale(1), kept(2, org_id=OTHER_ORG)
    with opened(path, run("run-1"), run("run-2", OTHER_ORG)) as file:
        first, second = file.for_run("run-1"), file.for_run("run-2")
        first.add_list(listed(one.invitation), [one])
        second.add_list(listed(two.invitation), [two])
        first.end(summary(one))
        assert (first.sha256, path.exists()) == (None, False)
        second.end(summary(two, run_id="run-2"))
    found = manifest(path)
    assert first.sha256 == second.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["organizations"] == sorted([ORG, OTHER_ORG])
    runs = {run["run_id"]: run["totals"] for run in found["runs"]}
    assert {name: (t["stale"], t["kept"]) for name, t in runs.items()} == {
        "run-1": (1, 0),
        "run-2": (0, 1),
    }
    totals = found["totals"]
    assert (totals["stale"], totals["kept"], found["complete"]) == (1, 1, True)


@pytest.mark.parametrize("fails_first", [True, False])
def test_run_that_fails_is_named_and_the_file_is_not_complete(tmp_path, fails_first):
    path = tmp_path / "population.jsonl"
    one = stale(1)
    with opened(path, run("run-1"), run("run-2", OTHER_ORG)) as file:
        good, bad = file.for_run("run-1"), file.for_run("run-2")
        if fails_first:
            bad.fail("Atlas refused the credentials.")
        good.add_list(listed(one.invitation), [one])
        good.end(summary(one))
        bad.fail("Atlas refused the credentials.")
    failed = {run["run_id"]: run["failed"] for run in manifest(path)["runs"]}
    assert failed == {"run-1": None, "run-2": "Atlas refused the credentials."}
    assert (manifest(path)["complete"], manifest(path)["totals"]["stale"]) == (False, 1)


def test_file_of_which_every_run_failed_is_not_written(tmp_path):
    with opened(tmp_path / "population.jsonl", run("run-1"), run("run-2")) as file:
        file.for_run("run-1").fail("No.")
        file.for_run("run-2").fail("No.")
    assert (file.sha256, list(tmp_path.iterdir())) == (None, [])


def test_run_that_fails_after_its_lists_were_read_stays_complete(tmp_path):
    path = tmp_path / "population.jsonl"
    with opened(path) as file:
        part = file.for_run("run-1")
        part.end(summary())
        part.fail("A limit was exceeded.")
    assert manifest(path)["complete"] is True


# --- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_file_has_mode_0600_and_the_hash_is_that_of_its_bytes(tmp_path, name):
    path = tmp_path / name
    before = os.umask(0)
    try:
        digest = written(path, stale(), kept(2))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(each.name for each in tmp_path.iterdir()) == [name, f"{name}.manifest.json"]


def test_file_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "population.csv"
    path.write_text("of an earlier run", encoding="utf-8")
    with opened(path) as file:
        file.for_run("run-1").add_list(listed(invitation(source=Source.INVITES)), [stale()])
        assert path.read_text(encoding="utf-8") == "of an earlier run"
        partial = set(tmp_path.iterdir()) - {path}
        assert {each.name for each in partial} == {
            ".population.csv.run-1.partial",
            ".population.csv.manifest.json.run-1.partial",
        }
        assert {stat.S_IMODE(each.stat().st_mode) for each in partial} == {0o600}
    assert (path.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == (
        "of an earlier run",
        [path],
    )


def test_two_commands_never_write_one_temporary_file(tmp_path):
    path = tmp_path / "population.jsonl"
    with opened(path, run("run-1")) as one, opened(path, run("run-2")) as two:
        one.for_run("run-1").end(summary())
        first = path.read_bytes()
        two.for_run("run-2").end(summary(run_id="run-2"))
    assert one.sha256 == hashlib.sha256(first).hexdigest()
    assert two.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("place", ["folder.csv", "pipe.csv"])
def test_file_that_cannot_be_created_is_a_usage_error(tmp_path, place):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        opened(tmp_path / place)
    assert caught.value.hint


@pytest.mark.parametrize("size", [100, 1000, 300_000], ids=["head", "list", "rows"])
def test_disk_that_fills_up_is_an_error_and_leaves_no_file(tmp_path, size):
    script = (
        "import resource, signal, sys\n"
        "sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\n"
        "from report.test_population import opened, listed, stale, summary\n"
        "from invite_sweeper.errors import AuditLogError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "many = [stale(n) for n in range(2000)]\n"
        "try:\n"
        "    with opened(Path(sys.argv[1])) as file:\n"
        "        part = file.for_run('run-1')\n"
        "        part.add_list(listed(*(each.invitation for each in many)), many)\n"
        "        part.end(summary(*many))\n"
        "except AuditLogError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "population.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(size), *import_path()],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert "cannot be written: File too large. Nothing was deleted." in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def import_path():
    tests = Path(__file__).parents[2]
    return [str(tests), str(tests / "unit")]


def test_file_with_a_failed_write_is_never_completed(tmp_path, monkeypatch):
    """Another run of the command may go on after the error of one."""
    path = tmp_path / "population.jsonl"
    with opened(path, run("run-1"), run("run-2")) as file:
        first, second = file.for_run("run-1"), file.for_run("run-2")
        many = [stale(number) for number in range(2000)]
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full_disk)
            with pytest.raises(AuditLogError, match="No space left"):
                first.add_list(listed(*(each.invitation for each in many)), many)
        with pytest.raises(AuditLogError, match="an earlier write failed"):
            first.fail("The disk is full.")
        with pytest.raises(AuditLogError, match="an earlier write failed"):
            second.end(summary(run_id="run-2"))
    assert list(tmp_path.iterdir()) == []


def full_disk(fd, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- spreadsheets --------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(),
    st.sampled_from(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n# totals: {}", 'a",=1']),
    st.builds(lambda a, b, c: a + b + c, st.text(), st.sampled_from([",", ";", "\t"]), st.text()),
)


def is_formula(cell):
    return cell.startswith(("\t", "\r", "\n")) or cell.lstrip().startswith(("=", "+", "-", "@"))


@example(username="=1", project="a", inviter="b", role="c", reason="d", more=False)
@example(username="a", project="+1", inviter="@b", role="-c", reason="=d", more=False)
@example(username="a;=1", project=";+1", inviter=";\uff1d1", role=";=", reason=";-", more=False)
@example(username="a", project="a,;=1", inviter="b", role=";=", reason="d", more=True)
@given(username=TEXTS, project=TEXTS, inviter=TEXTS, role=TEXTS, reason=TEXTS, more=st.booleans())
def test_no_text_becomes_a_formula_or_a_line_of_its_own(
    tmp_path_factory, username, project, inviter, role, reason, more
):
    path = tmp_path_factory.mktemp("formulas") / "population.csv"
    named = Project(PROJECT, project, ORG)
    decision = kept(
        1,
        username=username,
        project_name=project,
        inviter=inviter,
        roles=(role, "=x") if more else (role,),
    )
    with opened(path) as file:
        part = file.for_run("run-1")
        part.add_list(listed(decision.invitation, project=named), [decision])
        unread = ListUnreadable(PROJECT, project, reason, 500, role, Source.INVITES, ORG)
        part.add_list(unread, [])
        part.end(summary(decision))
    data = path.read_bytes()
    for delimiter in ",;\t":
        text = data.decode("utf-8")
        table = list(csv.reader(text.split("\n"), delimiter=delimiter))
        assert not [cell for line in table for cell in line if is_formula(cell)]
    lines = data.decode("utf-8").split("\n")
    assert (len(lines), lines[-1]) == (3, "")
    assert not [
        c for c in data.decode("utf-8").replace("\n", "") if unicodedata.category(c) == "Cc"
    ]


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_formula_gets_an_apostrophe(start):
    assert neutralize_formula(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize("text", ["", "ada@example.com", "a=1", "'=1", "1-2"])
def test_other_text_is_unchanged(text):
    assert neutralize_formula(text) == text


# --- memory --------------------------------------------------------------------------------

MEMORY = """
import resource, sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from report.test_population import opened, listed, kept
from invite_sweeper.sweep.summary import RunSummary
with opened(Path(sys.argv[1])) as file:
    part = file.for_run("run-1")
    count = int(sys.argv[2])
    many = [kept(number) for number in range(1000)]
    outcome = listed(*(each.invitation for each in many))
    for _ in range(count // 1000):
        part.add_list(outcome, many)
    part.end(RunSummary("run-1", "sweep", "", invitations_seen=count,
                        kept_by_reason={"too_young": count}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(path, count):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(count), *import_path()],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    )
    return int(done.stdout)


@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_memory_is_flat_at_50_000_rows(tmp_path, name):
    few, many = (peak_kib(tmp_path / name, count) for count in (2_000, 50_000))
    assert many - few < 4 * 1024
    assert (tmp_path / name).stat().st_size > 10_000_000


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["population.csv", "population.jsonl"])
def test_memory_is_flat_at_1_000_000_rows(tmp_path, name):
    few, many = (peak_kib(tmp_path / name, count) for count in (2_000, 1_000_000))
    assert many - few < 4 * 1024

"""Audit logs and JSON results of whole runs, compared with the files in `golden`.

Values that vary from run to run (times, run ids, hashes, the port, durations) are masked.
Everything else must be identical: events, fields, their order, their format. After an intended
change of the contract, write the files again: UPDATE_SNAPSHOTS=1 pytest tests/commands
"""

import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import faults
import pytest
from builders import object_id
from running import CliRunner, cli_in

from invite_sweeper.simulator.seed import ORG_ID

GOLDEN = Path(__file__).parent / "golden"
ALPHA = object_id(0xA)
BETA = object_id(0xB)
OLD = timedelta(days=20)


@pytest.fixture
def cli(tmp_path):
    """Two lists, one of them unreadable, and one request at a time."""
    with cli_in(tmp_path) as made:
        sim = made.sim
        numbers = count(0x101)
        sim.new_id = lambda _moment: object_id(next(numbers))  # not the time
        sim.set_bucket("invitations_ip")
        sim.add_project("Sandbox Alpha", project_id=ALPHA)
        sim.add_project("Sandbox Beta", project_id=BETA)
        unreadable = faults.fail_with(500)
        sim.faults.add(unreadable, method="GET", path=f"*/groups/{BETA}/invites", times=None)
        rule = {"name": "forgotten", "older_than": "14d", "statuses": ["PENDING"]}
        made.keys |= {
            "rules": [rule],
            "sources": ["invites", "org_users"],
            "execution": {"concurrency": 1, "attempts": 1},
        }
        made.keys["limits"] |= {"canary": 1, "breaker_window": 2, "max_failure_share": 0.5}
        yield made


def invite(cli: CliRunner, number: int, name: str, **more: object) -> str:
    return cli.sim.invite(ALPHA, f"{name}@example.com", age=OLD, id=object_id(number), **more)


def add_user(cli: CliRunner, name: str, **more: object) -> str:
    return cli.sim.add_user(f"{name}@example.com", age=OLD, **more)


def add_users(cli: CliRunner) -> None:
    """Add invitations, and what happens to the deletion of each."""
    sim = cli.sim
    add_user(cli, "1-removed", group_roles={ALPHA: ["GROUP_OWNER"]}, team_ids=[object_id(0xC)])
    member = add_user(cli, "2-accepted-before")
    accept = faults.effect(before=lambda _: sim.set_status(member, "ACTIVE"))
    sim.faults.add(accept, method="GET", path=f"*/orgs/{ORG_ID}/users/{member}")
    invite(cli, 1, "deleted", roles=["GROUP_OWNER", "GROUP_READ_ONLY"])
    gone = invite(cli, 2, "already-gone")
    withdraw = faults.effect(before=lambda _: sim.groups[ALPHA].invites.pop(gone))
    sim.faults.add(withdraw, method="DELETE", path=f"*/invites/{gone}")
    invite(cli, 9, "deleted-too", inviter=None)
    invite(cli, 3, 'na\u00efve "quoted" \\ \u202e name', inviter="ada@example.com")
    for status, outcome in ((400, "failed"), (503, "unknown")):
        refused = add_user(cli, f"3-{outcome}")
        sim.faults.add(faults.fail_with(status), method="DELETE", path=f"*/users/{refused}")
    add_user(cli, "4-skipped")
    fraction = (sim.clock() - OLD - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.123Z")
    invite(cli, 4, "no-expiry", expiresAt=None)
    invite(cli, 6, "fraction", createdAt=fraction)
    invite(cli, 7, "expires-soon", expiresAt="soon")
    sim.invite(ALPHA, "too-young@example.com", age=timedelta(days=1))


class Masked:
    """Replaces what varies; each run id and each hash becomes a distinct number."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._known: dict[str, str] = {"0" * 64: "0" * 64}

    def text(self, text: str) -> str:
        text = text.replace(self._folder, "FOLDER")
        text = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", self._numbered("run"), text)
        text = re.sub(r"\b[0-9a-f]{64}\b", self._numbered("hash"), text)
        text = re.sub(r"\d{4}-\d\d-\d\d", "0000-00-00", text)
        text = re.sub(r"(?<=0000-00-00T)\d\d:\d\d:\d\d", "00:00:00", text)
        text = re.sub(r"(?<=:00)\.\d{6}(?=Z)", ".000000", text)
        text = re.sub(r"(?<=//127\.0\.0\.1:)\d+", "0", text)
        text = re.sub(r'(?<="duration_ms":)\d+\.\d(?=,|})', "0.0", text)
        text = re.sub(r'(?<="duration_s":)\d+\.\d+', "0.0", text)
        return re.sub(r'(?<="tool_version":")[^"]+', "0", text)

    def _numbered(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda found: self._known.setdefault(
            found[0], f"{kind}-{sum(each.startswith(kind) for each in self._known.values()) + 1}"
        )


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, "utf-8")
    assert text.splitlines() == path.read_text("utf-8").splitlines()
    assert text == path.read_text("utf-8")


def log_of(cli: CliRunner, masked: Masked) -> str:
    assert cli.run("audit", "verify", "audit").code == 0
    return masked.text("".join(path.read_text("utf-8") for path in cli.run_files()))


def test_audit_log_and_json_result_of_dry_run_sweep_and_restore_are_the_golden_files(cli):
    add_users(cli)
    masked = Masked(cli.folder)
    assert cli.plan().code == 4
    swept = cli.sweep()
    assert {line["outcome"] for line in cli.lines("outcome")} == {
        *("deleted", "already_gone", "accepted_before", "failed", "unknown", "skipped")
    }
    invite(cli, 8, "deleted", roles=["GROUP_OWNER", "GROUP_READ_ONLY"])  # again
    assert cli.plan().code == 4
    cli.sim.faults.add(faults.fail_with(400), method="POST", path=f"*/groups/{ALPHA}/invites")
    restored = cli.run("restore", "2", "--policy", "policy.yaml", "--output", "json")
    assert restored.code == 4, restored.err
    assert_golden("audit_log.jsonl", log_of(cli, masked))
    assert_golden("sweep.json", masked.text(swept.out))
    assert_golden("restore.json", masked.text(restored.out))


def cut_after_first(cli: CliRunner, event: bytes) -> None:
    """Cut the last file as if its run had been killed just after its first line of that event."""
    lines = cli.log_path.read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b'"event":"%b"' % event in line)
    cli.log_path.write_bytes(b"".join(lines[: last + 1]))
    head = cli.audit_dir / "HEAD"
    was = json.loads(head.read_bytes())
    began = {"last_hash": json.loads(lines[0])["prev"], "ended": False}
    head.write_text(json.dumps(was | began), "utf-8")


def test_audit_log_of_recovered_runs_is_the_golden_file(cli):
    cli.keys["sources"] = ["invites"]
    invite(cli, 1, "first")
    invite(cli, 2, "second")
    assert cli.sweep().code == 4
    cut_after_first(cli, b"intent")
    assert cli.sweep().code == 4
    invite(cli, 3, "third")
    assert cli.sweep().code == 4
    assert cli.run("restore", "3").code == 0
    cut_after_first(cli, b"intent")
    assert cli.sweep().code == 4
    assert_golden("audit_log_recovered.jsonl", log_of(cli, Masked(cli.folder)))

"""`doctor` takes the steps of a sweep, and its exit code is the one that a sweep would have."""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta

import faults
import pytest
from builders import NOW, OTHER_ORG
from report.scenes import run, write
from running import wait_until

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.cli.doctor import diagnose
from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.keys["sources"] = ["invites", "users", "org_users"]
    cli.keys["rules"].append({"name": "p", "older_than": "21d", "statuses": ["PENDING"]})
    cli.project = cli.sim.add_project("Search")
    cli.sim.invite(cli.project, "ada@example.com", age=20 * DAYS)
    return cli


async def diagnosis_of(cli, *, notify=False, changes=None, **options):
    options = {"policy": cli.write_policy(), "base_url": cli.base_url, "quiet": True, **options}
    environment = cli.environment_with(changes or {})
    return await diagnose(environment, notify=notify, **options)


async def checks_of(cli, *, code=0, **more):
    result = await diagnosis_of(cli, **more)
    assert result.exit_code == code, result
    return result.checks


def named(checks, name):
    return [check for check in checks if check.check == name]


def states(checks, name):
    return {check.state for check in named(checks, name)}


def messages(checks, name):
    return " ".join(f"{check.message} {check.hint}" for check in named(checks, name))


async def test_sound_setup_ends_with_0_and_lists_every_check(cli):
    result = await diagnosis_of(cli)
    checks = result.checks
    assert {check.state for check in checks} == {"ok"}
    assert (result.exit_code, result.verdict) == (0, "All checks passed: a sweep would run.")
    assert [check.check for check in checks] == [
        *("policy", "audit directory", "earlier runs", "credentials"),
        *("sunset invites", "clock", "limits"),
        *("scope", "list invites", "list users", "list org_users"),
    ]
    granted = "1 entry in 1 list; the role Project Owner is granted"
    assert granted in messages(checks, "list invites")
    assert "Within the limits. 1 invitation; stale 1." in messages(checks, "limits")
    assert f"{cli.sim.sunsets['invites']}" in messages(checks, "sunset invites")
    assert {check.organization for check in checks[-4:]} == {ORG_ID}
    assert {check.organization for check in checks[:-4]} == {None}


async def test_doctor_sends_only_gets_and_creates_no_file(cli):
    cli.account = cli.sim.add_service_account()
    files = {"metrics_file": cli.folder / "run.prom", "out": cli.folder / "plan.jsonl"}
    assert named(await checks_of(cli, **files), "metrics file")
    assert {each.method for each in cli.sim.requests if "/oauth/" not in each.path} == {"GET"}
    assert [path.name for path in cli.folder.iterdir()] == ["policy.yaml"]
    assert len(cli.sim.oauth.tokens) == 1  # that of the fixture alone: its own is revoked


def swept(cli):
    assert cli.sweep().code == 0


def over_limit(cli):
    cli.keys["limits"]["max_deletions"] = 0


def refused(cli):
    over_limit(cli)
    assert cli.sweep().code == 3
    cli.keys["limits"]["max_deletions"] = 9


def role_missing(cli):
    cli.sim.limit_access(cli.sim.add_project("Vault"))


def unreadable(cli):
    cli.keys["limits"]["max_unreadable_projects"] = 0
    role_missing(cli)


def only_read(cli):
    cli.keys["sources"] = ["users"]
    cli.sim.limit_access(cli.project)


def only_read_organization(cli):
    cli.keys["sources"] = ["org_users"]
    cli.sim.limit_access(ORG_ID)


def secret_unread(cli):
    cli.account = cli.sim.add_service_account()
    cli.sim.faults.add(faults.role_missing(), path="*/serviceAccounts/*", times=None)


def ending(cli):
    cli.sim.sunsets["invites"] = (cli.sim.clock() + 170 * DAYS).date()
    cli.keys["sources"] = ["invites", "users"]


def retired(cli):
    """Retire a list before the day that Atlas announced, and that a run has recorded."""
    assert cli.plan().code == 0
    cli.sim.retired.add("invites")


def world_writable(cli):
    cli.audit_dir.mkdir()
    cli.audit_dir.chmod(0o777)


def clock_off(cli):
    cli.sim.date_offset = timedelta(minutes=2)


ENDS = {
    "no credentials": (
        lambda cli: cli.changes.update(MONGODB_ATLAS_ACCESS_TOKEN=None),
        2, "credentials", "failed", "MONGODB_ATLAS_CLIENT_ID",
    ),
    "refused credentials": (
        lambda cli: cli.changes.update(MONGODB_ATLAS_ACCESS_TOKEN="wrong"),
        5, "credentials", "failed", "",
    ),
    "no visible project": (
        lambda cli: cli.keys.update(organizations=[OTHER_ORG]),
        3, "no visible project", "failed", "",
    ),
    "a clock 2 minutes off": (clock_off, 4, "clock", "warning", "differs from Atlas's by"),
    "more stale invitations than a limit": (over_limit, 3, "limits", "failed", "max_deletions: 0"),
    "a secret that the role may not read": (
        secret_unread, 0, "secret", "ok", "requires the role Organization Read Only.",
    ),
    "more unreadable projects than the limit": (unreadable, 3, "limits", "failed", "Vault"),
    "a missing role": (
        role_missing, 4, "list invites", "warning",
        "requires the role Project Owner. Grant the credentials the role Project Owner there",
    ),
    "a role in a project that reads, and may or may not delete": (
        only_read, 4, "list users", "ok",  # the policy reads no list of the organization
        "only a deletion can prove the role Project Access Manager or Project Owner.",
    ),
    "a role in the organization that reads and does not delete": (
        only_read_organization, 4, "list org_users", "warning",
        "deleting requires Organization Owner, and Atlas refused the list org_invites. Grant the",
    ),
    "a list that ends in 170 days": (
        ending, 4, "sunset", "warning", "write users and org_users instead",
    ),
    "a retired list": (retired, 4, "retired source", "warning", ""),
    "a retired list alone": (
        lambda cli: (retired(cli), cli.keys.update(sources=["invites"])),
        6, "unreachable", "failed", "",
    ),
    "an audit directory that all can write": (
        world_writable, 7, "audit directory", "failed", "Every user can write",
    ),
    "an earlier run": (swept, 0, "earlier runs", "ok", "1 deleted · Example Industries"),
    "a refusal of the last run": (
        refused, 4, "earlier runs", "warning", "1 stale invitation is over max_deletions: 0",
    ),
}  # fmt: skip
"""What a sweep would find, the exit code, and the check that reports it: its state and words."""


@pytest.mark.parametrize(("prepare", "code", "check", "state", "words"), ENDS.values(), ids=ENDS)
async def test_check_has_its_state_and_the_command_the_exit_code(
    cli, prepare, code, check, state, words
):
    prepare(cli)
    checks = await checks_of(cli, code=code)
    assert state in states(checks, check)
    assert words in messages(checks, check)
    assert code != 2 or cli.sim.requests == []
    failed = [each.message for each in checks if each.state == "failed"]
    assert len(failed) == len(set(failed)), "each error is reported once"
    assert code in {0, 4} or cli.sweep().code == code


async def test_run_that_holds_the_lock_is_left_and_warned_of_once_it_was_killed(cli):
    cli.sim.faults.add(faults.hang(), method="DELETE", path="*")
    process = cli.fork("sweep")
    wait_until(cli.deletes)
    (check,) = named(await checks_of(cli, code=9), "audit directory")
    assert f"process {process.pid}" in check.message
    process.kill()
    process.communicate(timeout=60)
    (check,) = named(await checks_of(cli, code=4), "earlier runs")
    assert "1 of 1 planned without an outcome (1 of them may have been sent)" in check.message
    assert check.hint.startswith("If the run is still running, wait. If it was killed,")
    assert check.command
    assert check.command not in check.hint
    cli.sim.faults.rules.clear()
    _, *words = shlex.split(check.command)
    assert cli.run(*words).code == 0
    assert "warning" not in states(await checks_of(cli), "earlier runs")


def test_a_nightly_job_that_does_not_start_any_more_is_a_warning_also_with_q(cli):
    now = datetime.now(UTC)
    for days in range(9, 3, -1):
        write(run(), AuditDirectory(cli.audit_dir), days_ago=days + (NOW - now) / DAYS)
    quiet = cli.run("doctor", "-q")
    first, last = now - 9 * DAYS, now - 1 * DAYS
    text = f"Of the 9 nights from {first:%F} to {last:%F}: 6 done, 3 without a run ("
    assert (quiet.code, f"nights  {text}" in quiet.out) == (4, True)
    assert "Check the schedule" in quiet.out
    assert "The last run, 6 of" not in quiet.out  # it was done
    assert text in " ".join(cli.run("audit", "show").out.split())


def test_text_has_a_line_per_check_with_the_hint_below_and_quiet_those_that_are_not_ok(cli):
    done = cli.run("doctor", "-q")
    assert (done.code, done.out) == (0, "")
    cli.sim.limit_access(cli.sim.add_project("Va\x1b[2Kult"))
    done = cli.run("doctor")
    quiet = cli.run("doctor", "-q")
    assert (done.code, quiet.code) == (4, 4)
    assert "\x1b" not in done.out
    *lines, verdict = done.out.splitlines()
    assert verdict == "1 warning: a sweep would run, but may not do everything that is expected."
    header, *rows = [line for line in lines if re.search(r"  (ok|warning|failed|OUTCOME)$", line)]
    assert header.split() == ["CHECK", "WHERE", "FOUND", "OUTCOME"]
    (row,) = [line for line in rows if line.endswith("  warning")]
    assert re.match(r"list invites {2,}Example Industries {2,}", row)
    at = next(n for n, line in enumerate(lines) if line.startswith("list invites  1 list cannot"))
    assert lines[at + 1].strip().startswith("Grant the credentials the role")
    shown = [re.split(" {2,}", line) for line in quiet.out.splitlines()]
    assert shown[1] == re.split(" {2,}", row)
    assert "ok" not in [cells[-1] for cells in shown]


@pytest.mark.parametrize(
    ("words", "name", "code"),
    [
        (("--base-url", "https://atlas.example.com"), "proxy", 2),
        (("--out", "absent/plan.jsonl"), "outputs", 2),
        (("--out", "policy.yaml"), "outputs", 2),
        (("--metrics-file", "absent/run.prom"), "metrics file", 4),
        (("--metrics-file", "."), "outputs", 2),
    ],
    ids=str,
)
def test_file_or_proxy_that_a_sweep_cannot_use_ends_as_the_sweep_would(cli, words, name, code):
    cli.changes["HTTPS_PROXY"] = "ada:p4ssw0rd@proxy:3128"
    done = cli.run("doctor", "-o", "json", *words)
    assert "p4ssw0rd" not in done.out + done.err
    found = {(c["check"], c["state"]) for c in json.loads(done.out)["checks"]}
    assert (name, "warning" if code == 4 else "failed") in found
    assert (done.code, cli.plan(*words).code) == (code, 0 if code == 4 else code)


RECEIVERS = [
    {"kind": "ping", "url_env": "PING_URL"},
    {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY"},
    {"kind": "slack", "url_env": "CHAT_URL"},
]


async def test_receivers_are_reached_without_a_message(cli, receiver):
    cli.keys["notify"] = [*RECEIVERS, {"kind": "ping", "url_env": "CHAT_URL_CLOSED"}]
    cli.changes |= {"PING_URL": f"{receiver.url}/s3cret", "HOOK_URL": f"{receiver.url}/hook"}
    cli.changes["CHAT_URL_CLOSED"] = "http://127.0.0.1:9/s3cret"
    receiver.status = 404
    checks = await checks_of(cli, code=4, pushgateway=receiver.url)
    assert {*receiver.methods} == {"HEAD"}
    assert {path for path, *_ in receiver.requests} == {"/"}
    assert states(checks, "ping (PING_URL)") == states(checks, "pushgateway") == {"ok"}
    assert "HOOK_KEY is not set" in messages(checks, "webhook (HOOK_URL)")
    assert "CHAT_URL is not set" in messages(checks, "slack (CHAT_URL)")
    unreached = messages(checks, "ping (CHAT_URL_CLOSED)")
    assert all(words in unreached for words in ("127.0.0.1: connection refused", "HTTPS_PROXY"))
    assert "s3cret" not in str(checks)


async def test_notify_sends_each_receiver_a_test_message(cli, receiver):
    cli.keys["notify"] = RECEIVERS
    cli.changes |= dict.fromkeys(("PING_URL", "HOOK_URL", "CHAT_URL"), receiver.url)
    checks = await checks_of(cli, notify=True, changes={"HOOK_KEY": "k3y"})
    assert messages(checks, "slack (CHAT_URL)") == "It accepted a test message. "
    assert receiver.methods == ["POST"] * 3
    sent = b"test message of `invite-sweeper doctor --notify`"
    assert all(sent in body for *_, body in receiver.requests)
    _, headers, body = receiver.requests[1]
    assert headers["webhook-signature"].startswith("v1,")
    assert json.loads(body)["test"] is True


async def test_one_of_two_organizations_that_is_refused_ends_with_4_as_a_sweep_would(several):
    wrong = {"MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": "wrong"}
    result = await diagnosis_of(several, changes=wrong)
    (found,) = [check for check in result.checks if check.state == "failed"]
    assert (found.check, found.organization, found.exit_code) == ("credentials", ORG_ID, 4)
    assert "Atlas refused the credentials" in found.message
    assert result.verdict == "1 failed: a sweep would end with exit code 4 (partly done)."
    assert several.sweep(**wrong).code == result.exit_code

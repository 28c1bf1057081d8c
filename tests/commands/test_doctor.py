"""`doctor` as a process: its checks, and the exit code that a sweep would end with."""

import base64
import io
import json
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import faults
import pytest
from rich.console import Console
from running import wait_until

from invite_sweeper.cli.doctor import show
from invite_sweeper.doctor.diagnosis import Diagnosis, warning
from invite_sweeper.simulator import Access, Federation
from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
OTHER = "0123456789abcdef01234567"


@pytest.fixture
def cli(cli):
    cli.keys["sources"] = ["invites", "users"]
    cli.keys["rules"].append({"name": "p", "older_than": "21d", "statuses": ["PENDING"]})
    cli.project = cli.sim.add_project("Search")
    cli.sim.invite(cli.project, "ada@example.com", age=20 * DAYS)
    return cli


def checks_of(cli, *arguments, code=0, **changes):
    """Return the checks of one run of `doctor`."""
    done = cli.run("doctor", "--policy", "policy.yaml", "--output", "json", *arguments, **changes)
    assert done.code == code, (done.out, done.err)
    report = json.loads(done.out)
    assert report["exit_code"] == code
    return report["checks"]


def named(checks, name):
    return [check for check in checks if check["check"] == name]


def states(checks, name):
    return {check["state"] for check in named(checks, name)}


def messages(checks, name):
    return " ".join(check["message"] for check in named(checks, name))


def token(expires_s):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_s}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2lnbmF0dXJl"


def test_sound_setup_ends_with_0_and_lists_every_check(cli):
    checks = checks_of(cli)
    assert {check["state"] for check in checks} == {"ok", "note"}
    assert states(checks, "sunset invites") == {"note"}
    assert {check["check"] for check in checks} >= {
        "policy",
        "base URL",
        "credentials",
        "lock",
        "earlier runs",
        "audit folder",
        "audit log",
        "access list",
        "organizations",
        "list invites",
        "coverage",
        "sunset invites",
        "clock",
    }
    assert "1 pending in 1 list; the role Project Owner is granted" in messages(
        checks, "list invites"
    )
    assert "leaves 1080" in messages(checks, "rate limit projects_group")
    assert "2027-07-01" in messages(checks, "sunset invites")
    assert ORG_ID in messages(checks, "organizations")


def test_doctor_sends_only_gets_and_creates_no_file(cli):
    cli.account = cli.sim.add_service_account()
    checks_of(cli)
    sent = {(a.method, a.path) for a in cli.sim.requests if "/oauth/" not in a.path}
    assert {method for method, _ in sent} == {"GET"}
    assert [path.name for path in cli.folder.iterdir()] == ["policy.yaml"]
    assert cli.sim.oauth.live_token_count(cli.account) == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("add_service_account", "Service account mdb_sa_id_"),
        ("add_api_key", "API key "),
        ("add_token", "Access token"),
    ],
)
def test_kind_and_name_of_the_credentials_are_shown_without_their_secret(cli, kind, words):
    cli.account = getattr(cli.sim, kind)()
    done = cli.run("doctor", "--policy", "policy.yaml", "--output", "json")
    assert words in messages(json.loads(done.out)["checks"], "credentials")
    assert cli.account.secret not in done.out + done.err


def test_expiry_of_a_jwt_is_ok_above_an_hour_warns_below_and_fails_once_past(cli):
    tomorrow, soon, past = (time.time() + s for s in (86_400, 600, -600))
    for expires_s, state in ((tomorrow, "ok"), (soon, "warning"), (past, "failed")):
        cli.account.secret = token(int(expires_s))
        cli.sim.accounts.add(cli.account)
        done = cli.run("doctor", "--policy", "policy.yaml", "--output", "json")
        (check,) = named(json.loads(done.out)["checks"], "credentials")
        assert check["state"] == state
        assert "expire" in check["message"]
        assert done.code == {"ok": 0, "warning": 4, "failed": 5}[state]


def test_invalid_policy_fails_and_the_other_checks_run(cli):
    cli.keys["rulez"] = []
    checks = checks_of(cli, code=2)
    (check,) = named(checks, "policy")
    assert (check["state"], check["message"]) == ("failed", "policy.yaml has 1 error.")
    command = "invite-sweeper validate policy.yaml"
    assert check["hint"] == f"List them with: {command}"
    assert "rulez" in cli.run(*command.split()[1:]).err
    assert states(checks, "clock") == {"ok"}
    assert "1 project visible" in messages(checks, "organizations")


def swept(cli, *change):
    """Sweep, and replace a part of the log."""
    assert cli.sweep().code == 0
    cli.log_path.write_bytes(cli.log_path.read_bytes().replace(*change or (b"", b"")))


def unreadable(cli):
    cli.keys["limits"]["max_unreadable_projects"] = 0
    cli.sim.limit_access(cli.sim.add_project("Vault"), Access.READ)


def retired(cli):
    cli.sim.versions.retired.add(("invites", "*"))


def covered(cli):
    cli.keys["sources"] = ["invites", "org_users"]
    cli.sim.add_user("bo@example.com", group_roles={cli.project: ("GROUP_OWNER",)})


def world_writable(cli):
    (cli.folder / "audit").mkdir()
    (cli.folder / "audit").chmod(0o777)


def clock_off(minutes):
    return lambda cli: setattr(cli.sim, "date_offset", timedelta(minutes=minutes))


def ending_secret(cli):
    cli.account = cli.sim.add_service_account()
    cli.account.secrets_expire_at = (datetime.now(UTC) + 5 * DAYS,)


def federated(cli):
    federation = Federation("5" * 24, ("example.com",), ("example.com",))
    cli.sim.organizations[ORG_ID].federation = federation
    cli.sim.add_user("eve@elsewhere.org", age=DAYS, group_roles={cli.project: ["GROUP_OWNER"]})


KEEP = [{"name": "old", "usernames": ["*"], "until": "2020-01-31"}]
ENDS = {
    "a warning of the policy": (
        lambda cli: cli.keys.update(keep=KEEP), 4, "policy", "warning", "ended on 2020-01-31",
    ),
    "a glob that matches no project": (
        lambda cli: cli.keys.update(projects={"exclude": ["prod-*"]}),
        4, "policy", "warning", "matched no project",
    ),
    "refused credentials": (
        lambda cli: cli.changes.update(MONGODB_ATLAS_ACCESS_TOKEN="wrong"),
        5, "credentials", "failed", "",
    ),
    "an address outside the access list": (
        lambda cli: setattr(cli.account, "access_list", ("203.0.113.7",)),
        5, "access list", "failed", "",
    ),
    "an Atlas that cannot be reached": (
        lambda cli: cli.sim.faults.add(faults.fail_with(500), path="*/groups", times=99),
        6, "Atlas", "failed", "",
    ),
    "no visible project": (
        lambda cli: cli.keys.update(organizations=[OTHER]), 3, "organizations", "failed", "",
    ),
    "one organization without a visible project": (
        lambda cli: cli.keys.update(organizations=[ORG_ID, OTHER]),
        4, "organizations", "warning", OTHER,
    ),
    "a clock 2 minutes off": (clock_off(2), 4, "clock", "warning", ""),
    "a clock 6 minutes off": (clock_off(6), 3, "clock", "failed", ""),
    "more unreadable projects than the limit": (unreadable, 3, "lists", "failed", ""),
    "a retired list": (retired, 4, "list invites", "warning", ""),
    "a retired list alone": (
        lambda cli: (retired(cli), cli.keys.update(sources=["invites"])), 6, "lists", "failed", "",
    ),
    "a list without an end": (
        lambda _: None, 0, "sunset", "ok", "Lists without a sunset date from Atlas: users.",
    ),
    "a user who is in a list of the policy, too": (covered, 0, "coverage", "ok", ""),
    "a secret that ends in 5 days": (ending_secret, 4, "secret", "warning", ""),
    "an address that the federation does not accept": (
        federated, 4, "domains", "warning", "eve@elsewhere.org",
    ),
    "an audit folder that all can write": (world_writable, 7, "audit folder", "failed", ""),
    "a damaged log": (
        lambda cli: swept(cli, b'"run_started",', b'"run_started"'),
        3, "earlier runs", "failed", "",
    ),
    "an earlier run": (swept, 0, "earlier runs", "ok", "(sweep), ended with exit code 0"),
}  # fmt: skip
"""What a sweep would find, its exit code, and the check that says so: its state and words."""


@pytest.mark.parametrize(("prepare", "code", "check", "state", "words"), ENDS.values(), ids=ENDS)
def test_check_has_its_state_and_the_command_the_exit_code(cli, prepare, code, check, state, words):
    prepare(cli)
    checks = checks_of(cli, code=code)
    assert state in states(checks, check)
    assert words in messages(checks, check)


def test_missing_credentials_name_the_variables_and_atlas_is_not_called(cli):
    checks = checks_of(cli, code=2, MONGODB_ATLAS_ACCESS_TOKEN=None)
    (check,) = named(checks, "credentials")
    assert "MONGODB_ATLAS_CLIENT_ID" in check["hint"]
    assert cli.sim.requests == ()


def test_invalid_base_url_ends_with_2_and_the_other_checks_run(cli):
    checks = checks_of(cli, code=2, MONGODB_ATLAS_BASE_URL="ftp://atlas.example.com")
    assert (states(checks, "base URL"), states(checks, "policy")) == ({"failed"}, {"ok"})
    assert "Not called" in messages(checks, "Atlas")
    assert cli.sim.requests == ()


def test_invalid_proxy_ends_with_2_and_the_other_checks_run(cli):
    other_url = ("--base-url", "https://atlas.example.com")
    free = dict.fromkeys(("https_proxy", "NO_PROXY", "no_proxy"))
    checks = checks_of(cli, *other_url, code=2, HTTPS_PROXY="ada:p4ssw0rd@proxy:3128", **free)
    assert (states(checks, "proxy"), states(checks, "lock")) == ({"failed"}, {"ok"})
    assert "HTTPS_PROXY" in messages(checks, "proxy")
    assert "p4ssw0rd" not in json.dumps(checks)


def test_invalid_audit_path_ends_with_2_and_the_other_checks_run(cli):
    checks = checks_of(cli, "--audit-log", "audit/{week}.jsonl", code=2)
    assert states(checks, "audit log") == {"failed"}
    assert states(checks, "organizations") == {"ok"}
    assert named(checks, "lock") == []


def test_missing_role_names_the_project(cli):
    vault = cli.sim.add_project("Vault")
    cli.sim.limit_access(vault, Access.READ)
    checks = checks_of(cli, code=4)
    (check,) = named(checks, "list invites")
    assert check["message"] == "The role is missing in 1 project: Vault."
    assert "Project Owner" in check["hint"]


def test_excluded_projects_are_listed_with_their_pending_count(cli):
    cli.keys["projects"] = {"exclude": ["prod-*"]}
    prod = cli.sim.add_project("prod-billing")
    cli.sim.invite(prod, "bo@example.com")
    cli.sim.invite(prod, "cy@example.com")
    found = messages(checks_of(cli), "coverage")
    assert "1 of 2 projects is in scope." in found
    assert "Out of scope: prod-billing; 2 pending there." in found


def test_users_pending_only_in_other_lists_are_a_warning(cli):
    cli.keys["sources"] = ["invites"]
    cli.sim.add_user("bo@example.com", group_roles={cli.project: ("GROUP_OWNER",)})
    cli.sim.add_user("cy@example.com")
    found = [c for c in named(checks_of(cli, code=4), "coverage") if c["state"] == "warning"]
    assert [check["message"].split(" which")[0] for check in found] == [
        "1 user is pending only in the list users,",
        "2 users are pending only in the list org_users,",
        "2 users are pending only in the list org_invites,",
    ]
    assert found[1]["hint"] == "Add org_users to sources."


def test_lock_held_by_another_run_ends_with_9_and_names_it(cli):
    cli.sim.faults.add(faults.hang(), path="*/groups")
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(cli.sim.request_log.received.total)
    (check,) = named(checks_of(cli, code=9), "lock")
    process.kill()
    process.communicate(timeout=60)
    assert f"process {process.pid}" in check["message"]


def test_text_has_a_line_per_check_with_the_hint_below(cli):
    cli.sim.limit_access(cli.sim.add_project("Va\x1b[2Kult"), Access.READ)
    done = cli.run("doctor", "--policy", "policy.yaml")
    assert done.code == 4
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("warning  list invites:"))
    assert lines[at + 1].strip().startswith("Grant the credentials the role")


def test_text_ends_with_the_verdict_and_has_one_line_for_each_check(cli):
    done = cli.run("doctor", "--policy", "policy.yaml")
    *checks, verdict = done.out.splitlines()
    assert verdict == f"All checks passed: a sweep of Example Industries ({ORG_ID}) would run."
    assert all(re.match(r"(ok|note|warning|failed|) ", line) for line in checks)


@pytest.mark.parametrize("width", [40, 80])
def test_terminal_wraps_at_words_with_the_state_beside_them(width):
    hint = "Grant the credentials Project Owner there, or exclude the projects."
    message = "The role is missing in 4 projects: Payments, Billing, IoT Ingest, Fraud."
    check = warning("list invites", message, hint)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, no_color=True, width=width)
    show(console, Diagnosis(datetime.now(UTC), [check], {ORG_ID: None}))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(line.split()) for line in lines)
    assert text.startswith(f"warning list invites: {message} {hint} 1 warning: a sweep of ")
    indented = [line for line in lines if line.startswith(" ")]
    assert all(re.match(r" {9}\S", line) for line in indented)


# Beyond the lists -----------------------------------------------------------------------------


def completeness(cli, code=0):
    done = cli.run("doctor", "--policy", "policy.yaml", "--output", "json")
    assert done.code == code, (done.out, done.err)
    (found,) = json.loads(done.out)["completeness"]
    return found


def test_events_name_who_is_in_no_list_did_not_join_and_was_not_deleted_by_this_log(cli):
    deleted = cli.sim.invite(cli.project, "swept@example.com", age=22 * DAYS)
    lost = cli.sim.invite(cli.project, "lost@example.com", age=5 * DAYS)
    accepted = cli.sim.add_user("new@example.com", age=5 * DAYS)
    cli.sim.add_user("old@example.com", age=31 * DAYS, status="INVITATION_EXPIRED")
    cli.sim.set_status(accepted, "ACTIVE")
    assert cli.sweep().code == 0
    cli.sim.groups[cli.project].invites.pop(lost)  # as another program with an API key would
    cli.sim.invite(cli.project, "young@example.com", age=DAYS)
    assert deleted in cli.sim.deleted
    assert completeness(cli, code=4) == {
        "organization": ORG_ID,
        "invited": 5,
        "listed": 1,
        "joined": 1,
        "deleted": 2,
        "unexplained": ["lost@example.com"],
        "lists_complete": True,
    }
    (check,) = named(checks_of(cli, code=4), "events")
    assert "1 is in no list: lost@example.com." in check["message"]


@pytest.mark.parametrize(
    ("path", "name", "role"),
    [
        ("*/events", "events", "Organization Member"),
        ("*/federationSettings", "domains", "Organization Owner"),
        ("*/connectedOrgConfigs/*", "domains", "Organization Owner"),
        ("*/serviceAccounts/*", "secret", "Organization Read Only"),
    ],
)
def test_what_the_role_may_not_read_is_a_note_and_no_failure(cli, path, name, role):
    federation = Federation("1" * 24, ("example.com",), ("example.com",))
    cli.sim.organizations[ORG_ID].federation = federation
    changes = dict.fromkeys(cli.account.environment()) | cli.sim.add_service_account().environment()
    cli.sim.faults.add(faults.role_missing(), path=path, times=None)
    (check,) = named(checks_of(cli, **changes), name)
    assert (check["state"], check["message"].startswith("Not known. ")) == ("note", True)
    assert f"requires the role {role}." in check["message"]


def test_pending_address_outside_the_domains_of_the_federation_is_named_as_inferred(cli):
    federation = Federation("1" * 24, ("example.com",), ("example.com",))
    cli.sim.organizations[ORG_ID].federation = federation
    cli.sim.add_user("eve@elsewhere.example", age=2 * DAYS)
    cli.sim.add_user("joined@elsewhere.example", status="ACTIVE")
    (check,) = named(checks_of(cli, code=4), "domains")
    assert check["message"].endswith(
        "(example.com) can probably never accept: eve@elsewhere.example."
    )
    assert check["hint"].startswith("This is inferred from the allow list of the federation.")


def test_files_and_folders_of_a_sweep_are_checked_and_none_is_made(cli):
    before = sorted(cli.folder.iterdir())
    checks = checks_of(
        cli,
        *("--metrics-file", "run.prom", "--out", "plan.jsonl"),
    )
    assert {check["check"] for check in checks} >= {"metrics file", "plan"}
    assert sorted(cli.folder.iterdir()) == sorted([*before, cli.folder / "policy.yaml"])


@pytest.mark.parametrize(
    ("words", "name", "code"),
    [
        (("--out", "absent/plan.jsonl"), "plan", 2),
        (("--out", "policy.yaml"), "outputs", 2),
        (("--metrics-file", "absent/run.prom"), "metrics file", 4),
        (("--metrics-file", "."), "outputs", 2),
        (("--pushgateway", "ftp://gateway"), "pushgateway", 2),
    ],
    ids=str,
)
def test_file_that_a_sweep_cannot_use_ends_as_the_sweep_would(cli, words, name, code):
    state = "warning" if code == 4 else "failed"
    assert state in states(checks_of(cli, *words, code=code), name)
    assert cli.plan(*words).code == (0 if code == 4 else code)


def test_receivers_are_reached_without_a_message(cli):
    heads = []

    class Receiver(BaseHTTPRequestHandler):
        def do_HEAD(self):
            heads.append((self.command, self.path))
            self.send_response(404)
            self.end_headers()

        do_GET = do_POST = do_HEAD  # noqa: N815

        def log_message(self, *_):
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        cli.keys["notify"] = [
            {"kind": "ping", "url_env": "PING_URL"},
            {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY"},
            {"kind": "slack", "url_env": "CHAT_URL"},
        ]
        urls = {"PING_URL": f"{url}/s3cret", "HOOK_URL": f"{url}/hook"}
        done = cli.run(
            *("doctor", "--policy", "policy.yaml", "--output", "json", "--pushgateway", url), **urls
        )
        server.shutdown()
    checks = json.loads(done.out)["checks"]
    assert done.code == 4
    assert set(heads) == {("HEAD", "/")}
    assert states(checks, "ping (PING_URL)") == states(checks, "pushgateway") == {"ok"}
    assert "HOOK_KEY is not set" in messages(checks, "webhook (HOOK_URL)")
    assert "CHAT_URL is not set" in messages(checks, "slack (CHAT_URL)")
    assert "s3cret" not in done.out + done.err


def test_receiver_that_cannot_be_reached_is_a_warning_with_host_and_fix(cli, closed_port):
    cli.keys["notify"] = [{"kind": "ping", "url_env": "PING_URL"}]
    checks = checks_of(cli, code=4, PING_URL=f"http://127.0.0.1:{closed_port}/s3cret")
    (check,) = named(checks, "ping (PING_URL)")
    assert "127.0.0.1: connection refused" in check["message"]
    assert "HTTPS_PROXY" in check["hint"]


@pytest.fixture
def closed_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def test_credentials_that_may_read_and_not_delete_are_a_warning(cli):
    cli.keys["sources"] = ["users"]
    cli.sim.limit_access(cli.project, Access.READ)
    (check,) = named(checks_of(cli, code=4), "list users")
    assert check["state"] == "warning"
    assert "can probably not delete" in check["message"]
    assert "missing in Search" in check["message"]


def test_credentials_of_an_owner_prove_that_users_can_be_deleted(cli):
    cli.keys["sources"] = ["users"]
    found = messages(checks_of(cli, code=4), "list users")  # invites is not among sources
    assert "the role Project Owner is granted" in found


def test_drop_for_which_a_sweep_would_be_refused_ends_with_3(cli):
    for number in range(12):
        cli.sim.invite(cli.project, f"p{number}@example.com")
    assert cli.sweep().code == 0
    assert states(checks_of(cli), "baselines") == {"ok"}
    for invitation_id in cli.sim.invitations(cli.project)[:8]:
        cli.sim.accept(cli.project, invitation_id)
    (check,) = named(checks_of(cli, code=3), "baselines")
    assert "max_population_drop" in check["message"]
    assert cli.sweep().code == 3


def test_quiet_prints_only_what_is_not_ok_and_nothing_if_all_is(cli):
    done = cli.run("doctor", "--policy", "policy.yaml", "-q")
    assert (done.code, done.out) == (0, "")
    cli.sim.limit_access(cli.sim.add_project("Vault"), Access.READ)
    done = cli.run("doctor", "--policy", "policy.yaml", "-q")
    assert done.code == 4
    first, *_, verdict = done.out.splitlines()
    assert first.startswith("warning  list invites:")
    assert "\nok " not in f"\n{done.out}"
    assert verdict.startswith("2 warnings:")

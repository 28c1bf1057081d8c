"""`doctor` as a process: what it tells of a sweep to come, with the code that it would end with."""

import base64
import json
import time
from datetime import timedelta

import pytest
from running import desk_in, wait_until

from invite_sweeper.simulator import Access, faults
from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
OTHER = "0123456789abcdef01234567"


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        found.project = found.sim.add_project("Search")
        found.sim.invite(found.project, "ada@example.com", age=20 * DAYS)
        yield found


def look(desk, *arguments, code=0, **changes):
    """The checks by name and state."""
    done = desk.run("doctor", "--policy", "policy.yaml", "--output", "json", *arguments, **changes)
    assert done.code == code, (done.out, done.err)
    told = json.loads(done.out)
    assert told["exit_code"] == code
    return told["checks"]


def of(checks, name):
    return [check for check in checks if check["check"] == name]


def states(checks, name):
    return {check["state"] for check in of(checks, name)}


def said(checks, name):
    return " ".join(check["message"] for check in of(checks, name))


def token(ends_s):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends_s}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2lnbmF0dXJl"


def test_all_is_well_with_0_and_one_line_for_each_thing(desk):
    checks = look(desk)
    assert {check["state"] for check in checks} == {"ok"}
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
        "rate limit projects_user",
        "rate limit projects_group",
        "quarantine",
    }
    assert "1 pending in 1 list; the role Project Owner is granted" in said(checks, "list invites")
    assert "leaves 1080" in said(checks, "rate limit projects_group")
    assert "2027-07-01" in said(checks, "sunset invites")
    assert ORG_ID in said(checks, "organizations")


def test_it_sends_gets_alone_and_makes_no_file(desk):
    desk.account = desk.sim.add_service_account()
    look(desk)
    sent = {(a.method, a.path) for a in desk.sim.requests if "/oauth/" not in a.path}
    assert {method for method, _ in sent} == {"GET"}
    assert [path.name for path in desk.folder.iterdir()] == ["policy.yaml"]
    assert desk.sim.oauth.live_token_count(desk.account) == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("add_service_account", "Service account mdb_sa_id_"),
        ("add_api_key", "API key "),
        ("add_token", "Access token"),
    ],
)
def test_kind_and_name_of_the_credentials_are_told_and_never_their_secret(desk, kind, words):
    desk.account = getattr(desk.sim, kind)()
    done = desk.run("doctor", "--policy", "policy.yaml", "--output", "json")
    assert words in said(json.loads(done.out)["checks"], "credentials")
    assert desk.account.secret not in done.out + done.err


def test_token_s_end_is_told_where_it_tells_it(desk):
    tomorrow, soon, past = (time.time() + s for s in (86_400, 600, -600))
    for end_s, state in ((tomorrow, "ok"), (soon, "warning"), (past, "failed")):
        desk.account.secret = token(int(end_s))
        desk.sim.accounts.add(desk.account)
        done = desk.run("doctor", "--policy", "policy.yaml", "--output", "json")
        (check,) = of(json.loads(done.out)["checks"], "credentials")
        assert check["state"] == state
        assert "expire" in check["message"]
        assert done.code == {"ok": 0, "warning": 4, "failed": 5}[state]


def test_policy_with_faults_is_told_and_the_rest_is_looked_at_all_the_same(desk):
    desk.keys["rulez"] = []
    checks = look(desk, code=2)
    (check,) = of(checks, "policy")
    assert (check["state"], check["message"]) == ("failed", "policy.yaml has 1 error.")
    command = "invite-sweeper validate policy.yaml"
    assert check["hint"] == f"List them with: {command}"
    assert "rulez" in desk.run(*command.split()[1:]).err
    assert states(checks, "clock") == {"ok"}
    assert "1 project visible" in said(checks, "organizations")


def test_policy_s_warnings_end_with_4(desk):
    desk.keys["keep"] = [{"name": "old", "usernames": ["*"], "until": "2020-01-31"}]
    assert states(look(desk, code=4), "policy") == {"ok", "warning"}


def test_glob_that_matches_no_project_is_a_warning(desk):
    desk.keys["projects"] = {"exclude": ["prod-*"]}
    assert "matched no project" in said(look(desk, code=4), "policy")


def test_missing_credentials_name_the_variables_and_atlas_is_not_asked(desk):
    checks = look(desk, code=2, MONGODB_ATLAS_ACCESS_TOKEN=None)
    (check,) = of(checks, "credentials")
    assert "MONGODB_ATLAS_CLIENT_ID" in check["hint"]
    assert desk.sim.requests == ()


def test_base_url_that_is_none_ends_with_2_and_the_rest_is_looked_at_all_the_same(desk):
    checks = look(desk, code=2, MONGODB_ATLAS_BASE_URL="ftp://atlas.example.com")
    assert (states(checks, "base URL"), states(checks, "policy")) == ({"failed"}, {"ok"})
    assert "Not called" in said(checks, "Atlas")
    assert desk.sim.requests == ()


def test_proxy_that_is_none_ends_with_2_and_the_rest_is_looked_at_all_the_same(desk):
    elsewhere = ("--base-url", "https://atlas.example.com")
    free = dict.fromkeys(("https_proxy", "NO_PROXY", "no_proxy"))
    checks = look(desk, *elsewhere, code=2, HTTPS_PROXY="ada:hush@proxy:3128", **free)
    assert (states(checks, "proxy"), states(checks, "quarantine")) == ({"failed"}, {"ok"})
    assert "HTTPS_PROXY" in said(checks, "proxy")
    assert "hush" not in json.dumps(checks)


def test_audit_path_that_is_none_ends_with_2_and_the_rest_is_looked_at_all_the_same(desk):
    checks = look(desk, "--audit-log", "audit/{week}.jsonl", code=2)
    assert states(checks, "audit log") == {"failed"}
    assert states(checks, "organizations") == {"ok"}
    assert of(checks, "lock") == of(checks, "quarantine") == []


def test_refused_credentials_end_with_5(desk):
    checks = look(desk, code=5, MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert "failed" in states(checks, "credentials")


def test_address_that_is_not_on_the_access_list_ends_with_5_and_its_own_line(desk):
    desk.account.access_list = ("203.0.113.7",)
    checks = look(desk, code=5)
    (check,) = of(checks, "access list")
    assert check["state"] == "failed"
    assert "access list" in check["hint"]


def test_atlas_that_cannot_be_reached_ends_with_6(desk):
    desk.sim.faults.add(faults.fail_with(500), path="*/groups", times=99)
    assert states(look(desk, code=6), "Atlas") == {"failed"}


def test_no_project_of_the_organization_in_sight_ends_with_3(desk):
    desk.keys["organizations"] = [OTHER]
    assert states(look(desk, code=3), "organizations") == {"failed"}


def test_organization_without_a_project_in_sight_is_a_warning(desk):
    desk.keys["organizations"] = [ORG_ID, OTHER]
    checks = look(desk, code=4)
    assert states(checks, "organizations") == {"ok", "warning"}
    assert OTHER in said(checks, "organizations")


@pytest.mark.parametrize(
    ("minutes", "state", "code"), [(0, "ok", 0), (2, "warning", 4), (6, "failed", 3)]
)
def test_clock_is_held_against_atlas_s(desk, minutes, state, code):
    desk.sim.date_offset = timedelta(minutes=minutes)
    assert states(look(desk, code=code), "clock") == {state}


def test_role_that_is_missing_in_a_project_names_it(desk):
    shut = desk.sim.add_project("Vault")
    desk.sim.limit_access(shut, Access.READ)
    checks = look(desk, code=4)
    (check,) = of(checks, "list invites")
    assert check["message"] == "The role is missing in 1: Vault."
    assert "Project Owner" in check["hint"]


def test_more_unreadable_projects_than_a_sweep_takes_end_with_3(desk):
    desk.keys["limits"]["max_unreadable_projects"] = 0
    desk.sim.limit_access(desk.sim.add_project("Vault"), Access.READ)
    assert states(look(desk, code=3), "lists") == {"failed"}


@pytest.mark.parametrize(("days", "state", "code"), [(181, "ok", 0), (180, "warning", 4)])
def test_sunset_is_a_warning_from_180_days_before(desk, days, state, code):
    # An end at noon, so that the test may run over midnight by some hours.
    day = desk.sim.clock() + timedelta(days=days)
    desk.sim.versions.sunsets["invites"] = f"{day:%a, %d %b %Y} 12:00:00 GMT"
    checks = look(desk, code=code)
    assert states(checks, "sunset invites") == {state}
    assert f"{days} days from now" in said(checks, "sunset invites")


def test_lists_that_work_after_the_sunset_are_named(desk):
    desk.keys["sources"] = ["invites", "users"]
    checks = look(desk)
    assert said(checks, "sunset") == "Lists without a sunset date from Atlas: users."


def test_source_that_has_ended_is_a_warning_and_the_only_one_ends_with_6(desk):
    desk.sim.versions.retired.add(("invites", "*"))
    assert states(look(desk, code=6), "lists") == {"failed"}
    desk.keys["sources"] = ["invites", "users"]
    assert states(look(desk, code=4), "list invites") == {"warning"}


def test_projects_left_alone_are_counted_with_whom_they_hold(desk):
    desk.keys["projects"] = {"exclude": ["prod-*"]}
    prod = desk.sim.add_project("prod-billing")
    desk.sim.invite(prod, "bo@example.com")
    desk.sim.invite(prod, "cy@example.com")
    told = said(look(desk), "coverage")
    assert "1 of 2 projects is in scope." in told
    assert "Out of scope: prod-billing; 2 pending there." in told


def test_people_whom_only_an_unnamed_list_holds_are_a_warning(desk):
    desk.sim.add_user("bo@example.com", group_roles={desk.project: ("GROUP_OWNER",)})
    desk.sim.add_user("cy@example.com")
    told = [c for c in of(look(desk, code=4), "coverage") if c["state"] == "warning"]
    assert [check["message"].split(" which")[0] for check in told] == [
        "1 user is pending only in the list users,",
        "2 users are pending only in the list org_users,",
        "2 users are pending only in the list org_invites,",
    ]
    assert told[1]["hint"] == "Add org_users to sources."


def test_person_whom_a_named_list_holds_too_is_covered(desk):
    desk.keys["sources"] = ["invites", "org_users"]
    desk.sim.add_user("bo@example.com", group_roles={desk.project: ("GROUP_OWNER",)})
    look(desk)


def test_audit_folder_that_all_may_write_to_ends_with_7(desk):
    folder = desk.folder / "audit"
    folder.mkdir()
    folder.chmod(0o777)
    assert states(look(desk, code=7), "audit folder") == {"failed"}


def test_audit_log_that_others_can_read_is_a_warning(desk):
    assert desk.sweep().code == 0
    desk.log_path.chmod(0o644)
    (check,) = of(look(desk, code=4), "audit log")
    assert check["hint"].startswith("chmod 600")


def test_damaged_log_ends_with_3(desk):
    assert desk.sweep().code == 0
    spoiled = desk.log_path.read_bytes().replace(b'"run_started",', b'"run_started"')
    desk.log_path.write_bytes(spoiled)
    assert states(look(desk, code=3), "earlier runs") == {"failed"}


def test_last_run_is_told(desk):
    assert desk.sweep().code == 0
    run_id = desk.lines()[-1]["run_id"]
    assert f"{run_id} (sweep), ended with exit code 0" in said(look(desk), "earlier runs")


def test_lock_that_another_run_holds_ends_with_9_and_names_it_and_is_not_taken(desk):
    desk.sim.faults.set_latency(2.0)
    process = desk.start("sweep", "--policy", "policy.yaml")
    wait_until((desk.folder / "audit" / ".invite-sweeper.jsonl.lock.holder").exists)
    (check,) = of(look(desk, code=9), "lock")
    assert f"process {process.pid}" in check["message"]
    desk.sim.faults.clear()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_changed_policy_in_quarantine_ends_with_3(desk):
    desk.keys["limits"]["quarantine"] = True
    assert desk.sweep().code == 0
    assert states(look(desk), "quarantine") == {"ok"}
    desk.keys["rules"] = [{"name": "sooner", "older_than": "13d"}]
    (check,) = of(look(desk, code=3), "quarantine")
    assert "--accept-policy" in check["hint"]


def test_raised_limits_are_told_as_atlas_tells_them(desk):
    desk.sim.set_bucket("projects_group", capacity=5000, refill=2000)
    told = said(look(desk), "rate limit projects_group")
    assert told == "5000 requests, 2000 more every 60 s; a reserve of 10% leaves 4500."


def test_limits_that_atlas_does_not_tell_are_the_documented_ones(desk):
    desk.sim.rate_limits_served = False
    assert "as documented" in said(look(desk), "rate limit projects_group")


def test_text_has_a_line_for_each_and_the_hint_below(desk):
    desk.sim.limit_access(desk.sim.add_project("Va\x1b[2Kult"), Access.READ)
    done = desk.run("doctor", "--policy", "policy.yaml")
    assert done.code == 4
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("warning  list invites:"))
    assert lines[at + 1].strip().startswith("Grant the credentials the role")

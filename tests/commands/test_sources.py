"""The four lists of pending users, end to end: the program as a process, Atlas over HTTP."""

import json
import shlex
from datetime import UTC, datetime, timedelta

import faults
import pytest
from running import cli_in, wait_until

from invite_sweeper.simulator import Access
from invite_sweeper.simulator.seed import ORG_ID

ALL = ["invites", "users", "org_users", "org_invites"]
OLD = timedelta(days=20)
STALE = {
    "name": "stale",
    "older_than": "14d",
    "statuses": ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"],
}


@pytest.fixture
def cli(tmp_path):
    with cli_in(tmp_path) as made:
        made.keys["rules"] = [dict(STALE)]
        yield made


def outcomes(cli, *names):
    return [tuple(line[name] for name in names) for line in cli.lines("outcome")]


def http_date(days):
    day = datetime.now(UTC) + timedelta(days=days)
    return f"{day:%a}, {day.day} {day:%b %Y} 00:00:00 GMT"


@pytest.mark.parametrize(
    ("source", "in_project"),
    [("invites", True), ("users", True), ("org_users", False), ("org_invites", False)],
)
def test_each_source_is_read_and_deleted_by_its_own_endpoint(cli, source, in_project):
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.invite(project, "new@example.com", age=timedelta(days=1))
    cli.sim.add_user("bob@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.sim.add_user("cyd@example.com", age=timedelta(days=1))
    cli.keys["sources"] = [source]
    done = cli.sweep()

    assert done.code == 0, done.err
    who = "ada@example.com" if source == "invites" else "bob@example.com"
    assert outcomes(cli, "source", "username", "outcome") == [(source, who, "deleted")]
    (planned,) = cli.lines("planned")
    assert (planned["project_id"], planned["project_name"], planned["org_id"]) == (
        (project, "Sandbox", ORG_ID) if in_project else (None, None, ORG_ID)
    )
    scope = f"groups/{project}" if in_project else f"orgs/{ORG_ID}"
    (delete,) = [each for each in cli.sim.requests if each.method == "DELETE"]
    assert delete.path.startswith(f"/api/atlas/v2/{scope}/{source.removeprefix('org_')}/")
    assert cli.run("audit", "verify", str(cli.log_path)).code == 0


def test_pending_users_need_their_status_in_the_rule_and_expired_ones_do_not(cli):
    project = cli.sim.add_project("Sandbox")
    for status in ("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED", "ACTIVE"):
        cli.sim.add_user(
            f"{status.lower()}@example.com",
            status=status,
            age=OLD,
            group_roles={project: ["GROUP_OWNER"]},
        )
    cli.keys |= {"sources": ["users"], "rules": [{"name": "old", "older_than": "14d"}]}
    done = cli.sweep()

    assert done.code == 0
    assert sorted(outcomes(cli, "username", "outcome")) == [
        ("invitation_expired@example.com", "deleted"),
        ("invitation_rejected@example.com", "deleted"),
    ]
    assert done.summary["invitations_seen"] == 3


def test_users_are_read_page_after_page(cli):
    project = cli.sim.add_project("Sandbox")
    for number in range(1203):
        cli.sim.add_user(
            f"p{number:04}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]}
        )
    cli.keys["sources"] = ["users"]
    planned = cli.plan()

    assert planned.summary["stale"] == 1203
    listings = [each for each in cli.sim.requests if f"/{project}/users?" in each.path]
    assert [each.path.rpartition("pageNum=")[2] for each in listings] == ["1", "2", "3"]


def test_invitation_linked_to_a_project_out_of_scope_is_kept(cli):
    sandbox, prod = cli.sim.add_project("Sandbox"), cli.sim.add_project("prod-1")
    cli.sim.add_user("in@example.com", age=OLD, group_roles={sandbox: ["GROUP_OWNER"]})
    both = {sandbox: ["GROUP_OWNER"], prod: ["GROUP_OWNER"]}
    cli.sim.add_user("both@example.com", age=OLD, group_roles=both)
    cli.sim.add_user("ghost@example.com", age=OLD, group_roles={"0" * 24: ["GROUP_OWNER"]})
    cli.sim.add_user("none@example.com", age=OLD)
    cli.keys |= {"sources": ["org_users", "org_invites"], "projects": {"exclude": ["prod-*"]}}
    done = cli.sweep()

    assert done.summary["kept_by_reason"] == {"reaches_out_of_scope": 4}
    assert {name for name, _ in outcomes(cli, "username", "outcome")} == {
        "in@example.com",
        "none@example.com",
    }
    (first, *_) = [line for line in cli.lines("planned") if line["username"] == "in@example.com"]
    assert first["linked_projects"] == [[sandbox, "Sandbox"]]


def test_keep_entry_for_a_project_protects_invitations_linked_to_it(cli):
    sandbox, prod = cli.sim.add_project("Sandbox"), cli.sim.add_project("prod-1")
    cli.sim.add_user("in@example.com", age=OLD, group_roles={sandbox: ["GROUP_OWNER"]})
    both = {sandbox: ["GROUP_OWNER"], prod: ["GROUP_OWNER"]}
    cli.sim.add_user("both@example.com", age=OLD, group_roles=both)
    cli.keys |= {
        "sources": ["org_users"],
        "keep": [{"name": "production", "projects": ["PROD-*"]}],
    }
    done = cli.sweep()

    assert done.summary["kept_by_reason"] == {"keep:production": 1}
    assert outcomes(cli, "username") == [("in@example.com",)]


def test_each_duplicate_invitation_of_a_user_is_deleted_by_its_own_endpoint(cli):
    project = cli.sim.add_project("Sandbox")
    for number in range(40):
        name = f"p{number}@example.com"
        cli.sim.invite(project, name, age=OLD)
        cli.sim.add_user(name, age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.keys["sources"] = ALL
    cli.keys["limits"] |= {"breaker_window": 10}
    done = cli.sweep()

    assert done.code == 0, done.err
    assert (done.summary["stale"], done.summary["skipped"]) == (160, 0)
    assert done.summary["deleted"] + done.summary["already_gone"] == 160
    assert cli.sim.invitation_count() == len(cli.sim.users()) == 0
    assert cli.sweep().summary["invitations_seen"] == 0


def test_forbidden_list_is_unreadable_and_the_others_are_read(cli):
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.add_user("bob@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    missing = faults.role_missing()
    cli.sim.faults.add(missing, path=f"*/orgs/{ORG_ID}/users", times=None)
    cli.sim.faults.add(missing, path=f"*/groups/{project}/users", times=None)
    cli.keys["sources"] = ["invites", "users", "org_users"]
    done = cli.sweep()

    assert (done.code, done.summary["projects_unreadable"]) == (4, 2)
    assert outcomes(cli, "username") == [("ada@example.com",)]
    lost = {line["source"]: line for line in cli.lines("project_unreadable")}
    assert (lost["users"]["project_id"], lost["org_users"]["project_id"]) == (project, None)
    assert f"org_users of organization {ORG_ID}" in lost["org_users"]["reason"]
    assert "users" in lost["users"]["reason"]


def test_unreadable_lists_count_against_the_limit(cli):
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.limit_access(ORG_ID, Access.NONE)
    cli.sim.faults.add(faults.role_missing(), path="*/orgs/*/users", times=None)
    cli.keys["sources"] = ["invites", "org_users"]
    cli.keys["limits"] |= {"max_unreadable_projects": 0}

    assert cli.sweep().code == 3
    assert cli.deletes() == 0


def test_removed_member_is_reported_with_the_command_to_restore_it(cli):
    project = cli.sim.add_project("Sandbox")
    user = cli.sim.add_user("o'neil@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    accept = faults.effect(before=lambda _: cli.sim.set_status(user, "ACTIVE"))
    cli.sim.faults.add(accept, method="DELETE")
    cli.keys["sources"] = ["users"]
    done = cli.sweep()

    assert (done.code, done.summary["accepted_during"], done.summary["deleted"]) == (4, 1, 0)
    assert outcomes(cli, "outcome", "seen_before", "seen_after") == [
        ("accepted_during", "PENDING", "ACTIVE")
    ]
    (sentence,) = [each for each in done.warnings if "restore" in each]
    command = shlex.split(sentence.partition("To invite them again: ")[2])
    assert command == [
        "invite-sweeper",
        "restore",
        "audit/invite-sweeper.jsonl",
        "--run",
        done.summary["run_id"],
        "--username",
        "o'neil@example.com",
        "--base-url",
        cli.base_url,
    ]
    assert '"level": "error"' in done.err
    assert "o'neil@example.com accepted" in done.err


def test_user_who_accepted_in_time_is_kept_and_not_a_failure(cli):
    project = cli.sim.add_project("Sandbox")
    user = cli.sim.add_user("ada@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    accept = faults.effect(before=lambda _: cli.sim.set_status(user, "ACTIVE"))
    cli.sim.faults.add(accept, method="GET", path="*/groups/*/users/*")
    cli.keys["sources"] = ["users"]
    done = cli.sweep()

    assert (done.code, done.summary["accepted_before"], cli.deletes()) == (0, 1, 0)
    assert outcomes(cli, "outcome", "attempts", "seen_before") == [("accepted_before", 0, "ACTIVE")]


NOT_READ = "only in lists that the policy does not read: "


def not_seen(cli):
    """The lines `Not seen` of a plan, as text."""
    out = cli.run("plan", "--policy", "policy.yaml", COLUMNS="400").out
    return [line[len("Not seen") :].strip() for line in out.splitlines() if "Not seen" in line]


def test_plan_sweep_and_report_say_who_is_only_in_lists_that_the_policy_does_not_read(cli):
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "both@example.com", age=timedelta(days=1))
    cli.sim.add_user("both@example.com", age=OLD)
    roles = {project: ["GROUP_OWNER"]}
    cli.sim.add_user("web@example.com", age=OLD, by_web_interface=True, group_roles=roles)
    cli.sim.add_user("terraform@example.com", age=OLD)
    cli.sim.add_user("late@example.com", age=31 * OLD, status="INVITATION_EXPIRED")
    cli.sim.add_user("member@example.com", status="ACTIVE")
    done = cli.plan()

    sentence = (
        f"3 people are invited {NOT_READ}users 1 (1 pending); org_users 3 (2 pending, 1 expired); "
        "org_invites 1 (1 pending). After 2027-07-01 this policy would see 0 of 4."
    )
    known = {"org_id": ORG_ID, "reason": None, "rejected": 0}
    expected = {
        "lists": [
            {"source": "users", "people": 1, "pending": 1, "expired": 0, **known},
            {"source": "org_users", "people": 3, "pending": 2, "expired": 1, **known},
            {"source": "org_invites", "people": 1, "pending": 1, "expired": 0, **known},
        ],
        "people": 3,
        "after": "2027-07-01",
        "seen_after": 0,
        "everyone": 4,
    }
    assert (done.code, done.summary["unseen"]) == (0, expected)
    assert not_seen(cli) == [sentence]
    assert cli.sweep().summary["unseen"] == expected
    assert cli.lines("run_finished")[0]["unseen"] == expected
    for name in ("report.html", "report.md", "report.json"):
        assert cli.run("report", "audit/invite-sweeper.jsonl", "--out", name).code == 0
    markdown = (cli.folder / "report.md").read_text("utf-8")
    assert "Not seen by the policy" in markdown
    assert sentence in markdown
    page = (cli.folder / "report.html").read_text("utf-8")
    assert "Not seen by the policy" in page
    assert sentence in page
    report = json.loads((cli.folder / "report.json").read_text("utf-8"))["report"]
    assert report["subject"][0]["unseen"] == expected


def test_policy_of_all_lists_leaves_no_list_unread(cli):
    cli.sim.add_project("Sandbox")
    cli.keys["sources"] = ALL
    assert (cli.plan().summary["unseen"], not_seen(cli)) == (None, [])


@pytest.mark.parametrize(
    ("path", "places", "role"),
    [
        ("*/orgs/*/users", "lists users and org_users", "Organization Member"),
        ("*/orgs/*/invites", "list org_invites", "Organization Owner"),
    ],
)
def test_unread_list_that_the_role_forbids_is_not_known_and_no_failure(cli, path, places, role):
    cli.sim.add_project("Sandbox")
    cli.sim.faults.add(faults.role_missing(), path=path, times=None)
    done = cli.sweep()
    (sentence,) = not_seen(cli)
    where = f"organization Example Industries ({ORG_ID})"
    assert sentence.startswith(f"Who is invited in the {places} of {where} is not known. ")
    assert role in sentence
    assert (done.code, done.summary["unseen"]["lists"][-1]["pending"]) == (
        0,
        0 if "users" in path else None,
    )


def test_failing_look_beyond_the_policy_ends_no_run(cli):
    cli.sim.add_project("Sandbox")
    fault = faults.fail_with(406, "INVALID_VERSION_DATE")
    cli.sim.faults.add(fault, path="*/orgs/*/users", times=None)
    assert cli.sweep().code == 0
    (sentence,) = not_seen(cli)
    assert "is not known. " in sentence


def test_end_of_a_list_that_the_policy_does_not_read_is_not_the_end_of_something_in_use(cli):
    cli.sim.add_project("Sandbox")
    cli.keys["sources"] = ["users", "org_users"]
    summary = cli.plan().summary
    assert (summary["sunset"], summary["deprecation"]) == (None, None)
    assert cli.lines("run_finished")[0]["sunsets"] == {"org_invites": "2027-07-01"}


def retire(sim, *families):
    sim.versions.retired |= {(family, "*") for family in families}


def test_retired_source_is_skipped_and_the_others_are_swept(cli):
    for name in ("Alpha", "Beta", "Gamma"):
        project = cli.sim.add_project(name)
        cli.sim.invite(project, "ada@example.com", age=OLD)
        cli.sim.add_user(f"{name}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    retire(cli.sim, "invites")
    cli.keys["sources"] = ["invites", "users"]
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (4, 3)
    assert done.summary["sources_retired"] == ["invites"]
    assert done.summary["projects_unreadable"] == 0
    (line,) = cli.lines("source_retired")
    assert (line["source"], line["http_status"], line["error_code"]) == (
        "invites",
        410,
        "VERSION_GONE",
    )
    assert "write users and org_users instead of invites" in done.err


@pytest.mark.parametrize(("days", "code"), [(-1, 0), (0, 0), (1, 4)])
def test_list_that_is_gone_is_no_failure_from_the_day_on_that_earlier_runs_recorded(
    cli, days, code
):
    project = cli.sim.add_project("Alpha")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.add_user("bob@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    day = datetime.now(UTC) + timedelta(days=days)
    cli.sim.versions.sunsets["invites"] = f"{day:%a}, {day.day} {day:%b %Y} 00:00:00 GMT"
    cli.keys["sources"] = ["invites", "users"]
    assert cli.plan().code == 0
    retire(cli.sim, "invites")
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (code, 1)
    assert done.summary["sources_retired"] == ["invites"]
    assert done.summary["reasons"] == (["retired_source"] if code else [])
    assert done.summary["plan_complete"] is (code == 0)
    assert ("(410), as announced. " in done.err) == (code == 0)
    assert ("(410), before the day that was announced. " in done.err) == (code == 4)
    assert cli.lines("run_finished")[0]["sunsets"]["invites"] == f"{day:%Y-%m-%d}"


def test_last_announcement_of_earlier_runs_counts(cli):
    cli.sim.add_project("Alpha")
    cli.keys["sources"] = ["invites", "users"]
    for day in ("Fri, 1 Jan 2021", "Wed, 1 Jan 2098"):
        cli.sim.versions.sunsets["invites"] = f"{day} 00:00:00 GMT"
        assert cli.plan().code == 0
    retire(cli.sim, "invites")
    assert cli.sweep().code == 4
    cli.sim.versions.retired.clear()
    cli.sim.versions.sunsets["invites"] = "Fri, 1 Jan 2021 00:00:00 GMT"
    assert cli.plan().code == 0
    retire(cli.sim, "invites")
    assert cli.sweep().code == 0


def test_retired_source_is_not_a_drop_in_population(cli):
    project = cli.sim.add_project("Alpha")
    for number in range(30):
        cli.sim.invite(project, f"p{number}@example.com", age=timedelta(days=1))
    cli.sim.add_user("ada@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.keys["sources"] = ["invites", "users"]
    assert cli.plan().code == 0
    retire(cli.sim, "invites")

    assert (cli.sweep().code, cli.deletes()) == (4, 1)


@pytest.mark.parametrize(
    ("sources", "families", "named"),
    [
        (["invites"], ["invites"], "write users and org_users instead of invites"),
        (["org_invites"], ["org_invites"], "write org_users instead of org_invites"),
        (["users"], ["users"], "Upgrade"),
        (["invites", "org_invites"], ["invites", "org_invites"], "org_users instead of org_inv"),
    ],
)
def test_run_with_only_retired_sources_ends_and_names_the_replacement(
    cli, sources, families, named
):
    project = cli.sim.add_project("Alpha")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.add_user("bob@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    retire(cli.sim, *families)
    cli.keys["sources"] = sources
    done = cli.sweep()

    assert (done.code, cli.deletes()) == (6, 0)
    assert named in done.err
    assert sorted(done.summary["sources_retired"]) == sorted(sources)


def test_406_ends_the_run_even_with_other_sources(cli):
    project = cli.sim.add_project("Alpha")
    fault = faults.fail_with(406, "INVALID_VERSION_DATE")
    cli.sim.faults.add(fault, path=f"*/groups/{project}/invites", times=None)
    cli.keys["sources"] = ["invites", "users"]

    assert cli.sweep().code == 6


@pytest.mark.parametrize(
    ("days", "level"), [(400, None), (181, None), (180, "info"), (31, "info"), (30, "error")]
)
def test_sunset_is_a_remark_when_near_and_an_error_when_very_near(cli, days, level):
    cli.sim.add_project("Alpha")
    cli.sim.versions.sunsets["invites"] = http_date(days)
    cli.keys["sources"] = ["invites", "users"]
    done = cli.plan()

    lines = [line for line in done.err.splitlines() if "stops serving the list" in line]
    assert len(lines) == (level is not None)
    assert all(f'"level": "{level}"' in line and "users and org_users" in line for line in lines)
    (finished,) = cli.lines("run_finished")
    assert finished["sunset"] == f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"
    assert finished["deprecation"] == "2023-10-04"
    assert done.code == 0


def test_trimmed_plan_keeps_the_project_limit_over_all_its_lists(cli):
    project = cli.sim.add_project("Alpha")
    for number in range(12):
        cli.sim.invite(project, f"p{number}@example.com", age=OLD + timedelta(days=number / 10))
        cli.sim.add_user(
            f"q{number}@example.com",
            age=OLD + timedelta(days=number / 10),
            group_roles={project: ["GROUP_OWNER"]},
        )
    cli.keys["sources"] = ["invites", "users"]
    cli.keys["limits"] = {
        "max_deletions_per_project": 5,
        "over_limit": "trim",
        "max_share": 1.0,
    }
    done = cli.sweep()

    assert (done.code, done.summary["deleted"], done.summary["trimmed"]) == (0, 5, 19)
    assert {line["source"] for line in cli.lines("planned")} == {"invites", "users"}


def test_lists_of_one_project_count_together_against_its_limit(cli):
    project = cli.sim.add_project("Alpha")
    for number in range(3):
        cli.sim.invite(project, f"p{number}@example.com", age=OLD)
        cli.sim.add_user(f"q{number}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.keys["sources"] = ["invites", "users"]
    cli.keys["limits"] |= {"max_deletions_per_project": 5}
    done = cli.sweep()

    assert (done.code, cli.deletes()) == (3, 0)
    assert "6 stale invitations in project" in done.err


@pytest.mark.parametrize("source", ["users", "org_users", "org_invites"])
def test_saved_plan_of_any_source_is_applied(cli, source):
    project = cli.sim.add_project("Alpha")
    cli.sim.add_user("ada@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.keys["sources"] = [source]
    assert cli.plan("--out", "plan.jsonl").code == 0
    done = cli.sweep("--plan", "plan.jsonl")

    assert (done.code, done.summary["deleted"]) == (0, 1), done.err


def test_removal_that_could_not_be_checked_afterwards_is_reported(cli):
    project = cli.sim.add_project("Alpha")
    cli.sim.add_user("ada@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.sim.faults.add(faults.role_missing(), path="*/orgs/*/users/*", times=None)
    cli.keys["sources"] = ["users"]
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert "1 of the removed users could not be checked afterwards" in done.err


@pytest.mark.parametrize("source", ["users", "org_users", "org_invites"])
@pytest.mark.parametrize("late", [True, False], ids=["carried out", "not carried out"])
def test_open_intent_of_a_killed_run_is_checked_in_its_own_list(cli, source, late):
    project = cli.sim.add_project("Alpha")
    cli.sim.add_user("ada@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    cli.keys["sources"] = [source]
    cli.sim.faults.add(faults.hang(late=late), method="DELETE", times=999)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.deletes() >= 1)
    process.kill()
    process.communicate()
    cli.sim.faults.clear()
    done = cli.sweep()

    assert (done.code, done.summary["recovered"]) == (0, 1)
    ends = outcomes(cli, "source", "outcome")
    assert ends[0] == (source, "already_gone" if late else "failed")
    assert ends[1:] == ([] if late else [(source, "deleted")])
    assert cli.run("audit", "verify", str(cli.log_path)).code == 0


def test_list_retired_during_a_sweep_is_reported_and_the_others_continue(cli):
    project = cli.sim.add_project("Alpha")
    for number in range(4):
        cli.sim.invite(project, f"p{number}@example.com", age=OLD)
        cli.sim.add_user(f"u{number}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]})
    gone = faults.fail_with(410, "VERSION_GONE")
    cli.sim.faults.add(gone, method="DELETE", path="*/invites/*", times=99)
    cli.keys["sources"] = ["invites", "users"]
    cli.keys["execution"] = {"concurrency": 1}
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (4, 4)
    assert done.summary["failed"] + done.summary["skipped"] == 4
    assert "Atlas retired the list invites during the sweep" in done.err
    assert "write users and org_users instead of invites" in done.err
    assert len(cli.sim.invitations(project)) == 4


def test_only_list_retired_during_a_sweep_names_its_replacement(cli):
    project = cli.sim.add_project("Alpha")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    gone = faults.fail_with(410, "VERSION_GONE")
    cli.sim.faults.add(gone, method="DELETE", path="*/invites/*", times=99)
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (6, 0)
    assert "Under sources, write users and org_users instead of invites." in done.err
    assert "upgrade" not in done.err


def test_remaining_organization_invitation_is_reported_separately(cli):
    project = cli.sim.add_project("Alpha")
    cli.sim.invite(project, "ada@example.com", age=OLD)
    cli.sim.add_user("ada@example.com", age=timedelta(days=1))
    cli.keys["sources"] = ["invites", "org_invites"]
    done = cli.sweep()

    assert (done.code, done.summary["deleted"]) == (0, 1)
    (warning,) = done.warnings
    assert warning == (
        "1 user keeps an organization invitation when the project invitation is deleted: "
        "ada@example.com."
    )


@pytest.mark.parametrize("source", ["org_users", "org_invites"])
def test_invitation_with_a_team_in_an_excluded_project_is_kept(cli, source):
    sandbox, prod = cli.sim.add_project("Sandbox"), cli.sim.add_project("prod-1")
    inside, outside = cli.sim.add_team(sandbox), cli.sim.add_team(sandbox, prod)
    cli.sim.add_user("in@example.com", age=OLD, team_ids=[inside])
    cli.sim.add_user("out@example.com", age=OLD, team_ids=[inside, outside])
    cli.keys |= {"sources": [source], "projects": {"exclude": ["prod-*"]}}
    done = cli.sweep()

    assert done.code == 0, done.err
    assert done.summary["kept_by_reason"] == {"reaches_out_of_scope": 1}
    assert outcomes(cli, "username", "outcome") == [("in@example.com", "deleted")]


def test_invitations_with_a_team_are_kept_with_a_warning_if_teams_are_unreadable(cli):
    cli.sim.add_project("Sandbox")
    prod = cli.sim.add_project("prod-1")
    cli.sim.add_user("team@example.com", age=OLD, team_ids=[cli.sim.add_team()])
    cli.sim.add_user("none@example.com", age=OLD)
    cli.sim.faults.add(faults.role_missing(), path=f"*/groups/{prod}/teams", times=None)
    cli.keys |= {"sources": ["org_users"], "projects": {"exclude": ["prod-*"]}}
    done = cli.sweep()

    assert done.code == 0, done.err
    assert outcomes(cli, "username", "outcome") == [("none@example.com", "deleted")]
    (warning,) = [each for each in done.warnings if "teams" in each]
    assert warning.startswith("The teams of 1 project could not be read")
    assert "prod-1: " in warning

"""`explain` shows why a person's invitations are stale or kept, and changes nothing."""

import io
import json
import re
from datetime import timedelta

import faults
import pytest
from builders import OTHER_ORG
from rich.console import Console
from running import printed

from invite_sweeper.cli.explain import search
from invite_sweeper.cli.session import begin
from invite_sweeper.report.people import document_of_search
from invite_sweeper.report.terminal import show_document
from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.keys["rules"] = [
        {"name": "forgotten", "older_than": "14d"},
        {"name": "outsiders", "older_than": "3d", "usernames": ["*@mail.example.org"]},
    ]
    cli.keys["keep"] = [
        {"name": "board", "usernames": ["*@board.example.com"], "reason": "they travel"},
        {"name": "lapsed", "usernames": ["*"], "until": "2020-01-31"},
    ]
    return cli


async def ask(cli, *terms, **changes):
    environment = cli.environment_with(changes)
    options = {"policy": cli.write_policy(), "base_url": cli.base_url, "quiet": True}
    return await search(terms, *begin(environment, dry_run=True, **options))


def text_of(result, *, verbose=False):
    file = io.StringIO()
    show_document(Console(file=file, width=120), document_of_search(result, verbose=verbose))
    return file.getvalue()


async def test_stale_invitation_has_its_rule_its_condition_and_the_day_first(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "Ada@example.com", age=20 * DAYS)
    result = await ask(cli, "ada@EXAMPLE.com")
    (found,) = result.found
    assert found.stale_from == found.sent_at + 14 * DAYS
    _, _, row, decision, condition, place, *_ = text_of(result).splitlines()
    assert "  Ada@example.com  Search · Example Industries  " in row
    stale = f"Stale by rule forgotten since {found.stale_from:%Y-%m-%d}."
    assert decision == f"Ada@example.com  {stale}"
    assert condition.strip() == "older_than is 14 days, the invitation has 20 days"
    assert place.strip().startswith("invites, project Search, id ")


async def test_kept_invitation_names_the_entry_and_v_shows_each_entry_with_its_keys(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "ada@board.example.com", age=20 * DAYS)
    result = await ask(cli, "*@board.example.com")
    (found,) = result.found
    assert found.reason == "keep:board"
    assert found.condition.startswith("usernames is *@board.example.com, ")
    assert "rule outsiders" not in text_of(result)
    lines = [line.strip() for line in text_of(result, verbose=True).splitlines()]
    lapsed = lines.index("keep lapsed: does not match")
    assert lines[lapsed + 1].startswith("until is 2020-01-31, today")
    assert "keep board: matches (they travel)" in lines


async def test_nothing_found_shows_what_was_searched_and_what_is_excluded(cli):
    cli.keys["projects"] = {"exclude": ["prod-*"]}
    cli.sim.add_project("Search")
    cli.sim.invite(cli.sim.add_project("prod-billing"), "ada@example.com", age=20 * DAYS)
    result = await ask(cli, "ada@example.com", "zed*")
    assert (result.exit_code, result.found, result.history) == (4, [], [])
    text = text_of(result)
    assert "Nothing found for 'ada@example.com'" in text
    assert "in any list, nor in an earlier run." in text
    assert "0 invitations in 1 project (invites)" in text
    assert "prod-billing" in text


async def test_what_cannot_be_read_is_named_and_the_rest_is_searched(several):
    several.keys["sources"] = ["invites", "users"]
    several.sim.retired.add("users")
    shut = several.sim.add_project("Vault", OTHER_ORG)
    several.sim.faults.add(faults.role_missing(), path=f"*/{shut}/invites", times=10)
    result = await ask(several, "p0*", MONGODB_ATLAS_ACCESS_TOKEN_ALPHA="wrong")
    assert [each.org_id for each in result.found] == [OTHER_ORG]
    text = text_of(result)
    other = "Beta Industries"
    for name in (
        f"{ORG_ID}: ",
        f"Vault · {other}: The list invites: ",
        f"{other}: Atlas no longer serves the list users",
    ):
        assert text.count(f"Could not be read: {name}") == 1
    assert text.count("Could not be read: ") == 3
    assert result.exit_code == 4  # although a person was found


async def test_deleted_person_has_what_the_runs_did_and_the_command_that_brings_back(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "Ada@example.com", age=20 * DAYS)
    cli.keys["notice"] = {"wait": "7d"}
    assert cli.sweep().summary["announced"] == 1
    del cli.keys["notice"]
    assert (cli.sweep().summary["deleted"], cli.sweep().code) == (1, 0)
    result = await ask(cli, "ada@example.com")
    (past,) = result.history
    assert (result.exit_code, result.found, past.restores) == (0, [], True)
    deeds = past.to_json()["deeds"]
    assert [(deed["run"], deed["event"], deed["outcome"]) for deed in deeds] == [
        (1, "announced", None),
        (2, "outcome", "deleted"),
    ]
    text = text_of(result)
    decision, _, header, announced, deleted, *_ = text.splitlines()
    assert decision == "Ada@example.com: not in any list."
    assert " forgotten  deleted  " in deleted
    history = cli.run("audit", "show", "--username", "ada*").out
    assert [header, announced, deleted] == history.splitlines()[:3]  # in the words of `audit show`
    assert cli.run(*printed(text, "Invite again")).code == 0

    result = await ask(cli, "ada@example.com")
    assert result.found[0].reason == "too_young"
    deeds = result.history[0].to_json()["deeds"]
    assert [deed["outcome"] for deed in deeds] == [None, "deleted", "restored"]
    text = text_of(result)
    assert "Ada@example.com  Kept: too young for every rule" in text
    assert re.search(r" restore [34]  .*Ada@example.com .* restored ", text)
    assert re.search(" restore [34] .* restored ", cli.run(*printed(text, "All lines")).out)


async def test_person_who_accepted_is_an_active_member_and_not_invited_again(cli):
    cli.keys["sources"] = ["org_users"]
    cli.sim.add_project("Search")
    cli.sim.add_user("ada@example.com", status="PENDING", age=20 * DAYS)
    assert cli.sweep().summary["deleted"] == 1
    assert cli.run("restore").code == 0
    (user_id,) = cli.sim.organizations[ORG_ID].users
    cli.sim.set_status(user_id, "ACTIVE")
    result = await ask(cli, "ADA@example.com", "zoe@example.com")
    assert (result.exit_code, result.unknown) == (0, ("zoe@example.com",))
    text = text_of(result)
    member = "ADA@example.com is an active member of the organization Example Industries"
    assert text.splitlines()[0] == f"{member}, restored by run 2."
    assert "Not in any list" not in text
    assert "Invite again" not in text


@pytest.mark.parametrize("fault", [None, faults.role_missing()], ids=["known", "not known"])
async def test_member_whom_no_run_knows_is_asked_for_once_and_only_by_name(cli, fault):
    cli.sim.add_project("Search")
    cli.sim.add_user("ada@example.com", status="ACTIVE")
    if fault is not None:
        cli.sim.faults.add(fault, path="*/orgs/*/users", times=None)
    by_glob = await ask(cli, "ada@*")
    assert (by_glob.exit_code, by_glob.members) == (4, {})
    result = await ask(cli, "ada@example.com")
    known = (4, {}) if fault else (0, {ORG_ID: ["ada@example.com"]})
    assert (result.exit_code, result.members) == known
    text = "ada@example.com is an active member of the organization Example Industries.\n"
    assert (text in text_of(result)) is (fault is None)
    asked = [each for each in cli.sim.requests if "username=" in each.path]
    assert len(asked) == 1 or fault is not None


def test_command_sends_no_delete_and_writes_no_file(cli):
    cli.sim.invite(cli.sim.add_project("Search"), "ada@example.com", age=20 * DAYS)
    done = cli.run("explain", "ada@example.com", "-o", "json")
    assert (done.code, len(json.loads(done.out)["found"])) == (0, 1)
    assert {asked.method for asked in cli.sim.requests} == {"GET"}
    assert [path.name for path in cli.folder.iterdir()] == ["policy.yaml"]

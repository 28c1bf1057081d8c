"""`init` writes a policy that validates and never overwrites a file."""

from datetime import UTC, datetime

import faults
import pytest
from builders import OTHER_ORG
from commands.terminals import terminal_of
from running import end

from invite_sweeper.cli.init import Choice, render_policy
from invite_sweeper.models import Source
from invite_sweeper.policy import check_policy, parse_policy
from invite_sweeper.simulator.seed import ORG_ID


def written(cli, name="first.yaml"):
    """Return the policy, of which `validate` has nothing to say."""
    validated = cli.run("validate", name)
    assert (validated.code, validated.err) == (0, "")
    return parse_policy((cli.folder / name).read_bytes(), name)


def test_only_visible_organization_and_all_lists_are_taken_without_a_terminal(cli):
    cli.sim.add_project("Sandbox")
    name = "Evil\nversion: 2\u2028x: y\x85z: y"  # which adds no line to the policy
    cli.sim.organizations[ORG_ID].name = name
    done = cli.run("init", "new/first.yaml")
    assert done.code == 0, done.err
    policy = written(cli, "new/first.yaml")
    assert (policy.organization_ids, policy.sources) == ({ORG_ID}, tuple(Source))
    command = done.out.rstrip().rpartition("Next: invite-sweeper ")[2]
    assert cli.run(*command.split()).code == 0


def test_several_visible_organizations_without_a_terminal_need_an_option(cli):
    cli.sim.add_organization(OTHER_ORG, "Elsewhere")
    cli.account.org_ids = (ORG_ID, OTHER_ORG)
    done = cli.run("init", "first.yaml")
    assert done.code == 2
    assert f"Elsewhere ({OTHER_ORG})" in done.err
    assert not (cli.folder / "first.yaml").exists()
    assert cli.run("init", "first.yaml", "--organization", OTHER_ORG).code == 0


@pytest.fixture
def three_sets(cli):
    """Three organizations, each with a service account of its own, under names."""
    org_ids = {"ALPHA": "1" * 24, "BETA": "2" * 24, "GAMMA_2": "3" * 24}
    cli.use_organizations(org_ids, "service-account")
    for org_id in org_ids.values():
        cli.stock(stale=0, org_id=org_id)
    return cli


def test_three_sets_of_credentials_make_a_policy_that_validate_and_plan_accept(three_sets):
    done = three_sets.run("init", "first.yaml")
    assert done.code == 0, done.err
    text = (three_sets.folder / "first.yaml").read_text("utf-8")
    assert '{id: "111111111111111111111111", credentials: ALPHA}    # Alpha Industries' in text
    policy = written(three_sets)
    assert [each.credentials for each in policy.organizations] == ["ALPHA", "BETA", "GAMMA_2"]
    planned = three_sets.run("plan", "first.yaml", "--output", "json")
    assert (planned.code, planned.summary["projects_seen"]) == (0, 3), planned.err


@pytest.mark.parametrize(
    ("value", "names", "code"), [("x", ["BETA"], 5), (None, ["ALPHA", "GAMMA_2"], 2)]
)
def test_sets_that_are_refused_or_incomplete_are_named_at_once_and_no_file_is_written(
    three_sets, value, names, code
):
    secrets = [f"MONGODB_ATLAS_CLIENT_SECRET_{name}" for name in names]
    done = three_sets.run("init", "first.yaml", **dict.fromkeys(secrets, value))
    assert (done.code, not three_sets.sim.requests) == (code, value is None)
    assert [name for name in secrets if name not in done.err] == []
    assert "No file was written." in done.err
    assert not (three_sets.folder / "first.yaml").exists()


def test_without_credentials_options_are_enough(cli):
    options = (
        *("--organization", OTHER_ORG, "--older-than", "20d", "--source", "org_invites"),
        *("--notice", "7d"),
    )
    done = cli.run("init", "first.yaml", *options, **dict.fromkeys(cli.account.environment()))
    assert (done.code, cli.sim.requests) == (0, [])
    policy = parse_policy((cli.folder / "first.yaml").read_bytes(), "first.yaml")
    assert (policy.organization_ids, policy.sources) == ({OTHER_ORG}, (Source.ORG_INVITES,))
    assert policy.notice.wait.days == 7
    assert policy.rules[0].older_than.days == 20


def test_list_of_organizations_is_awaited_up_to_the_deadline_and_no_file_is_written(cli):
    cli.sim.faults.add(faults.hang(), path="*/orgs", times=None)
    short = "from invite_sweeper.cli import init\ninit._DEADLINE_S = 0.4\n"
    done = end(cli.fork("init", "first.yaml", "--organization", ORG_ID, prepare=short))
    assert done.code == 6
    assert "list of organizations was not read to its end" in " ".join(done.err.split())
    assert "No file was written." in done.err
    assert not (cli.folder / "first.yaml").exists()


def test_what_exists_at_the_path_is_left_as_it_is(cli):
    file, folder, link = (cli.folder / name for name in ("file", "folder", "link"))
    file.write_text("mine", "utf-8")
    folder.mkdir()
    link.symlink_to("nowhere")
    for path in (file, folder, link):
        done = cli.run("init", path.name, "--organization", ORG_ID)
        assert (done.code, "already exists" in done.err) == (2, True)
        assert "No file was written." in done.err
    assert (file.read_text("utf-8"), [*folder.iterdir()]) == ("mine", [])
    assert not link.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--organization", "prod"),
        ("--organization", ORG_ID, "--older-than", "30"),
        ("--organization", ORG_ID, "--notice", "91d"),
        ("--organization", ORG_ID, "--source", "invites", "--older-than", "25d", "--notice", "5d"),
    ],
)
def test_option_that_makes_no_valid_policy_is_wrong_usage_and_no_command_reads_it(cli, options):
    done = cli.run("init", "first.yaml", *options)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert "invite-sweeper validate" not in done.err
    assert not (cli.folder / "first.yaml").exists()


def test_terminal_asks_four_things_whose_defaults_make_a_policy(cli):
    with terminal_of(cli, "init", "first.yaml") as terminal:
        questions = ("Numbers or ids", "Age, such as", "Lists, separated", "Notice, such as")
        for question, typed in zip(questions, ("", "", "", "2d"), strict=True):
            terminal.read_until(question)
            terminal.type(f"{typed}\n")
        code, text = terminal.end()
    assert code == 0, text
    policy = written(cli)
    assert policy.notice.wait.days == 2
    assert policy.sources == tuple(Source)
    assert [rule.name for rule in policy.rules] == ["forgotten"]


def test_terminal_is_asked_until_each_answer_is_valid(cli):
    cli.sim.add_organization(OTHER_ORG, "Elsewhere")
    cli.account.org_ids = (ORG_ID, OTHER_ORG)
    with terminal_of(cli, "init", "first.yaml") as terminal:
        for question, answer in (
            ("Numbers or ids", "3"),
            ("Type numbers of the list", "1"),  # Elsewhere; organizations are listed by name
            ("Age, such as 14d or 4w", "a while"),
            ("'a while'", "4w"),
            ("Lists, separated by commas", "invitations"),
            ("The lists are", "invites, org_invites"),
            ("Notice, such as", "soon"),
            ("'soon'", "none"),
        ):
            terminal.read_until(question)
            terminal.type(f"{answer}\n")
        code, text = terminal.end()
    assert code == 0, text
    policy = parse_policy((cli.folder / "first.yaml").read_bytes(), "first.yaml")
    assert policy.organization_ids == {OTHER_ORG}
    assert policy.sources == (Source.INVITES, Source.ORG_INVITES)
    assert policy.rules[0].older_than.days == 28


def test_end_of_input_writes_no_file(cli):
    with terminal_of(cli, "init", "first.yaml") as terminal:
        terminal.read_until("Numbers or ids")
        terminal.type("\x04")
        code, text = terminal.end()
    assert code == 3
    assert "No file was written." in text
    assert not (cli.folder / "first.yaml").exists()


@pytest.mark.parametrize("day", ["2026-01-31", "2028-02-29", "2026-12-31"])
@pytest.mark.parametrize("sources", [tuple(Source)[1:], tuple(Source)], ids=["three", "all"])
def test_policy_validates_without_a_warning_on_every_day(tmp_path, day, sources):
    now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    organization = Choice(ORG_ID, 'A # name: [with] "signs"')
    text = render_policy([organization], "14d", sources, tmp_path / "a b.yaml", now, wait="7d")
    policy = parse_policy(text.encode(), "policy.yaml")
    assert check_policy(text.encode(), now.date())[1] == ()
    assert policy.sources == sources
    examples = ("# keep:", "#   -", "#     ", "# - name", "#   statuses")
    commented = "\n".join(
        line.replace("# ", "", 1) if line.lstrip().startswith(examples) else line
        for line in text.splitlines()
        if not line.startswith("#   invite-sweeper")
    )
    with_examples = parse_policy(commented.encode(), "policy.yaml")
    assert with_examples.keep[0].name == "board"
    assert with_examples.rules[-1].name == "expired-or-rejected"


def test_init_warns_about_lists_that_end_as_validate_does(cli):
    done = cli.run("init", "first.yaml", "--organization", ORG_ID, "--source", "invites")
    warning = "Warning: sources: Atlas has announced the end of each list that the policy reads"
    assert (done.code, warning in done.err) == (0, True)

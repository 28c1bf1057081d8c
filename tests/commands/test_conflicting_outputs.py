"""An output never overwrites a file that a run needs, under any name."""

import pytest


@pytest.fixture
def cli(cli):
    cli.stock()
    return cli


def refused(cli, done, message):
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert message in done.err
    assert "Atlas was not called." in done.err


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
@pytest.mark.parametrize("place", ["policy.yaml", "link", "hard-link"])
def test_output_over_the_policy_is_refused(cli, option, place):
    policy = cli.write_policy()
    (cli.folder / "link").symlink_to(policy)
    (cli.folder / "hard-link").hardlink_to(policy)
    before = policy.read_bytes()
    for words in (("plan",), ("sweep", "--yes")):
        done = cli.run(*words, "--policy", "policy.yaml", option, place)
        refused(cli, done, f"{option} {place} would overwrite the policy policy.yaml")
    assert policy.read_bytes() == before


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
@pytest.mark.parametrize(
    "place", ["audit/lock", "x/../audit/HEAD", "audit/000001-a.jsonl", "link/x"]
)
def test_output_in_the_audit_directory_is_refused(cli, option, place):
    (cli.folder / "link").symlink_to("audit")
    done = cli.sweep(option, place)
    refused(cli, done, f"{option} {place} is in the audit directory")
    assert not cli.audit_dir.exists()


def test_output_over_the_plan_in_use_is_refused(cli):
    assert cli.plan("--out", "plan.jsonl").code == 0
    done = cli.sweep("--plan", "plan.jsonl", "--metrics-file", "plan.jsonl")
    assert done.code == 2
    assert "--metrics-file plan.jsonl would overwrite the plan plan.jsonl" in done.err


def test_two_outputs_to_one_file_are_refused(cli):
    done = cli.sweep("--out", "one", "--metrics-file", "./one")
    refused(cli, done, "--out one would overwrite --metrics-file one")


def test_output_to_a_link_to_itself_is_not_an_internal_error(cli):
    (cli.folder / "loop").symlink_to("loop")
    done = cli.plan("--out", "loop")
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert "The plan loop cannot be written" in done.err


def test_outputs_beside_the_audit_directory_and_the_policy_are_replaced(cli):
    beside = ("--out", "plan.jsonl", "--metrics-file", "policy.yaml.prom")
    assert cli.plan(*beside).code == 0
    assert cli.plan(*beside).code == 0
    found = sorted(path.name for path in cli.folder.iterdir())
    assert found == ["audit", "plan.jsonl", "policy.yaml", "policy.yaml.prom"]


@pytest.mark.parametrize("named", [True, False], ids=["file", "directory"])
def test_report_over_a_file_that_it_reads_is_refused(cli, named):
    assert cli.sweep().code == 0
    (cli.folder / "link").symlink_to(cli.log_path)
    before = cli.log_path.read_bytes()
    what = (str(cli.log_path),) if named else ("--policy", "policy.yaml")
    done = cli.run("report", *what, "--out", "link")
    assert done.code == 2
    assert f"--out link would overwrite the audit log {cli.log_path}" in done.err
    assert cli.log_path.read_bytes() == before

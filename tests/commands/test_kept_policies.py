"""The second line of each run's file is its policy: which rules were in force that night."""

import hashlib
import json

import pytest


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def policy_bytes(cli):
    return (cli.folder / "policy.yaml").read_bytes()


def shown(cli, *runs):
    return cli.run("audit", "show", *runs, "--policy", "--audit-dir", "audit")


def test_the_second_line_of_each_run_is_its_policy_and_show_prints_it_byte_for_byte(cli):
    cli.stock()
    assert cli.plan().code == 0
    assert cli.sweep().code == 0
    first = policy_bytes(cli)
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@bücher.example.com"]}]
    assert cli.sweep().code == 0
    assert cli.run("restore", "2", "--yes", "--policy", "policy.yaml").code == 0
    second = policy_bytes(cli)
    assert first != second
    for run, (path, data) in enumerate(
        zip(cli.run_files(), (first, first, second, second), strict=True), 1
    ):
        start, policy, *_ = lines(path)
        assert (policy["event"], policy["text"].encode()) == ("policy", data)
        assert start["policy_sha256"] == hashlib.sha256(data).hexdigest()
        for name in (str(run), str(path)):
            done = shown(cli, name)
            assert (done.code, done.out.encode()) == (0, data), done.err
    assert not (cli.audit_dir / "policies").exists()


def test_show_of_a_run_and_of_a_plan_elsewhere_names_the_command_that_prints_the_policy(cli):
    cli.stock()
    assert cli.plan("--out", "plan.jsonl").code == 0
    for run, command in (
        (("1", "--audit-dir", "audit"), "audit show 1 --policy --audit-dir audit"),
        (("plan.jsonl",), f"audit show {cli.folder / 'plan.jsonl'} --policy"),
    ):
        out = cli.run("audit", "show", *run).out
        assert f"Policy       invite-sweeper {command}\n" in out, out
        done = cli.run(*command.split())
        assert (done.code, done.out.encode()) == (0, policy_bytes(cli)), done.err


def test_what_was_changed_from_one_run_to_another_is_printed_as_a_diff(cli):
    cli.stock()
    assert cli.sweep().code == 0
    assert cli.sweep().code == 0
    cli.keys["rules"] = [{"name": "forgotten", "older_than": "30d"}]
    assert cli.sweep().code == 0
    done = shown(cli, "1", "3")
    assert done.code == 0
    changed = [line for line in done.out.splitlines() if line[:1] in "+-"]
    assert changed[:2] == ["--- before", "+++ after"]
    assert any("30d" in line and line[0] == "+" for line in changed)
    assert shown(cli, "1", "2").out == "\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "of one RUN"),
        (("1", "1", "1"), "of one RUN"),
        (("1", "--event", "planned"), "no filter"),
        (("1", "-o", "json"), "other format"),
    ],
)
def test_policy_without_a_path_needs_one_run_or_two_and_no_filter(cli, words, message):
    cli.stock()
    assert cli.plan().code == 0
    done = shown(cli, *words)
    assert done.code == 2
    assert message in " ".join((done.out + done.err).split())


def test_policy_with_a_path_still_names_the_directory(cli):
    cli.stock()
    assert cli.sweep().code == 0
    assert "forgotten" in cli.run("audit", "show", "1", "--policy", "policy.yaml").out


def test_a_forged_policy_is_damage_and_is_not_printed(cli):
    cli.stock()
    assert cli.plan().code == 0
    (path,) = cli.run_files()
    data = path.read_bytes().replace(b'"text":"', b'"text":"\\u001b[2J', 1)
    forged = cli.folder / "forged.jsonl"
    forged.write_bytes(data)
    done = cli.run("audit", "show", "forged.jsonl", "--policy")
    assert (done.code, done.out) == (3, "")  # the line after it does not follow


def test_a_directory_with_copies_of_an_earlier_version_is_read_and_its_copies_are_left_alone(cli):
    cli.stock()
    assert cli.plan().code == 0
    folder = cli.audit_dir / "policies"
    folder.mkdir()
    copy = folder / f"{'a' * 64}.yaml"
    copy.write_bytes(b"not what its name says")
    assert cli.sweep().code == 0
    assert cli.run("audit", "verify", "audit").code == 0
    assert [each.read_bytes() for each in folder.iterdir()] == [b"not what its name says"]


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_a_shard_records_the_whole_policy(several, shard):
    assert several.sweep("--shard", shard).code == 0
    (path,) = several.run_files()
    assert lines(path)[1]["text"].encode() == policy_bytes(several)

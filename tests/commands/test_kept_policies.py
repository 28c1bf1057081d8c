"""The second line of each run's file is its policy: which rules were in force that night."""

import hashlib
import json

import pytest
from builders import NOW

from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.events import DECODERS, PolicyText


@pytest.fixture
def cli(cli):
    cli.stock()
    return cli


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def policy_bytes(cli):
    return (cli.folder / "policy.yaml").read_bytes()


def shown(cli, *runs):
    return cli.run("audit", "show", *runs, "--policy")


def test_second_line_of_each_run_is_its_policy_which_show_prints_to_the_byte_or_as_a_diff(cli):
    assert (cli.plan().code, cli.sweep().code) == (0, 0)
    first = policy_bytes(cli)
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@bücher.example.com"]}]
    assert (cli.sweep().code, cli.run("restore", "2").code) == (0, 0)
    second = policy_bytes(cli)
    for path, data in zip(cli.run_files(), (first, first, second, second), strict=True):
        start, policy, *_ = lines(path)
        assert (policy["event"], policy["text"].encode()) == ("policy", data)
        assert start["policy_sha256"] == hashlib.sha256(data).hexdigest()
        assert shown(cli, str(path)).out.encode() == data
    changes = shown(cli, "2", "3").out.splitlines()
    assert changes[:2] == ["--- before", "+++ after"]
    assert "+- name: board" in changes
    assert shown(cli, "1", "2").out == "\n"


def test_a_policy_with_the_password_of_an_option_is_refused_before_a_run_begins(cli):
    cli.write_policy()
    (cli.folder / "leaky.yaml").write_bytes(policy_bytes(cli) + b"# hunter2hunter2\n")
    gateway = "http://pusher:hunter2hunter2@127.0.0.1:9"
    done = cli.run("plan", "--policy", "leaky.yaml", "--pushgateway", gateway)
    assert (done.code, cli.run_files(), cli.sim.requests) == (2, [], []), done.err
    assert "contains a secret" in done.err
    assert "hunter2" not in done.err


def test_a_plan_whose_policy_is_not_the_one_of_its_hash_is_refused(cli):
    """Its chain is made anew: a second person would read another policy than the sweep follows."""
    assert cli.plan().code == 0
    start, _, *rest = cli.run_files()[0].read_bytes().splitlines()
    mode = json.loads(start)
    forger = HashChain(mode["run_id"], mode["prev"], lambda: NOW)
    forged = [forger.add(DECODERS["run_started"].decode(start)), forger.add(PolicyText("x"))]
    forged += [forger.add(DECODERS[json.loads(line)["event"]].decode(line)) for line in rest]
    (cli.folder / "plan.jsonl").write_bytes(b"".join(line + b"\n" for line in forged))
    for words in (
        ("sweep", "--plan", "plan.jsonl"),
        ("audit", "verify", "plan.jsonl"),
        ("audit", "show", "plan.jsonl", "--policy"),
    ):
        done = cli.run(*words)
        assert (done.code, cli.deletes()) == (3, 0), (words, done.err)
        assert "not the policy whose SHA-256" in " ".join((done.out + done.err).split())


def test_policy_without_a_path_needs_one_run_or_two_and_no_filter(cli):
    assert cli.plan().code == 0
    assert "of one RUN" in " ".join(shown(cli).err.split())
    assert "no filter" in " ".join(shown(cli, "1", "--event", "planned").err.split())
    assert "other format" in " ".join(shown(cli, "1", "-o", "json").err.split())


def test_a_policy_longer_than_any_other_value_is_recorded_and_printed_whole(cli):
    cli.write_policy()
    path = cli.folder / "long.yaml"
    comment = "# mail: Bearer of-no-secret-at-all, https://a:b@host\r\n"
    path.write_bytes(policy_bytes(cli) + comment.encode() + "# ü — long\n".encode() * 2000)
    assert cli.run("plan", "--policy", path.name).code == 0
    assert lines(cli.run_files()[0])[1]["text"].encode() == path.read_bytes()
    assert shown(cli, "1").out.count("# ü — long") == 2000
    assert cli.run("audit", "verify").code == 0

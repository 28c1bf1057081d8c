"""`sweep` and `plan` as processes: deletions, output, exit codes and audit log."""

import re
import signal
from collections import Counter

import faults
import pytest
from running import end, wait_until


@pytest.fixture
def cli(cli):
    cli.stock(3, 2, 1)
    return cli


def test_detailed_exitcode_applies_only_to_dry_runs(cli):
    done = cli.plan("--detailed-exitcode")
    assert (done.code, done.summary["exit_code"]) == (10, 10)
    assert cli.sweep("--detailed-exitcode").code == 0
    assert cli.plan("--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--base-url", "http://atlas.example.com"), "atlas.example.com unencrypted"),
        (("--plan", ""), "has no run ''."),
        (("--deadline", "5"), "--deadline '5' is not a duration.\n  Atlas was not called.\n"),
        (("--base-url", "https://atlas.example.com"), "The value of HTTPS_PROXY is not a valid"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_wrong_usage_ends_with_2_and_atlas_is_not_called(cli, words, message):
    proxy = "ada:p4ssw0rd@proxy.example.com:3128"
    done = cli.run("sweep", *words, HTTPS_PROXY=proxy)
    assert (done.code, done.out, cli.sim.requests) == (2, "", [])
    assert message in done.err
    assert not re.search("p4ssw0rd|Traceback", done.err)


def test_signal_ends_the_sweep_with_8_and_everything_is_accounted_for(cli):
    cli.stock(4, 10)
    cli.keys["execution"] = {"concurrency": 4}
    cli.sim.faults.add(faults.delay(0.05), method="DELETE", times=None)
    process = cli.fork("sweep", "--output", "json")
    wait_until(lambda: cli.deletes() >= 8)
    process.send_signal(signal.SIGINT)
    done = end(process)
    outcomes = Counter(line["outcome"] for line in cli.lines("outcome"))
    assert (done.code, outcomes.total()) == (8, 46), done.err
    assert outcomes["deleted"] == len(cli.sim.deleted) == done.summary["deleted"]
    assert outcomes["skipped"] == done.summary["skipped"] > 0
    assert cli.lines()[-1]["event"] == "run_finished"
    cli.sim.faults.rules.clear()
    assert cli.sweep().code == 0
    assert cli.sim.invitation_count() == 3


def test_policy_path_comes_from_the_environment_and_an_option_overrides_its_directory(cli):
    words = ("plan", "--output", "json", "--audit-dir", "elsewhere")
    done = cli.run(*words, INVITE_SWEEPER_POLICY="policy.yaml")
    (file,) = (cli.folder / "elsewhere").glob("000001-*.jsonl")
    assert (done.summary["stale"], done.summary["audit_file"]) == (6, str(file))
    assert not cli.audit_dir.exists()

"""Which policy and audit directory a command takes that names none, and what its hints name."""

import shutil

from forked import Fork
from running import end

NEW_LOG = "No earlier run is known: a new log begins in"


def run(cli, *words):
    """Run a command without writing the policy before."""
    return end(Fork(list(words), cli.folder, cli.environment))


def test_policy_yaml_comes_before_config_policy_yaml_for_every_command(cli):
    cli.stock()
    cli.write_policy()
    config = cli.folder / "config"
    config.mkdir()
    shutil.move(cli.folder / "policy.yaml", config / "policy.yaml")
    for words in (("validate",), ("plan",), ("audit", "show"), ("audit", "show", "1", "--policy")):
        done = run(cli, *words)
        assert done.code == 0, (words, done.err)
    assert len(list((config / "audit").glob("*.jsonl"))) == 1
    shutil.copy(config / "policy.yaml", cli.folder / "policy.yaml")
    assert run(cli, "plan").code == 0
    assert len(cli.run_files()) == 1


def test_a_forgotten_audit_dir_after_a_move_is_told_also_quietly(cli):
    cli.stock()
    words = ("plan", "--policy", "policy.yaml", "-q", "--log-format", "text")
    assert NEW_LOG in " ".join(cli.run(*words, "--audit-dir", "log").err.split())
    assert cli.run(*words, "--audit-dir", "log").err == ""
    shutil.move(cli.folder / "log", cli.folder / "moved")
    done = cli.run(*words)
    assert (done.code, NEW_LOG in " ".join(done.err.split())) == (0, True)
    assert "name its directory with --audit-dir DIR" in " ".join(done.err.split())
    assert cli.run(*words, "--audit-dir", "moved").err == ""

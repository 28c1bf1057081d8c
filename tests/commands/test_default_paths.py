"""Which policy and audit directory a command takes that names none."""

import shutil

from forked import Fork
from running import end


def test_policy_yaml_comes_before_config_policy_yaml_for_every_command(cli):
    cli.stock()
    policy = cli.write_policy()
    config = cli.folder / "config"
    config.mkdir()
    shutil.move(policy, config)

    def run(*words):
        return end(Fork(words, cli.folder, cli.environment)).code

    for words in (("validate",), ("plan",), ("audit", "show"), ("audit", "show", "1", "--policy")):
        assert run(*words) == 0, words
    assert len(list((config / "audit").glob("*.jsonl"))) == 1
    shutil.copy(config / "policy.yaml", policy)
    assert run("plan") == 0
    assert len(cli.run_files()) == 1

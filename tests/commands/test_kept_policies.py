"""The policy of each run is kept beside its file: which rules were in force that night."""

import hashlib
import json
import stat

import pytest


def copies(cli):
    return sorted((cli.audit_dir / "policies").iterdir())


def test_each_policy_is_kept_once_and_named_by_the_run(cli):
    cli.stock()
    assert cli.plan().code == 0
    assert cli.sweep().code == 0
    first = (cli.folder / "policy.yaml").read_bytes()
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@board.example.com"]}]
    assert cli.sweep().code == 0
    second = (cli.folder / "policy.yaml").read_bytes()
    assert {each.name: each.read_bytes() for each in copies(cli)} == {
        f"{hashlib.sha256(data).hexdigest()}.yaml": data for data in (first, second)
    }
    assert {stat.S_IMODE(each.stat().st_mode) for each in copies(cli)} == {0o600}
    for run, data in (("1", first), ("2", first), ("3", second)):
        out = cli.run("audit", "show", run, "--audit-dir", "audit").out
        (line,) = (line for line in out.splitlines() if line.startswith("Policy   "))
        assert line.endswith(f"/policies/{hashlib.sha256(data).hexdigest()}.yaml")


def test_a_policy_that_cannot_be_kept_ends_with_7_before_atlas_is_called(cli):
    cli.stock()
    cli.audit_dir.mkdir(mode=0o700)
    (cli.audit_dir / "policies").touch(0o600)
    done = cli.sweep()
    assert (done.code, cli.run_files(), cli.sim.requests) == (7, [], ()), done.err
    assert "policies" in done.err


def test_a_changed_copy_refuses_the_next_run_with_that_policy(cli):
    cli.stock()
    assert cli.plan().code == 0
    (copy,) = copies(cli)
    copy.write_bytes(b"version: 1\n")
    requests = len(cli.sim.requests)
    done = cli.sweep()
    assert (done.code, len(cli.run_files()), len(cli.sim.requests)) == (3, 1, requests)
    assert f"{copy.name} was changed" in done.err


def test_a_changed_copy_of_any_policy_is_damage_and_a_missing_one_is_reported(cli):
    cli.stock()
    assert cli.plan().code == 0
    (copy,) = copies(cli)
    before = copy.read_bytes()
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@board.example.com"]}]
    assert cli.sweep().code == 0
    copy.write_bytes(before + b"#")
    done = cli.run("audit", "verify", "audit")
    assert (done.code, f"{copy.name} was changed" in done.out) == (3, True), done.out
    assert cli.sweep().code == 3
    assert f"{copy.name} was changed" in cli.run("restore", "2", "--policy", "policy.yaml").err
    assert f"{copy.name} was changed" in cli.run("audit", "show", "--audit-dir", "audit").err
    copy.unlink()
    done = cli.run("audit", "verify", "audit")
    assert (done.code, done.out.startswith("Sound")) == (0, True)
    assert f"Missing  policies/{copy.name}\n" in done.out
    found = json.loads(cli.run("audit", "verify", "audit", "-o", "json").out)
    assert found["missing_policies"] == [copy.name.removesuffix(".yaml")]
    assert cli.sweep().code == 0
    copy.write_bytes(before)
    assert "Missing" not in cli.run("audit", "verify", "audit").out


def test_a_restore_has_no_policy_of_its_own_and_keeps_none(cli):
    cli.stock()
    assert cli.sweep().code == 0
    (copy,) = copies(cli)
    copy.unlink()
    assert cli.run("restore", "1", "--yes", "--policy", "policy.yaml").code == 0
    assert copies(cli) == []


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_a_shard_keeps_the_whole_policy(several, shard):
    assert several.sweep("--shard", shard).code == 0
    (copy,) = copies(several)
    assert copy.read_bytes() == (several.folder / "policy.yaml").read_bytes()

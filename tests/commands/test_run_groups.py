"""One command over several organizations, each with its own credentials; and shards."""

from pathlib import Path

import faults
import pytest
from running import end

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "89abcdef0123456789abcdef")
NAMES = ("ALPHA", "BETA", "GAMMA")
VARIABLE = "MONGODB_ATLAS_ACCESS_TOKEN_"


@pytest.fixture
def cli(cli):
    """Three organizations."""
    cli.use_organizations(dict(zip(NAMES, ORGS, strict=True)))
    return cli


def invite(cli, *counts):
    """Add a project with stale invitations to each organization."""
    for org_id, count in zip(ORGS, counts, strict=True):
        cli.stock(stale=count, org_id=org_id)


def left(cli):
    return [len(cli.sim.invitations(project)) for project in cli.projects]


def test_run_that_cannot_read_the_names_of_organizations_in_time_deletes_as_usual(cli):
    cli.sim.faults.add(faults.hang(), method="GET", path="*/orgs", times=None)
    invite(cli, 1, 0, 0)
    short = "from invite_sweeper.sweep import discovery\ndiscovery._OPTIONAL_TIMEOUT_S = 0.3"
    done = end(cli.fork("sweep", "--policy", "policy.yaml", "--output", "json", prepare=short))
    assert (done.code, done.summary["deleted"], done.summary["error"]) == (0, 1, None)
    assert [each["name"] for each in done.summary["organizations"]] == [None] * 3
    assert {each["level"] for each in done.summary["warnings"]} == {"remark"}


def test_shards_sweep_each_organization_once_with_its_own_credentials_alone(cli):
    invite(cli, 3, 4, 5)
    for index, name in enumerate(NAMES):
        shard = "auto/3" if index else "1/3"  # an indexed Job has its index in the environment
        options = ("--shard", shard, "--audit-dir", f"audit/{index}")
        others = {VARIABLE + each: None for each in NAMES if each != name}
        done = cli.sweep(*options, **others, JOB_COMPLETION_INDEX=f"{index}")
        assert (done.code, done.summary["deleted"]) == (0, 3 + index)
        assert [each["id"] for each in done.summary["organizations"]] == [ORGS[index]]
        log = Path(done.summary["audit_file"]).read_text(encoding="utf-8")
        assert f'"shard":"{index + 1}/3"' in log
        assert cli.run("audit", "verify", f"audit/{index}").code == 0
    assert left(cli) == [0, 0, 0]


def test_shard_without_an_organization_is_done_and_warns_of_it(cli):
    invite(cli, 1, 1, 1)
    done = cli.sweep("--shard", "1000000000/1000000000", "--metrics-file", "sweeper.prom")
    assert (done.code, done.summary["exit_code"], done.summary["organizations"]) == (0, 0, [])
    assert (done.summary["invitations"], done.summary["requests"]) == ([], 0)
    text = cli.run("sweep", "--policy", "policy.yaml", "--shard", "5/5").out
    said = "Done the shard 5/5 has no organization; 3 shards would be used"
    assert " ".join(text.split()).startswith(said)
    assert done.summary["shards_used"] == 3
    assert left(cli) == [1, 1, 1]
    assert (cli.folder / "sweeper-1000000000-of-1000000000.prom").exists()

"""One command over several organizations, each with its own credentials; and shards."""

import faults
import pytest
from running import end

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "89abcdef0123456789abcdef")
NAMES = ("ALPHA", "BETA", "GAMMA")


@pytest.fixture
def cli(cli):
    cli.use_organizations(dict(zip(NAMES, ORGS, strict=True)))
    for org_id in ORGS:
        cli.stock(org_id=org_id)
    return cli


def test_run_that_cannot_read_the_names_of_organizations_in_time_deletes_as_usual(cli):
    cli.sim.faults.add(faults.hang(), method="GET", path="*/orgs", times=None)
    short = "from invite_sweeper.sweep import discovery\ndiscovery._OPTIONAL_TIMEOUT_S = 0.3"
    done = end(cli.fork("sweep", "--output", "json", prepare=short))
    assert (done.code, done.summary["deleted"], done.summary["error"]) == (0, 3, None)
    assert [each["name"] for each in done.summary["organizations"]] == [None] * 3
    assert {each["level"] for each in done.summary["warnings"]} == {"remark"}


def test_shards_sweep_each_organization_once_with_its_own_credentials_alone(cli):
    for index, name in enumerate(NAMES):
        shard = "auto/3" if index else "1/3"  # an indexed Job has its index in the environment
        options = ("--shard", shard, "--audit-dir", f"audit/{index}")
        others = {f"MONGODB_ATLAS_ACCESS_TOKEN_{each}": None for each in NAMES if each != name}
        done = cli.sweep(*options, **others, JOB_COMPLETION_INDEX=f"{index}")
        assert (done.code, done.summary["deleted"]) == (0, 1)
        assert [each["id"] for each in done.summary["organizations"]] == [ORGS[index]]
        assert cli.lines("run_started")[-1]["shard"] == f"{index + 1}/3"
    assert cli.sim.invitation_count() == 0


def test_shard_without_an_organization_is_done_and_warns_of_it(cli):
    done = cli.run("sweep", "--shard", "1000000000/1000000000", "--metrics-file", "sweeper.prom")
    assert (done.code, cli.sim.requests) == (0, [])
    said = "Done the shard 1000000000/1000000000 has no organization; 3 shards would be used"
    assert " ".join(done.out.split()).startswith(said)
    assert (cli.folder / "sweeper-1000000000-of-1000000000.prom").exists()

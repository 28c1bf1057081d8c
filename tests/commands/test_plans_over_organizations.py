"""One plan, one hash and one sweep over three organizations with a credential each."""

import re

import pytest
from running import cli_in

from invite_sweeper.simulator.seed import ORG_ID

ORGS = {"ALPHA": ORG_ID, "BETA": "2" * 24, "GAMMA": "3" * 24}
WRONG = {"MONGODB_ATLAS_ACCESS_TOKEN_BETA": "wrong"}


@pytest.fixture
def cli(tmp_path):
    """Two stale invitations in each organization."""
    with cli_in(tmp_path) as made:
        made.sim.add_organization(ORG_ID, "Alpha Industries")
        made.use_organizations(ORGS)
        for org_id in ORGS.values():
            made.stock(2, org_id=org_id)
        yield made


def left(cli):
    return [len(cli.sim.invitations(each)) for each in cli.projects]


def test_one_plan_is_read_by_a_second_person_and_applied_in_all_organizations_once(cli):
    assert cli.plan().code == 0
    late = cli.stock(1)[0]
    shown = cli.run("audit", "show", "1", "--policy", "policy.yaml", COLUMNS="200").out
    for number, (name, org_id) in enumerate(ORGS.items()):
        place = rf"Project {2 * number} of organization {name.title()} Industries \({org_id}\)  1"
        assert re.search(rf"^{place}\n +20\.\d d +p0@example\.com", shown, re.MULTILINE), shown
    sha256 = re.search(r"^SHA-256  ([0-9a-f]{64})\n\Z", shown, re.MULTILINE)[1]
    by_plan = ("--plan", "1", "--plan-sha256", sha256)
    done = cli.sweep(*by_plan)
    assert (done.code, left(cli)) == (0, [0] * 6 + [1]), done.err
    assert len(cli.sim.invitations(late)) == 1
    assert cli.lines("run_started")[-1]["plan_sha256"] == sha256
    assert (cli.sweep(*by_plan).code, cli.deletes()) == (3, 6)


def test_organization_whose_credential_fails_after_the_plan_is_left_out_and_said(cli):
    cli.plan()
    done = cli.sweep("--plan", "1", **WRONG)
    assert (done.code, left(cli)) == (4, [0, 0, 1, 1, 0, 0])
    assert [each["exit_code"] for each in done.summary["organizations"]] == [0, 5, 0]
    beta = done.summary["organizations"][1]
    assert (beta["name"], beta["deleted"]) == ("Beta Industries", 0)  # known from the log
    assert done.errors[0].startswith(f"Organization Beta Industries ({ORGS['BETA']}): ")
    assert "MONGODB_ATLAS_ACCESS_TOKEN_BETA" in done.err


def test_organization_whose_credential_fails_at_the_plan_is_not_in_it(cli):
    assert cli.plan(**WRONG).code == 4
    planned = {line["org_id"] for line in cli.lines("planned")}
    assert planned == {ORGS["ALPHA"], ORGS["GAMMA"]}
    assert cli.sweep("--plan", "1").code == 0
    assert left(cli) == [0, 0, 1, 1, 0, 0]

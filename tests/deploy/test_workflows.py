"""The workflows use pinned actions, minimal permissions and the gate."""

import re

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import ROOT

WORKFLOWS = ROOT / ".github/workflows"
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def workflow(name):
    return yaml.safe_load((WORKFLOWS / name).read_text())


def uses():
    """Return the external action of each step, with its comment."""
    lines = [line for path in WORKFLOWS.glob("*.yml") for line in path.read_text().splitlines()]
    found = [re.sub(r"^[\s-]*uses: ", "", line) for line in lines if "uses: " in line]
    return [each for each in found if not each.startswith("./")]


def test_every_action_is_pinned_by_hash_with_its_version_in_a_comment():
    assert len(uses()) >= 6
    assert [each for each in uses() if not PINNED.fullmatch(each)] == []


def test_every_action_is_pinned_to_one_hash():
    pins = {each.split(" ")[0] for each in uses()}

    assert len(pins) == len({pin.split("@")[0] for pin in pins})


@pytest.mark.parametrize("name", ["gate.yml", "release.yml"])
def test_only_jobs_have_permissions(name):
    assert workflow(name)["permissions"] == {}
    assert all("permissions" in job for job in workflow(name)["jobs"].values())


def test_only_the_publish_job_may_publish_and_it_needs_the_gate():
    jobs = workflow("release.yml")["jobs"]

    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["needs"] == "build"
    assert jobs["build"]["needs"] == "gate"
    assert jobs["gate"]["uses"] == "./.github/workflows/gate.yml"
    assert "contents" not in jobs["publish"]["permissions"]


def test_gate_workflow_runs_only_ci_run():
    (job,) = workflow("gate.yml")["jobs"].values()

    assert job["steps"][-1] == {"run": ".ci/run"}


def test_publishing_uses_no_stored_secret():
    assert not [p for p in WORKFLOWS.glob("*.yml") if "secrets." in p.read_text()]


@pytest.mark.deploy_tools("zizmor")
def test_zizmor_finds_only_documented_exceptions():
    done = run("zizmor", "--offline", "--quiet", "--no-progress", WORKFLOWS, check=False)

    assert done.returncode == 0, done.stdout

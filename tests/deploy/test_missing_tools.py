"""Without a tool a test says so: it is skipped by hand, and fails where the gate runs."""

import os
import sys

import pytest
from deploy.conftest import REQUIRED
from deploy.containers import run
from deploy.manifests import ROOT

ONE = "tests/deploy/test_arming.py::test_the_base_and_the_dry_run_overlay_are_the_same_dry_run"


@pytest.fixture
def outcome(tmp_path):
    """Run one test on a machine that has no kustomize."""

    def run_one(**variables):
        command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rEs", ONE)
        without = {k: v for k, v in os.environ.items() if k != REQUIRED}
        environment = without | {"PATH": str(tmp_path)} | variables
        return run(*command, cwd=ROOT, env=environment, check=False)

    return run_one


def test_it_is_skipped_with_the_reason(outcome):
    done = outcome()

    assert done.returncode == 0
    assert "1 skipped" in done.stdout
    assert "this machine lacks kustomize" in done.stdout


def test_it_fails_with_the_reason_where_a_skip_is_forbidden(outcome):
    done = outcome(**{REQUIRED: "1"})

    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "this machine lacks kustomize" in done.stdout

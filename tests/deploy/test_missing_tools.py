"""A test without its command is skipped with a reason, and fails in the gate."""

import os
import sys

import pytest
from deploy.containers import run
from deploy.manifests import ROOT
from needs import REQUIRED

ONE = "tests/deploy/test_arming.py::test_base_and_dry_run_overlay_are_the_same_dry_run"


@pytest.fixture
def outcome(tmp_path):
    """Run one test without kustomize in the PATH."""

    def run_one(**variables):
        command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rEs", ONE)
        without = {k: v for k, v in os.environ.items() if k != REQUIRED}
        environment = without | {"PATH": str(tmp_path)} | variables
        return run(*command, cwd=ROOT, env=environment, check=False)

    return run_one


def test_without_the_command_the_test_is_skipped_with_a_reason(outcome):
    done = outcome()

    assert done.returncode == 0
    assert "1 skipped" in done.stdout
    assert "bash tests/deploy/install-tools.sh" in done.stdout


def test_with_the_variable_set_the_test_fails_with_a_reason(outcome):
    done = outcome(**{REQUIRED: "1"})

    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "missing: kustomize" in done.stdout

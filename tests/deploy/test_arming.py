"""Every file of `deploy/` ships as a dry run, and one line is all that arms it."""

import re

import pytest
from deploy.manifests import DEPLOY, KUBERNETES, built, changed_lines, container, cronjob

DRY = {"plan", "--dry-run"}


def job_lines(text):
    return [line for line in text.splitlines() if "bin/invite-sweeper " in line]


def test_the_crontab_is_a_dry_run():
    (line,) = job_lines((DEPLOY / "cron/invite-sweeper.crontab").read_text())

    assert " plan " in line
    assert "sweep" not in re.sub(r"invite-sweeper", "", line)


@pytest.mark.deploy_tools("kustomize")
def test_the_base_and_the_dry_run_overlay_are_the_same_dry_run():
    base = built(KUBERNETES / "base")

    assert container(cronjob(base))["args"][0] == "plan"
    assert built(KUBERNETES / "overlays/dry-run") == base


@pytest.mark.deploy_tools("kustomize")
def test_one_word_is_the_only_difference_between_the_dry_run_and_the_sweep():
    dry, armed = (built(KUBERNETES / "overlays" / name) for name in ("dry-run", "sweep"))

    assert changed_lines(dry, armed) == (["- plan"], ["- sweep"])
    assert container(cronjob(armed))["args"][0] == "sweep"


def test_the_overlays_differ_in_the_one_line_that_arms():
    dry, armed = (
        (KUBERNETES / "overlays" / name / "kustomization.yaml").read_text()
        for name in ("dry-run", "sweep")
    )

    removed, added = changed_lines(dry, armed)
    assert removed == []
    assert [line.split("  #")[0] for line in added] == ["components: [../../components/armed]"]

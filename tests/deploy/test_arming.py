"""Every file of `deploy/` ships as a dry run that one changed line arms."""

import re
from dataclasses import dataclass

import pytest
import yaml
from deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    built,
    changed_lines,
    container,
    cronjob,
    options,
)


@dataclass(frozen=True)
class Arming:
    """A file that runs the program, and its line that arms it.

    Attributes:
        shipped: A pattern of the shipped line.
        armed: Its replacement.
        command: Returns the command that the file runs, from its text.
    """

    file: str
    shipped: str
    armed: str
    command: object


def command_of_crontab(text):
    (job,) = (line for line in text.splitlines() if "/bin/invite-sweeper " in line)
    return job.split()[7]


def command_of_service(text):
    (start,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)", text, re.MULTILINE)
    return start.replace("\\\n", " ").split()[1]


def command_of_dockerfile(text):
    (command,) = re.findall(r"^CMD (.*)", text, re.MULTILINE)
    return yaml.safe_load(command)[0]


def command_of_values(text):
    return {"dry-run": "plan", "sweep": "sweep"}[yaml.safe_load(text)["mode"]]


def command_of_cronjob(text):
    return container(yaml.safe_load(text))["args"][0]


ARMINGS = [
    Arming("cron/invite-sweeper.crontab", r" plan ", " sweep ", command_of_crontab),
    Arming(
        "systemd/invite-sweeper.service", r"^    plan \\$", r"    sweep \\\\", command_of_service
    ),
    Arming("docker/Dockerfile", r'^CMD \["plan"\]$', 'CMD ["sweep"]', command_of_dockerfile),
    Arming("helm/values.yaml", r"^mode: dry-run$", "mode: sweep", command_of_values),
    Arming("kubernetes/base/cronjob.yaml", r"^( +)- plan$", r"\1- sweep", command_of_cronjob),
]


@pytest.mark.parametrize("arming", ARMINGS, ids=lambda arming: arming.file)
def test_file_is_a_dry_run_and_one_line_arms_it(arming):
    shipped = (DEPLOY / arming.file).read_text(encoding="utf-8")
    armed, times = re.subn(arming.shipped, arming.armed, shipped, flags=re.MULTILINE)
    removed, added = changed_lines(shipped, armed)

    assert times == len(removed) == len(added) == 1
    assert arming.command(shipped) == "plan"
    assert arming.command(armed) == "sweep"


def test_no_other_file_of_deploy_runs_the_program():
    """New files that run the program must be added to ARMINGS."""
    runs = re.compile(r"bin/invite-sweeper\b|--audit-dir|ENTRYPOINT|^\s+args:", re.MULTILINE)
    indirect = {"README.md", "several-organizations.md", "helm/templates/cronjob.yaml"}
    indirect.add("kubernetes/overlays/sharded/kustomization.yaml")
    # Never armed; test_pull_requests.py checks their commands.
    indirect |= {"github/policy.yml", "gitlab/policy.gitlab-ci.yml"}
    files = [p for p in DEPLOY.rglob("*") if p.is_file() and "monitoring" not in p.parts]
    running = {
        str(p.relative_to(DEPLOY)) for p in files if runs.search(p.read_text(encoding="utf-8"))
    }

    assert running - indirect == {arming.file for arming in ARMINGS} - {"helm/values.yaml"}


@pytest.mark.needs("kustomize")
def test_base_and_dry_run_overlay_are_the_same_dry_run():
    base = built(KUBERNETES / "base")

    assert container(cronjob(base))["args"][0] == "plan"
    assert built(KUBERNETES / "overlays/dry-run") == base


@pytest.mark.needs("kustomize")
def test_dry_run_and_sweep_overlay_differ_in_one_word():
    dry, armed = (built(KUBERNETES / "overlays" / name) for name in ("dry-run", "sweep"))

    assert changed_lines(dry, armed) == (["- plan"], ["- sweep"])
    assert container(cronjob(armed))["args"][0] == "sweep"


def test_overlay_files_differ_in_the_line_that_arms():
    dry, armed = (
        (KUBERNETES / "overlays" / name / "kustomization.yaml").read_text(encoding="utf-8")
        for name in ("dry-run", "sweep")
    )

    removed, added = changed_lines(dry, armed)
    assert removed == []
    assert [line.split("  #")[0] for line in added] == ["components: [../../components/armed]"]


@pytest.mark.needs("kustomize")
def test_sharded_overlay_is_the_dry_run_in_three_pods_with_a_directory_and_retries_each():
    job = cronjob(built(KUBERNETES / "overlays/sharded"))
    spec = job["spec"]["jobTemplate"]["spec"]
    arguments = container(job)["args"]

    assert arguments[0] == "plan"
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 3
    assert options(arguments)["shard"] == "auto/3"
    assert "$(JOB_COMPLETION_INDEX)" in options(arguments)["audit-dir"]
    assert "backoffLimit" not in spec
    assert spec["backoffLimitPerIndex"] == 2
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailIndex"

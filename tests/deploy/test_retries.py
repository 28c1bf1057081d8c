"""Cron, systemd and Kubernetes retry the same exit codes."""

import re

import pytest
import yaml
from deploy.manifests import DEPLOY, KUBERNETES

from invite_sweeper.endings import ExitCode

RETRYABLE = {code for code in ExitCode if code.retryable}
FINAL = {code for code in ExitCode if not code.retryable and not code.succeeded}


def test_only_6_and_8_are_retryable():
    assert {int(code) for code in RETRYABLE} == {6, 8}
    assert {int(code) for code in FINAL} == {1, 2, 3, 4, 5, 7, 9}


def by_action(rules):
    return [
        (rule["action"], set(rule["onExitCodes"]["values"]))
        for rule in rules
        if "onExitCodes" in rule
    ]


def of_kubernetes():
    job = yaml.safe_load((KUBERNETES / "base" / "cronjob.yaml").read_text("utf-8"))
    return by_action(job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"])


def of_helm():
    """Read the template itself, so that the test does not need helm."""
    text = (DEPLOY / "helm" / "templates" / "cronjob.yaml").read_text("utf-8")
    block = text[text.index("podFailurePolicy:") : text.index("      template:")]
    plain = re.sub(r"{{.*}}", "FailJob", block)
    return by_action(yaml.safe_load(plain)["podFailurePolicy"]["rules"])


@pytest.mark.parametrize("rules", [of_kubernetes, of_helm])
def test_job_fails_at_once_on_final_codes_and_counts_retryable_ones(rules):
    assert rules() == [("FailJob", FINAL), ("Count", RETRYABLE)]


def test_systemd_does_not_restart_on_codes_that_fail_a_job_at_once():
    unit = (DEPLOY / "systemd" / "invite-sweeper.service").read_text("utf-8")
    (never,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert {int(code) for code in never.split()} == FINAL


def test_readme_lists_the_codes_that_are_retried():
    text = (DEPLOY / "README.md").read_text("utf-8")
    *others, last = sorted(int(code) for code in FINAL)
    final = f"{', '.join(map(str, others))} and {last}"
    assert f"Exit codes {final} fail the Job at once; 6 and 8 are retried twice." in text
    assert f"{final} need an operator and are not retried;" in text


def test_alert_on_failed_runs_excludes_success_and_codes_with_separate_alerts():
    text = (DEPLOY / "monitoring" / "alerts.yaml").read_text("utf-8")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    (failed,) = (rule for rule in rules if rule.get("alert") == "InviteSweeperRunFailed")
    left_out = {int(code) for code in re.findall(r"exit_code != (\d+)", failed["expr"])}
    succeeded = {code for code in ExitCode if code.succeeded}
    assert left_out == succeeded | {ExitCode.REFUSED, ExitCode.PARTIAL}

"""What is tried again by itself is the same, whichever way the program is run."""

import re

import pytest
import yaml
from deploy.manifests import DEPLOY, KUBERNETES

from invite_sweeper.errors import ExitCode

RETRYABLE = {code for code in ExitCode if code.retryable}
FINAL = {code for code in ExitCode if not code.retryable and not code.succeeded}


def test_4_6_and_8_may_pass_by_themselves_and_no_other_code_is_retryable():
    assert {int(code) for code in RETRYABLE} == {4, 6, 8}
    assert {int(code) for code in FINAL} == {1, 2, 3, 5, 7, 9}


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
    """Read from the template, so that it is held where there is no helm, too."""
    text = (DEPLOY / "helm" / "templates" / "cronjob.yaml").read_text("utf-8")
    block = text[text.index("podFailurePolicy:") : text.index("      template:")]
    plain = re.sub(r"{{.*}}", "FailJob", block)
    return by_action(yaml.safe_load(plain)["podFailurePolicy"]["rules"])


@pytest.mark.parametrize("rules", [of_kubernetes, of_helm])
def test_a_job_fails_at_once_on_a_defect_and_an_unwritable_log_and_counts_4_6_and_8(rules):
    assert rules() == [("FailJob", FINAL), ("Count", RETRYABLE)]


def test_systemd_never_restarts_after_what_fails_a_job_at_once():
    unit = (DEPLOY / "systemd" / "invite-sweeper.service").read_text("utf-8")
    (never,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert {int(code) for code in never.split()} == FINAL


def test_the_steps_tell_which_codes_are_tried_again():
    text = (DEPLOY / "README.md").read_text("utf-8")
    *most, last = sorted(int(code) for code in FINAL)
    told = f"{', '.join(map(str, most))} and {last}"
    assert f"Exit codes {told} fail the Job at once; 4, 6 and 8 are tried twice more." in text
    assert f"{told} need a person and are never tried again by themselves;" in text


def test_the_alert_on_failed_runs_leaves_out_success_and_codes_with_alerts_of_their_own():
    text = (DEPLOY / "monitoring" / "alerts.yaml").read_text("utf-8")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    (failed,) = (rule for rule in rules if rule.get("alert") == "InviteSweeperRunFailed")
    left_out = {int(code) for code in re.findall(r"exit_code != (\d+)", failed["expr"])}
    succeeded = {code for code in ExitCode if code.succeeded}
    assert left_out == succeeded | {ExitCode.REFUSED, ExitCode.PARTIAL}

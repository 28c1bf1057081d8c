"""The manifests of kustomize: dry runs that one line arms, and values that must agree."""

import re

import pytest
from deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    built,
    command,
    container,
    cronjob,
    documents,
    options,
    pod_spec,
)
from deploy.rendering import overlaid

from invite_sweeper.endings import ExitCode
from invite_sweeper.policy import parse_policy

pytestmark = pytest.mark.needs("kustomize")

FINAL = {int(code) for code in ExitCode if not (code.retryable or code.succeeded)}
RETRYABLE = {int(code) for code in ExitCode if code.retryable}
GRACE_S = 20  # the default of execution.grace
DAY_S = 86_400


@pytest.fixture(scope="module")
def manifests():
    return documents(built(KUBERNETES / "base"))


@pytest.fixture(scope="module")
def job(manifests):
    return manifests["CronJob", "invite-sweeper"]


ARMINGS = {
    "cron/invite-sweeper.crontab": (r"^17 .*/bin/invite-sweeper (.*?) --", "plan"),
    "systemd/invite-sweeper.service": (
        r"^ExecStart=/opt/invite-sweeper/bin/invite-sweeper \\\n    (.*) \\$", "plan"
    ),
    "docker/Dockerfile": (r"^CMD (.*)$", '["plan"]'),
    "helm/values.yaml": (r"^mode: (.*)$", "dry-run"),
    "kubernetes/base/kustomization.yaml": (r"^ +- command=(.*)$", "plan"),
}  # fmt: skip
"""Where each file that runs the program has its command, and the shipped one."""


@pytest.mark.parametrize("file", ARMINGS)
def test_file_is_a_dry_run_with_its_command_in_one_place(file):
    place, shipped = ARMINGS[file]
    text = (DEPLOY / file).read_text(encoding="utf-8")

    assert re.findall(place, text, re.MULTILINE) == [shipped]


def test_component_arms_the_next_pod_and_changes_one_word(tmp_path):
    """A retry of a Job that runs is a new pod, which reads the ConfigMap anew."""
    dry, armed = overlaid(tmp_path), overlaid(tmp_path, "armed")
    (source,) = (each for each in container(cronjob(dry))["env"] if each["name"] == "COMMAND")

    assert armed == dry.replace("\n  command: plan\n", "\n  command: sweep\n")
    assert (command(dry), command(armed)) == ("plan", "sweep")
    assert container(cronjob(dry))["args"][0] == "$(COMMAND)"
    assert source["valueFrom"] == {
        "configMapKeyRef": {"name": "invite-sweeper-command", "key": "command"}
    }


def test_sharded_component_makes_three_pods_with_a_directory_and_retries_each(tmp_path):
    job = cronjob(overlaid(tmp_path, "sharded"))
    spec, given = job["spec"]["jobTemplate"]["spec"], options(container(job)["args"])

    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 3
    assert (given["shard"], given["audit-dir"].rpartition("/")[2]) == (
        "auto/3", "shard-$(JOB_COMPLETION_INDEX)"
    )  # fmt: skip
    assert "backoffLimit" not in spec
    assert spec["backoffLimitPerIndex"] == 4
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailIndex"


@pytest.mark.parametrize("component", ["armed", "openshift", "sharded"])
def test_deleting_an_overlay_keeps_the_audit_log_and_the_namespace(component, tmp_path):
    """`kubectl delete -k` deletes what the overlay renders to."""
    kinds = {kind for kind, _ in documents(overlaid(tmp_path, component))}

    assert kinds == {"CronJob", "ConfigMap", "NetworkPolicy", "ServiceAccount"}


def test_one_run_at_a_time_once_a_night_and_a_late_one_ends_before_the_next(job):
    spec = job["spec"]
    late_s = spec["startingDeadlineSeconds"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert re.fullmatch(r"([1-9]|[1-5]\d) ([0-9]|1\d|2[0-3]) \* \* \*", spec["schedule"])
    assert spec["timeZone"] == "Etc/UTC"
    assert "suspend" not in spec
    assert 600 <= late_s < DAY_S - spec["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert spec["failedJobsHistoryLimit"] >= 3


def test_deadlines_of_program_pod_and_job_agree_and_retries_take_over_a_minute(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    own_s = 60 * int(options(container(job)["args"])["deadline"].removesuffix("m"))
    pod_s = pod_spec(job)["activeDeadlineSeconds"]
    waits_s = sum(10 * 2**attempt for attempt in range(spec["backoffLimit"]))

    assert own_s + GRACE_S + 60 <= pod_s
    assert waits_s > 60  # Kubernetes waits 10 seconds, then twice as long each time
    assert 2 * pod_s + waits_s <= spec["activeDeadlineSeconds"]
    assert pod_spec(job)["terminationGracePeriodSeconds"] >= GRACE_S + 10


def test_job_fails_at_once_on_final_codes_and_counts_retryable_ones(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    rules = [rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]

    assert [(rule["action"], set(rule["onExitCodes"]["values"])) for rule in rules] == [
        ("FailJob", FINAL), ("Count", RETRYABLE)
    ]  # fmt: skip
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container(job)["name"]}
    assert {rule["onExitCodes"]["operator"] for rule in rules} == {"In"}
    assert pod_spec(job)["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"


def test_systemd_and_the_page_name_the_codes_that_are_retried():
    unit = (DEPLOY / "systemd/invite-sweeper.service").read_text("utf-8")
    page = (DEPLOY / "README.md").read_text("utf-8")
    (never,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    *others, last = sorted(FINAL)
    final = f"{', '.join(map(str, others))} and {last}"

    assert {int(code) for code in never.split()} == FINAL
    assert f"Exit codes {final} fail the Job at once; 6 and 8 are retried" in page
    assert f"{final} need an operator and are not retried;" in page


def test_pod_has_no_token_of_the_cluster_and_what_the_restricted_standard_asks(job, manifests):
    """Its container shows the other restrictions (test_cluster.py)."""
    pod = pod_spec(job)["securityContext"]
    account = manifests["ServiceAccount", "invite-sweeper"]
    resources = container(job)["resources"]

    assert (pod["runAsNonRoot"], pod["fsGroup"]) == (True, 10001)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod_spec(job)["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    assert pod_spec(job)["automountServiceAccountToken"] is False
    assert resources["limits"].keys() == {"memory"}  # one of the processor would throttle the job


def test_only_dns_and_https_to_public_addresses_are_allowed(job, manifests):
    spec = manifests["NetworkPolicy", "invite-sweeper"]["spec"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    # The DNS of OpenShift listens on 5353.
    assert [{p["port"] for p in rule["ports"]} for rule in spec["egress"]] == [{53, 5353}, {443}]
    excepted = {c for block in spec["egress"][1]["to"] for c in block["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= excepted


def test_every_manifest_is_in_the_namespace_with_the_restricted_standard(manifests):
    (namespace,) = documents((KUBERNETES / "namespace.yaml").read_text(encoding="utf-8")).values()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"]["namespace"] for m in manifests.values()} == {
        namespace["metadata"]["name"]
    }


def test_shipped_policy_is_valid_and_names_no_organization():
    policy = parse_policy((KUBERNETES / "base/policy.yaml").read_bytes(), "policy.yaml")

    assert [each.id for each in policy.organizations] == ["0" * 24]
    assert policy.limits.max_deletions == 25

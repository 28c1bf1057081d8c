"""The values of the manifests, which a check of their structure does not see."""

import re

import pytest
from deploy.manifests import (
    KUBERNETES,
    built,
    container,
    cronjob,
    documents,
    options,
    pod_spec,
    seconds,
)

from invite_sweeper.errors import ExitCode

pytestmark = pytest.mark.deploy_tools("kustomize")
DAY_S = 86_400
GRACE_S = 20  # the default of execution.grace


@pytest.fixture(scope="module")
def manifests():
    return documents(built(KUBERNETES / "overlays/dry-run"))


@pytest.fixture(scope="module")
def job():
    return cronjob(built(KUBERNETES / "overlays/dry-run"))


def test_one_run_at_a_time_once_a_night_in_a_named_time_zone(job):
    spec = job["spec"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert re.fullmatch(r"([1-9]|[1-5]\d) ([0-9]|1\d|2[0-3]) \* \* \*", spec["schedule"])
    assert spec["timeZone"] == "Etc/UTC"
    assert "suspend" not in spec


def test_a_late_start_is_allowed_but_never_into_the_next_night(job):
    assert job["spec"]["startingDeadlineSeconds"] >= 600
    whole = (
        job["spec"]["startingDeadlineSeconds"]
        + job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    )
    assert whole < DAY_S


def test_the_deadlines_agree_with_each_other(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    own_s = seconds(options(container(job)["args"])["deadline"])
    pod_s = pod_spec(job)["activeDeadlineSeconds"]

    assert own_s + GRACE_S + 60 <= pod_s
    assert pod_s * (spec["backoffLimit"] + 1) <= spec["activeDeadlineSeconds"]


def test_the_pod_has_longer_to_stop_than_the_program_takes(job):
    assert pod_spec(job)["terminationGracePeriodSeconds"] >= GRACE_S + 10


def test_history_is_kept_for_the_one_who_looks_after_the_weekend(job):
    assert job["spec"]["failedJobsHistoryLimit"] >= 3
    assert job["spec"]["successfulJobsHistoryLimit"] >= 1


def rules_for(job, code):
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    return [r["action"] for r in rules if code in r.get("onExitCodes", {}).get("values", [])]


@pytest.mark.parametrize("code", [c for c in ExitCode if not (c.retryable or c.succeeded)])
def test_what_would_end_the_same_way_again_fails_at_once(job, code):
    assert rules_for(job, code) == ["FailJob"]


@pytest.mark.parametrize("code", [code for code in ExitCode if code.retryable])
def test_what_may_pass_is_tried_again(job, code):
    assert rules_for(job, code) == ["Count"]


def test_the_failure_policy_names_the_container_and_the_pod_is_never_restarted_in_place(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    rules = [r["onExitCodes"] for r in spec["podFailurePolicy"]["rules"] if "onExitCodes" in r]

    assert {r["containerName"] for r in rules} == {container(job)["name"]}
    assert {r["operator"] for r in rules} == {"In"}
    assert pod_spec(job)["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"


def test_the_pod_is_restricted_to_the_letter(job):
    pod, box = pod_spec(job)["securityContext"], container(job)["securityContext"]

    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == 10001
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["allowPrivilegeEscalation"] is False
    assert box["capabilities"] == {"drop": ["ALL"]}
    assert box["readOnlyRootFilesystem"] is True


def test_no_token_of_the_cluster_reaches_the_pod(job, manifests):
    account = manifests["ServiceAccount", "invite-sweeper"]

    assert account["automountServiceAccountToken"] is False
    assert pod_spec(job)["automountServiceAccountToken"] is False
    assert pod_spec(job)["serviceAccountName"] == account["metadata"]["name"]


def test_credentials_come_as_mounted_files_and_no_secret_is_shipped(job, manifests):
    mounts = {m["name"]: m for m in container(job)["volumeMounts"]}
    (volume,) = (v for v in pod_spec(job)["volumes"] if "secret" in v)
    mount = mounts[volume["name"]]

    assert mount["readOnly"] is True
    for entry in container(job)["env"]:
        assert entry["name"].endswith("_FILE")
        assert entry["value"].startswith(mount["mountPath"] + "/")
    assert "Secret" not in {kind for kind, _ in manifests}


def test_every_volume_has_its_source_and_every_mount_its_volume(job, manifests):
    volumes = {v["name"]: v for v in pod_spec(job)["volumes"]}

    assert {m["name"] for m in container(job)["volumeMounts"]} == set(volumes)
    assert ("ConfigMap", volumes["policy"]["configMap"]["name"]) in manifests
    claim = volumes["audit"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in manifests


def test_the_arguments_name_files_under_the_mounts(job, manifests):
    given = options(container(job)["args"])
    mounts = {m["name"]: m["mountPath"] for m in container(job)["volumeMounts"]}
    (policy,) = manifests["ConfigMap", "invite-sweeper-policy"]["data"]

    assert given["policy"] == f"{mounts['policy']}/{policy}"
    assert given["audit-log"].startswith(f"{mounts['audit']}/")


def test_only_name_lookups_and_https_to_public_addresses_go_out(job, manifests):
    spec = manifests["NetworkPolicy", "invite-sweeper"]["spec"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert [{p["port"] for p in rule["ports"]} for rule in spec["egress"]] == [{53}, {443}]
    excepted = {c for block in spec["egress"][1]["to"] for c in block["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= excepted


def test_everything_is_in_the_namespace_that_enforces_the_restricted_standard(manifests):
    (namespace,) = documents((KUBERNETES / "namespace.yaml").read_text()).values()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"]["namespace"] for m in manifests.values()} == {
        namespace["metadata"]["name"]
    }


def test_quantities_are_quantities_and_the_request_is_within_the_limit(job):
    resources = container(job)["resources"]
    request, limit = (
        int(re.fullmatch(r"(\d+)Mi", resources[key]["memory"]).group(1))
        for key in ("requests", "limits")
    )

    assert request <= limit
    assert re.fullmatch(r"\d+m", resources["requests"]["cpu"])
    assert "cpu" not in resources["limits"]  # throttled to no one's gain

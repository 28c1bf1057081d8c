"""The values of the manifests, which a schema check does not cover."""

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

from invite_sweeper.endings import ExitCode

pytestmark = pytest.mark.needs("kustomize")
DAY_S = 86_400
CLAIM = "audit-claim.yaml"
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


def test_late_start_ends_before_the_next_run(job):
    assert job["spec"]["startingDeadlineSeconds"] >= 600
    latest_end_s = (
        job["spec"]["startingDeadlineSeconds"]
        + job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    )
    assert latest_end_s < DAY_S


def test_deadlines_of_program_pod_and_job_agree(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    own_s = seconds(options(container(job)["args"])["deadline"])
    pod_s = pod_spec(job)["activeDeadlineSeconds"]

    assert own_s + GRACE_S + 60 <= pod_s
    assert pod_s * (spec["backoffLimit"] + 1) <= spec["activeDeadlineSeconds"]


def test_pod_may_stop_longer_than_the_grace_period_of_the_program(job):
    assert pod_spec(job)["terminationGracePeriodSeconds"] >= GRACE_S + 10


def test_history_covers_a_weekend_of_failed_jobs(job):
    assert job["spec"]["failedJobsHistoryLimit"] >= 3
    assert job["spec"]["successfulJobsHistoryLimit"] >= 1


def rules_for(job, code):
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    return [r["action"] for r in rules if code in r.get("onExitCodes", {}).get("values", [])]


@pytest.mark.parametrize("code", [c for c in ExitCode if not (c.retryable or c.succeeded)])
def test_final_exit_code_fails_the_job_at_once(job, code):
    assert rules_for(job, code) == ["FailJob"]


@pytest.mark.parametrize("code", [code for code in ExitCode if code.retryable])
def test_retryable_exit_code_is_counted(job, code):
    assert rules_for(job, code) == ["Count"]


def test_failure_policy_names_the_container_and_the_pod_is_never_restarted(job):
    spec = job["spec"]["jobTemplate"]["spec"]
    rules = [r["onExitCodes"] for r in spec["podFailurePolicy"]["rules"] if "onExitCodes" in r]

    assert {r["containerName"] for r in rules} == {container(job)["name"]}
    assert {r["operator"] for r in rules} == {"In"}
    assert pod_spec(job)["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"


def test_pod_follows_the_restricted_standard(job):
    pod, box = pod_spec(job)["securityContext"], container(job)["securityContext"]

    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == 10001
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["allowPrivilegeEscalation"] is False
    assert box["capabilities"] == {"drop": ["ALL"]}
    assert box["readOnlyRootFilesystem"] is True


def test_pod_has_no_token_of_the_cluster(job, manifests):
    account = manifests["ServiceAccount", "invite-sweeper"]

    assert account["automountServiceAccountToken"] is False
    assert pod_spec(job)["automountServiceAccountToken"] is False
    assert pod_spec(job)["serviceAccountName"] == account["metadata"]["name"]


def test_credentials_are_mounted_files_and_no_secret_is_shipped(job, manifests):
    mounts = {m["name"]: m for m in container(job)["volumeMounts"]}
    (volume,) = (v for v in pod_spec(job)["volumes"] if "secret" in v)
    mount = mounts[volume["name"]]

    assert mount["readOnly"] is True
    for entry in container(job)["env"]:
        assert entry["name"].endswith("_FILE")
        assert entry["value"].startswith(mount["mountPath"] + "/")
    assert "Secret" not in {kind for kind, _ in manifests}


def test_every_volume_has_a_source_and_every_mount_a_volume(job, manifests):
    volumes = {v["name"]: v for v in pod_spec(job)["volumes"]}

    assert {m["name"] for m in container(job)["volumeMounts"]} == set(volumes)
    assert ("ConfigMap", volumes["policy"]["configMap"]["name"]) in manifests
    claim = volumes["audit"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in documents(
        (KUBERNETES / CLAIM).read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("overlay", sorted((KUBERNETES / "overlays").iterdir()), ids=str)
def test_deleting_an_overlay_keeps_the_audit_log_and_the_namespace(overlay):
    """`kubectl delete -k` deletes what the overlay renders to."""
    kinds = {kind for kind, _ in documents(built(overlay))}

    assert "CronJob" in kinds
    assert not kinds & {"PersistentVolumeClaim", "PersistentVolume", "Namespace"}


def test_arguments_name_files_below_the_mounts(job, manifests):
    given = options(container(job)["args"])
    mounts = {m["name"]: m["mountPath"] for m in container(job)["volumeMounts"]}
    (policy,) = manifests["ConfigMap", "invite-sweeper-policy"]["data"]

    assert given["policy"] == f"{mounts['policy']}/{policy}"
    assert given["audit-dir"].startswith(f"{mounts['audit']}/")


def test_only_dns_and_https_to_public_addresses_are_allowed(job, manifests):
    spec = manifests["NetworkPolicy", "invite-sweeper"]["spec"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert [{p["port"] for p in rule["ports"]} for rule in spec["egress"]] == [{53}, {443}]
    excepted = {c for block in spec["egress"][1]["to"] for c in block["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= excepted


def test_every_manifest_is_in_the_namespace_with_the_restricted_standard(manifests):
    (namespace,) = documents((KUBERNETES / "namespace.yaml").read_text(encoding="utf-8")).values()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"]["namespace"] for m in manifests.values()} == {
        namespace["metadata"]["name"]
    }


def test_memory_request_is_at_most_the_limit(job):
    resources = container(job)["resources"]
    request, limit = (
        int(re.fullmatch(r"(\d+)Mi", resources[key]["memory"]).group(1))
        for key in ("requests", "limits")
    )

    assert request <= limit
    assert re.fullmatch(r"\d+m", resources["requests"]["cpu"])
    assert "cpu" not in resources["limits"]  # it would only throttle the job

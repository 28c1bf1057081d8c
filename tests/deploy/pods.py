"""What holds in every rendering, of kustomize as of the chart, and what makes two comparable."""

import json

from deploy.manifests import documents, night_of, resolved

from invite_sweeper.cli.sweep import sweep
from invite_sweeper.endings import ExitCode, Status

FINAL = {int(code) for code in ExitCode if not (code.retryable or code.status is Status.DONE)}
RETRYABLE = {int(code) for code in ExitCode if code.retryable}
GRACE_S = 20  # the default of execution.grace
DAY_S = 86_400
OPTIONS = {name.removeprefix("--") for parameter in sweep.params for name in parameter.opts}
KIND = {"service-account": "CLIENT_ID", "api-key": "PUBLIC_API_KEY", "none": ""}
LABELS_OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


def check(name, manifests, values):
    """Raise AssertionError unless the manifests are as the chart's values say, and agree."""
    night = night_of(manifests)
    check_times(night, values)
    check_pod(name, night, values)
    check_objects(manifests, night, values)


def check_times(night, values):
    """Check that one run at a time has its deadlines, retries and codes."""
    cron, job, pod, _ = night
    shards = values.get("shards", 0)
    minutes = values.get("deadlineMinutes", 60)
    retries = values.get("retries", 4)
    waits_s = sum(10 * 2**attempt for attempt in range(retries))  # Kubernetes waits so long
    final, *_, retryable = job["podFailurePolicy"]["rules"]

    assert cron["concurrencyPolicy"] == "Forbid"
    assert cron["timeZone"] == values.get("timeZone", "Etc/UTC")
    assert 600 <= cron["startingDeadlineSeconds"] < DAY_S - job["activeDeadlineSeconds"]
    assert night.options["deadline"] == f"{minutes}m"
    assert 60 * minutes + GRACE_S + 60 <= pod["activeDeadlineSeconds"]
    assert 2 * pod["activeDeadlineSeconds"] + waits_s <= job["activeDeadlineSeconds"]
    assert pod["terminationGracePeriodSeconds"] >= GRACE_S + 10
    assert job["backoffLimitPerIndex" if shards else "backoffLimit"] == retries
    assert (job["podReplacementPolicy"], pod["restartPolicy"]) == ("Failed", "Never")
    for rule, action, codes in (
        (final, "FailIndex" if shards else "FailJob", FINAL), (retryable, "Count", RETRYABLE)
    ):  # fmt: skip
        exits = rule["onExitCodes"]
        assert (rule["action"], exits["operator"], {*exits["values"]}) == (action, "In", codes)
    if shards:
        assert job["completionMode"] == "Indexed"
        assert job["completions"] == job["parallelism"] == shards
        assert night.options["shard"] == f"auto/{shards}"
    assert ("$(JOB_COMPLETION_INDEX)" in night.options["audit-dir"]) == bool(shards)


def check_pod(name, night, values):
    """Check that the pod has what its container names, no privileges, and its secrets as files."""
    _, _, pod, box = night
    volumes = {each["name"]: each for each in pod["volumes"]}
    account = values.get("credentials", {})
    kind = KIND[account.get("kind", "service-account")] if account.get("secretName", "x") else ""
    named = [f"PUBLIC_API_KEY_{each['name']}" for each in account.get("named", [])]

    assert [each["name"] for each in box["volumeMounts"]] == [*volumes]
    assert len(night.environment) == len(box["env"])
    assert {f"MONGODB_ATLAS_{each}_FILE" for each in (kind, *named) if each} <= {*night.environment}
    assert ("credentials" in volumes) == bool(kind)
    policy = values.get("policyConfigMap", f"{name}-policy")
    assert volumes["policy"]["configMap"] == {"name": policy}
    assert ("metrics-file" in night.options) == ("metrics" in volumes)
    assert box["args"][0] == "$(INVITE_SWEEPER_COMMAND)"
    assert night.options.keys() <= OPTIONS
    assert box["image"].endswith(values.get("image", {}).get("digest", ":dev"))
    assert box["resources"]["limits"].keys() == {"memory"}  # one of the processor would throttle
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    secrets = {name for name in night.environment if name.startswith("MONGODB_ATLAS_")}
    assert all(name.endswith(("_FILE", "_BASE_URL")) for name in secrets)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def check_objects(manifests, night, values):
    _, job, pod, box = night
    claim = {each["name"]: each for each in pod["volumes"]}["audit"]["persistentVolumeClaim"]
    assert (("PersistentVolumeClaim", claim["claimName"]) in manifests) == (
        "existingClaim" not in values.get("audit", {})
    )
    (command,) = (each["data"] for key, each in manifests.items() if key[1].endswith("-command"))
    assert command == {"command": "sweep" if values.get("mode") == "sweep" else "plan"}
    assert {each["metadata"]["namespace"] for each in manifests.values()} == {"invite-sweeper"}
    common = values.get("commonLabels", {}).items()
    assert all(common <= each["metadata"].get("labels", {}).items() for each in manifests.values())
    for (kind, _), each in manifests.items():
        if kind == "NetworkPolicy":
            check_network(each["spec"], job["template"]["metadata"]["labels"])
        if kind == "Job":  # the nightly pod, with another command
            template = each["spec"]["template"]["spec"]
            (single,) = template["containers"]
            assert single["args"] == values["job"]["args"]
            assert template | {"containers": [single | {"args": box["args"]}]} == pod


def check_network(spec, labels):
    """Check that only DNS and HTTPS to public addresses are allowed."""
    dns, https, *_ = spec["egress"]
    excepted = {each for block in https["to"] for each in block["ipBlock"]["except"]}

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    # The DNS of OpenShift listens on 5353.
    assert [{p["port"] for p in rule["ports"]} for rule in (dns, https)] == [{53, 5353}, {443}]
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= excepted


def comparable(text):
    """Return the manifests without the claim and Helm's labels, lists without an order sorted.

    Helm keeps the claim when it uninstalls; with kustomize it is a file of its own.
    """
    found = {
        key: json.loads(json.dumps(each), object_hook=_without_labels_of_helm)
        for key, each in documents(text).items()
        if key[0] != "PersistentVolumeClaim"
    }
    _, _, pod, box = night_of(found)
    box["args"] = [box["args"][0], *sorted(box["args"][1:])]
    box["env"] = resolved(box["env"], pod, found)
    for items in (box["env"], box["volumeMounts"], pod["volumes"]):
        items.sort(key=lambda item: item["name"])
    return found


def _without_labels_of_helm(value):
    return {key: each for key, each in value.items() if key not in LABELS_OF_HELM}

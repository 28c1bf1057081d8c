"""The operators' README from the image to a sweep that a second person approved, in its order."""

import json
import re

import pytest
import yaml
from deploy.cluster import container_of, remove_pods
from deploy.containers import IMAGE
from deploy.manifests import KUBERNETES, built, documents, load
from readmes import OPERATORS, section

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs(
        *("root", "podman", "buildah", "runc", "base", "catatonit", "docker-registry"),
        *("kustomize", "helm", "kubectl", "pyproject-build"),
    ),
]


@pytest.fixture(scope="module")
def cluster(terminal, containers, image):
    """What the reader typed and saw, by section: from the registry to the first dry run."""
    found = section(OPERATORS, "Kubernetes")
    (overlay, *_) = found.blocks("yaml")
    shown = []
    for command in found.commands:
        shown.append(terminal.run(command))
        if "docker push" in command:
            terminal.replaced["sha256:…"] = re.search(r"sha256:[0-9a-f]{64}", shown[-1])[0]
            for theirs, ours in terminal.replaced.items():
                overlay = overlay.replace(theirs, ours)
            (terminal.folder / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    inspected = json.loads(containers.podman("inspect", container_of("by-hand")).stdout)[0]
    remove_pods(containers)
    return " ".join(shown), inspected


def test_policy_dry_run_and_report_are_made_in_a_container(terminal, image):
    page = (terminal.folder / "report.html").read_text(encoding="utf-8")

    assert (terminal.folder / "policy.yaml").exists()
    assert "would be deleted" in image
    assert "old0@example.com" in page.replace("<wbr>", "")


def test_kustomize_leads_to_a_dry_run_with_the_restrictions_of_the_manifest(cluster, stage):
    output, inspected = cluster
    host = inspected["HostConfig"]

    assert "would be deleted" in output
    stage.assert_untouched()
    assert host["ReadonlyRootfs"] is True
    assert inspected["Config"]["User"] == "10001:10001"
    assert not inspected["EffectiveCaps"]
    assert not inspected["BoundingCaps"]
    assert host["Memory"] == 160 * 1024 * 1024
    assert "no-new-privileges" in " ".join(host["SecurityOpt"])


@pytest.mark.weekly  # what it runs, tests of commands run too
def test_second_person_approves_the_plan_of_the_night(cluster, terminal, stage, containers):
    """The commands of two sections, of which the second uses a function of the first."""
    jobs, approval = (
        section(OPERATORS, heading).blocks("sh")[0]
        for heading in ("Commands in the cluster", "A plan approved by a second person")
    )
    function = jobs.partition("\njob ")[0]
    read, sweep = (line for line in approval.splitlines() if line)
    shown = terminal.run(jobs)
    assert "Sound " in shown
    assert "6 invitations would be deleted" in shown
    sha256 = re.findall(r"\b[0-9a-f]{64}\b", terminal.run(function, read))[-1]
    output = terminal.run(function, sweep.replace("HEX", sha256))
    remove_pods(containers)

    assert output.count("@example.com") == len(stage.stale)
    stage.assert_swept_once()


@pytest.mark.weekly  # the base of the gate has no flock
def test_job_of_the_archive_copies_the_runs_of_the_nights(cluster, terminal, containers):
    page = terminal.folder / "kustomization.yaml"
    overlay = yaml.safe_load(page.read_text("utf-8"))
    component = "deploy/kubernetes/components/archive"
    page.write_text(yaml.safe_dump(overlay | {"components": [component]}), "utf-8")
    found = documents(built(terminal.folder))
    page.write_text(yaml.safe_dump(overlay), "utf-8")
    spec = found["CronJob", "invite-sweeper-archive"]["spec"]["jobTemplate"]["spec"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "night"}, "spec": spec}
    claim = load(KUBERNETES / "archive-claim.yaml")
    # podman 5.4 does not support fsGroup, which gives the volume to the group.
    claim["metadata"]["annotations"] = {
        f"volume.podman.io/{id_}": "10001" for id_ in ("uid", "gid")
    }
    maps = found["ConfigMap", "invite-sweeper-archive"]
    parts = [maps, load(KUBERNETES / "audit-claim.yaml"), claim, job]
    path = terminal.folder / "archive.yaml"
    path.write_text(yaml.safe_dump_all(parts), "utf-8")
    containers.podman("kube", "play", "--network=host", "--tls-verify=false", path)
    code = containers.podman("wait", "night-pod-archive").stdout
    log = containers.podman("logs", "night-pod-archive")
    remove_pods(containers)
    archive = "--volume=invite-sweeper-archive:/archive"
    verify = (IMAGE, "audit", "verify", "/archive/audit")

    assert code == "0\n", log.stdout + log.stderr
    assert " copied to /archive/audit" in log.stdout
    alone = ("run", "--rm", "--network=none", archive)
    assert containers.podman(*alone, *verify).stdout.startswith("Sound ")


@pytest.mark.weekly  # the chart renders to the manifests of kustomize
def test_helm_leads_to_a_dry_run_and_its_job_runs_a_command(cluster, terminal, stage, containers):
    install, *commands = section(OPERATORS, "Helm").commands
    output = terminal.run(install, *commands)
    remove_pods(containers)

    assert "Dry run" in output
    assert stage.sim.deletes_received == len(stage.stale)

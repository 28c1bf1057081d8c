"""The operators' README from the image to a sweep that a second person approved, in its order."""

import json
import re

import pytest
from deploy.cluster import container_of, remove_pods
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


@pytest.mark.weekly  # the chart renders to the manifests of kustomize
def test_helm_leads_to_a_dry_run_and_its_job_runs_a_command(cluster, terminal, stage, containers):
    install, *commands = section(OPERATORS, "Helm").commands
    output = terminal.run(install, *commands)
    remove_pods(containers)

    assert "Dry run" in output
    assert stage.sim.deletes_received == len(stage.stale)

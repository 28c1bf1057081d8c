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
def cluster(reader, image):
    """What the reader typed and saw, by section: from the registry to the first dry run."""
    found = section(OPERATORS, "Kubernetes")
    (overlay, *_) = found.blocks("yaml")
    shown = []
    for command in found.commands:
        shown.append(reader.terminal.run(command))
        if "docker push" in command:
            reader.terminal.replaced["sha256:…"] = re.search(r"sha256:[0-9a-f]{64}", shown[-1])[0]
            for theirs, ours in reader.terminal.replaced.items():
                overlay = overlay.replace(theirs, ours)
            (reader.terminal.folder / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    inspected = json.loads(reader.containers.podman("inspect", container_of("by-hand")).stdout)[0]
    remove_pods(reader.containers)
    return " ".join(shown), inspected


def test_policy_dry_run_and_report_are_made_in_a_container(reader, image):
    page = (reader.terminal.folder / "report.html").read_text(encoding="utf-8")

    assert (reader.terminal.folder / "policy.yaml").exists()
    assert "would be deleted" in image.output
    assert "old0@example.com" in page.replace("<wbr>", "")


def test_kustomize_leads_to_a_dry_run_with_the_restrictions_of_the_manifest(cluster, reader):
    output, inspected = cluster
    host = inspected["HostConfig"]

    assert "would be deleted" in output
    reader.stage.assert_untouched()
    assert host["ReadonlyRootfs"] is True
    assert inspected["Config"]["User"] == "10001:10001"
    assert not inspected["EffectiveCaps"]
    assert not inspected["BoundingCaps"]
    assert host["Memory"] == 160 * 1024 * 1024
    assert "no-new-privileges" in " ".join(host["SecurityOpt"])


@pytest.mark.weekly  # what it runs, tests of commands run too
def test_second_person_approves_the_plan_of_the_night(cluster, reader):
    """The commands of two sections, of which the second uses a function of the first."""
    jobs, approval = (
        section(OPERATORS, heading).blocks("sh")[0]
        for heading in ("Commands in the cluster", "A plan approved by a second person")
    )
    function = jobs.partition("\njob ")[0]
    read, sweep = (line for line in approval.splitlines() if line)
    shown = reader.terminal.run(jobs)
    assert "Sound: " in shown
    assert "6 invitations would be deleted" in shown
    sha256 = re.findall(r"\b[0-9a-f]{64}\b", reader.terminal.run(function, read))[-1]
    output = reader.terminal.run(function, sweep.replace("HEX", sha256))
    remove_pods(reader.containers)

    assert output.count("@example.com") == len(reader.stage.stale)
    reader.stage.assert_swept_once()


@pytest.mark.weekly  # the chart renders to the manifests of kustomize
def test_helm_leads_to_a_dry_run_and_its_job_runs_a_command(cluster, reader, tmp_path):
    install, *commands = section(OPERATORS, "Helm").commands
    output = reader.terminal.run(install, *commands)
    remove_pods(reader.containers)

    assert "Dry run" in output
    assert reader.stage.sim.deletes_received == len(reader.stage.stale)

"""Three shards at once, as the pods of the Indexed Job."""

import json
from dataclasses import dataclass

import pytest
from deploy.containers import HARDENED, IMAGE, until
from deploy.manifests import KUBERNETES, built, container, cronjob, options
from deploy.stage import staged

from invite_sweeper.errors import ExitCode

KILLED = 137
SHARDS = 3


@pytest.fixture(scope="module")
def sharded():
    return cronjob(built(KUBERNETES / "overlays/sharded"))


@pytest.mark.needs("kustomize")
def test_number_of_shards_is_the_same_in_all_three_places(sharded):
    spec = sharded["spec"]["jobTemplate"]["spec"]

    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == SHARDS
    assert options(container(sharded)["args"])["shard"] == f"auto/{SHARDS}"


@pytest.mark.needs("kustomize")
def test_each_shard_has_its_own_retries_and_log(sharded):
    spec = sharded["spec"]["jobTemplate"]["spec"]

    assert spec["backoffLimitPerIndex"] == 2
    assert "backoffLimit" not in spec
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailIndex"
    assert "$(JOB_COMPLETION_INDEX)" in options(container(sharded)["args"])["audit-log"]


@dataclass(frozen=True)
class Pods:
    """The armed pods of the Indexed Job, started as Kubernetes does."""

    containers: object
    stage: object
    arguments: tuple

    def start(self, index):
        given = [a.replace("$(JOB_COMPLETION_INDEX)", str(index)) for a in self.arguments]
        return self.containers.start(
            *HARDENED, "--memory=128m", "--network=host", f"--name=shard-{index}",
            f"--env=JOB_COMPLETION_INDEX={index}", *self.stage.mounts,
            IMAGE, *given, "--output=json",
        )  # fmt: skip

    def start_all(self):
        return [self.start(index) for index in range(SHARDS)]

    @property
    def logs(self):
        return [f"shard-{index}.jsonl" for index in range(SHARDS)]

    def verified(self):
        """Return the exit code of the image's `audit verify` on the three logs."""
        paths = [f"/var/lib/invite-sweeper/{name}" for name in self.logs]
        arguments = (*HARDENED, *self.stage.mounts, "--network=none", IMAGE, "audit", "verify")
        done = self.containers.podman("run", "--rm", "--pull=never", *arguments, *paths)
        return done.returncode


def ended(pods):
    """Wait for the pods and return exit code and summary of each."""
    outcomes = []
    for pod in pods:
        out, err = pod.communicate(timeout=90)
        assert out, err
        outcomes.append((pod.returncode, json.loads(out)))
    return outcomes


@pytest.fixture
def pods(containers, image, sharded):
    """Return a function that creates the pods of a stage; they are removed afterwards."""
    verb, *rest = container(sharded)["args"]
    assert verb == "plan"
    yield lambda stage: Pods(containers, stage, ("sweep", *rest))
    containers.podman("rm", "--all", "--force", "--time=0")


needs_containers = pytest.mark.needs(
    "root", "podman", "buildah", "runc", "mmdebstrap", "kustomize", "pyproject-build"
)


@pytest.mark.slow
@needs_containers
def test_three_shards_delete_every_stale_invitation_of_300_projects_once(pods, tmp_path):
    with staged(tmp_path, projects=300, stale=4) as stage:
        three = pods(stage)
        outcomes = ended(three.start_all())

        assert [code for code, _ in outcomes] == [ExitCode.DONE] * SHARDS
        assert sum(summary["deleted"] for _, summary in outcomes) == 1200
        assert all(summary["deleted"] > 0 for _, summary in outcomes)
        stage.assert_swept_once()
        assert stage.assert_sound(*three.logs).runs == SHARDS
        assert three.verified() == ExitCode.DONE


@pytest.mark.slow
@needs_containers
def test_limits_hold_for_the_three_shards_together(pods, tmp_path):
    with staged(tmp_path, projects=300, stale=4, cap=100) as stage:
        policy = stage.folder / "policy/policy.yaml"
        policy.write_text(policy.read_text().replace("limits:", "limits:\n  over_limit: trim"))
        outcomes = ended(pods(stage).start_all())

        assert [code for code, _ in outcomes] == [ExitCode.DONE] * SHARDS
        assert sum(summary["deleted"] for _, summary in outcomes) == 100
        assert len(stage.sim.deleted) == 100
        assert set(stage.sim.deleted) <= stage.stale


@pytest.mark.slow
@needs_containers
def test_killed_and_restarted_shard_deletes_nothing_twice(pods, tmp_path):
    with staged(tmp_path, projects=300, stale=4, latency_s=0.2) as stage:
        three = pods(stage)
        first, *others = three.start_all()
        until(lambda: stage.sim.deletes_received >= 60, within_s=60)
        three.containers.podman("kill", "--signal=KILL", "shard-0")
        first.communicate(timeout=30)
        assert first.returncode == KILLED

        again = three.start(0)
        outcomes = ended([again, *others])
        assert [code for code, _ in outcomes] == [ExitCode.DONE] * SHARDS
        stage.assert_swept_once()
        assert stage.assert_sound(*three.logs).runs == SHARDS + 1

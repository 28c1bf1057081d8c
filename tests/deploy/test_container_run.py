"""The image sweeps read-only, without capabilities, in 128 MiB, against a simulated Atlas."""

import json
import os

import pytest
from benchmarks.figures import LARGEST
from benchmarks.measuring import fresh_atlas, wide_policy
from builders import policy_bytes
from company_network import ATLAS, company_network
from deploy.containers import HARDENED, IMAGE, until
from deploy.stage import USER, staged

from invite_sweeper.endings import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build"),
]

ARBITRARY = 1_000_650_000
"""A user without a name or a home folder, as OpenShift chooses them."""


LIMITS = ("--memory=128m", "--memory-swap=128m", "--network=host")
"""Those of the pod."""


def command(stage, verb, *before):
    return (*HARDENED, *LIMITS, *stage.mounts, *before, IMAGE, verb, "--output=json")


def run(containers, stage, verb, *before):
    """Run a command and return the exit code and the summary."""
    arguments = command(stage, verb, *before)
    done = containers.podman("run", "--rm", "--pull=never", *arguments, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_sigterm_stops_a_sweep_and_the_next_run_deletes_the_rest(containers, image, tmp_path):
    with staged(tmp_path, projects=20, stale=30, latency_s=0.2) as stage:
        process = containers.start("--name=stopped", *command(stage, "sweep"))
        until(lambda: stage.sim.deletes_received >= 50, within_s=60)
        containers.podman("kill", "--signal=TERM", "stopped")
        out, err = process.communicate(timeout=60)

        assert process.returncode == ExitCode.INTERRUPTED, err
        stopped = json.loads(out)
        assert 0 < stopped["deleted"] == len(stage.sim.deleted) < 600
        stage.assert_sound()

        stage.sim.faults.clear()
        code, rest = run(containers, stage, "sweep")
        assert code == ExitCode.DONE
        assert stopped["deleted"] + rest["deleted"] == 600
        stage.assert_swept_once()
        assert stage.assert_sound() == 2


@pytest.mark.weekly
def test_largest_estate_that_atlas_allows_is_swept_in_the_memory_of_the_pod(
    containers, image, tmp_path
):
    policy, audit, deleted = tmp_path / "policy.yaml", tmp_path / "audit", {}
    policy.write_bytes(policy_bytes(wide_policy(LARGEST)))
    audit.mkdir()
    os.chown(audit, USER, USER)
    with fresh_atlas(LARGEST) as atlas:
        variables = [f"--env={name}={value}" for name, value in atlas.environment.items()]
        for night in ("sweep", "plan"):  # the second one reads the log of the first
            done = containers.podman(
                "run", "--rm", "--pull=never", *HARDENED, *LIMITS, *variables,
                f"--volume={policy}:/etc/invite-sweeper/policy.yaml:ro",
                f"--volume={audit}:/var/lib/invite-sweeper",
                IMAGE, night, "--output=json", "-q", check=False,
            )  # fmt: skip
            deleted[night] = json.loads(done.stdout)["deleted"] if done.stdout else done

    assert deleted == {"sweep": LARGEST.invitations, "plan": 0}
    assert LARGEST.invitations > 25_000


@pytest.mark.weekly
def test_arbitrary_user_sweeps_behind_a_proxy_with_a_private_authority(containers, image, tmp_path):
    """No name of this network resolves, so what is deleted was deleted through the proxy."""
    with (
        staged(tmp_path, projects=2, stale=3, owner=ARBITRARY) as stage,
        company_network(stage.sim, tmp_path / "policy") as network,
    ):
        mounted = network.environment | {"SSL_CERT_FILE": "/etc/invite-sweeper/ca.pem"}
        variables = [f"--env={name}={value}" for name, value in mounted.items()]
        user = f"--user={ARBITRARY}:{ARBITRARY}"
        code, swept = run(containers, stage, "sweep", user, *variables)

        assert (code, swept["deleted"]) == (ExitCode.DONE, 6)
        stage.assert_swept_once()
        stage.assert_sound()
        assert set(network.asked) == {f"CONNECT {ATLAS}:443"}

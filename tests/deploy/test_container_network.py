"""The image in the network of a company: an arbitrary user, a proxy and a private authority."""

import json

import pytest
from company_network import ATLAS, company_network
from deploy.containers import IMAGE
from deploy.stage import staged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
]

ARBITRARY = 1_000_650_000
"""A user without a name or a home folder, as OpenShift chooses them."""
READ_ONLY = (
    "--rm", "--pull=never", "--read-only", f"--user={ARBITRARY}:{ARBITRARY}", "--cap-drop=all",
    "--security-opt=no-new-privileges", "--memory=128m", "--memory-swap=128m", "--network=host",
)  # fmt: skip


def test_arbitrary_user_sweeps_read_only_behind_a_proxy_with_a_private_authority(
    containers, image, tmp_path
):
    """No name of this network resolves, so what is deleted was deleted through the proxy."""
    with (
        staged(tmp_path, projects=2, stale=3, owner=ARBITRARY) as stage,
        company_network(stage.sim, tmp_path / "policy") as network,
    ):
        mounted = network.environment | {"SSL_CERT_FILE": "/etc/invite-sweeper/ca.pem"}
        variables = [f"--env={name}={value}" for name, value in mounted.items()]
        run = ("run", *READ_ONLY, *stage.mounts, *variables, IMAGE, "sweep", "--output=json")
        done = containers.podman(*run, check=False)

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["deleted"] == 6
        stage.assert_swept_once()
        stage.assert_sound()
        assert set(network.asked) == {f"CONNECT {ATLAS}:443"}

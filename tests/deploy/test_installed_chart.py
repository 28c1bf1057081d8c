"""What the chart says where it asks a cluster: `helm install` and `helm upgrade`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from deploy.containers import run
from deploy.rendering import CHART, NAME

pytestmark = pytest.mark.needs("helm")

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": f"{NAME}-audit",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": NAME, "meta.helm.sh/release-namespace": NAME
        },
    },
    "spec": {"accessModes": ["ReadWriteOnce"]},
}  # fmt: skip
GROUPS = {"batch": "CronJob", "networking.k8s.io": "NetworkPolicy"}


def discovered(version, *kinds):
    """Return what a cluster says about the kinds of an API version."""
    names = [{"kind": kind, "name": f"{kind.lower()}s"} for kind in kinds]
    resources = [each | {"namespaced": True, "verbs": ["get"]} for each in names]
    return {"groupVersion": version, "resources": resources}


ANSWERS = {
    "/version": {"gitVersion": "v1.33.0"},
    "/api": {"versions": ["v1"]},
    "/api/v1": discovered("v1", CLAIM["kind"], "ConfigMap", "ServiceAccount"),
    "/apis": {
        "groups": [
            {"name": group, "versions": [{"groupVersion": f"{group}/v1", "version": "v1"}]}
            for group in GROUPS
        ]
    },
    **{f"/apis/{group}/v1": discovered(f"{group}/v1", kind) for group, kind in GROUPS.items()},
    f"/api/v1/namespaces/{NAME}/persistentvolumeclaims/{NAME}-audit": CLAIM,
}


class ApiServer(BaseHTTPRequestHandler):
    """A cluster that has only the claim of an installed chart."""

    def do_GET(self):
        answer = ANSWERS.get(self.path.partition("?")[0])
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
        """Write nothing to stderr."""


@pytest.fixture
def helm():
    """Return a function that runs helm against the cluster, with values."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"--kube-apiserver=http://127.0.0.1:{server.server_port}"
        options = (CHART, f"--namespace={NAME}", "--dry-run=server", "--disable-openapi-validation")

        def run_helm(command, *values):
            given = [f"--set={value}" for value in values]
            return run("helm", command, NAME, *options, address, *given, check=False)

        yield run_helm
        server.shutdown()


def test_other_access_mode_of_an_installed_claim_is_refused_with_a_sentence(helm):
    """Kubernetes would refuse it with its own words, after a part was applied."""
    kept = helm("template", "audit.accessMode=ReadWriteOnce")
    refused = helm("template", "audit.accessMode=ReadWriteMany")
    other = helm("template", "audit.accessMode=ReadWriteMany", "audit.existingClaim=other")

    assert "kind: PersistentVolumeClaim" in kept.stdout
    assert refused.returncode != 0
    assert (
        "The claim invite-sweeper-audit has the access mode ReadWriteOnce, which Kubernetes cannot "
        "change. Keep audit.accessMode, or copy the log to a claim of another name and set "
        "audit.existingClaim."
    ) in refused.stderr
    assert "kind: PersistentVolumeClaim" not in other.stdout


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ((), ["the policy names the placeholder", 'the image "invite-sweeper" names no registry']),
        (("policyConfigMap=company-policy", "image.repository=registry.example.com/a"), []),
    ],
    ids=["placeholders", "own policy and image"],
)
def test_notes_say_what_the_chart_does_and_warn_of_placeholders(values, warnings, helm):
    done = helm("install", *values)
    notes = done.stdout.partition("\nNOTES:\n")[2]

    assert "lists stale invitations" in notes
    assert notes.count("WARNING: ") == len(warnings), done.stderr
    assert [each for each in warnings if each not in notes] == []

"""What the chart says where it asks a cluster, and what it prints at the end."""

import json

import pytest
from deploy.containers import run
from deploy.manifests import CHART, NAME
from receiving import Receiver, receiving

pytestmark = pytest.mark.needs("helm")

CLAIMS = {"kind": "PersistentVolumeClaim", "name": "persistentvolumeclaims", "namespaced": True}
ANSWERS = {
    "/version": {"gitVersion": "v1.33.0"},
    "/api": {"versions": ["v1"]},
    "/apis": {"groups": []},
    "/api/v1": {"groupVersion": "v1", "resources": [CLAIMS | {"verbs": ["get"]}]},
    f"/api/v1/namespaces/{NAME}/persistentvolumeclaims/{NAME}-audit": {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"]},
    },
}


class ApiServer(Receiver):
    """A cluster that has only the claim of an installed chart."""

    def answer(self):
        answer = ANSWERS.get(self.path.partition("?")[0])
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture
def template():
    """Return a function that renders the chart with values, and asks the cluster."""
    command = ("helm", "template", NAME, CHART, f"--namespace={NAME}", "--dry-run=server")
    with receiving(ApiServer) as server:
        asked = (*command, f"--kube-apiserver={server.url}")
        yield lambda *values: run(*asked, *(f"--set={v}" for v in values), check=False)


def test_other_access_mode_of_an_installed_claim_is_refused_with_a_sentence(template):
    """Kubernetes would refuse it with its own words, after a part was applied."""
    sentence = (
        "The claim invite-sweeper-audit has the access mode ReadWriteOnce, which Kubernetes cannot "
        "change. Keep audit.accessMode, or copy the log to a claim of another name and set "
        "audit.existingClaim."
    )
    many = "audit.accessMode=ReadWriteMany"

    assert sentence in template(many).stderr
    # This cluster refuses them, too, but for the kinds that it does not know.
    assert sentence not in template("audit.accessMode=ReadWriteOnce").stderr
    assert sentence not in template(many, "audit.existingClaim=other").stderr


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ((), ["the policy names the placeholder", 'the image "invite-sweeper" names no registry']),
        (("policyConfigMap=company-policy", "image.repository=registry.example.com/a"), []),
    ],
    ids=["placeholders", "own policy and image"],
)
def test_notes_say_what_the_chart_does_and_warn_of_placeholders(values, warnings):
    given = [f"--set={value}" for value in values]
    done = run("helm", "install", NAME, CHART, "--dry-run=client", *given)
    notes = done.stdout.partition("\nNOTES:\n")[2]

    assert "lists stale invitations" in notes
    assert notes.count("WARNING: ") == len(warnings)
    assert [each for each in warnings if each not in notes] == []

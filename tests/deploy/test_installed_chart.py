"""What the chart says where it asks a cluster, what it prints at the end, and its upgrade."""

import json

import pytest
from deploy.containers import run
from deploy.manifests import CHART, NAME, documents, rendered
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


def test_job_is_another_one_exactly_where_its_pod_is(tmp_path):
    """Kubernetes refuses a change of the pod of a Job, such as one left in the values."""
    values = {"job": {"name": "verify", "args": ["audit", "verify"]}}
    names = []
    for changed in ({}, {"schedule": "1 1 * * *"}, {"image": {"tag": "b"}}):
        found = documents(rendered(values | changed, tmp_path))
        names += [name for kind, name in found if kind == "Job"]

    assert names[0] == names[1] != names[2]
    assert len(names) == 3


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


OWN = ("policyConfigMap=company-policy", "image.repository=registry.example.com/a")
RULE = '[{"to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}], "ports": [{"port": 3128}]}]'


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ((), ["the policy names the placeholder", 'the image "invite-sweeper" names no registry']),
        ((*OWN, "metrics.pushgateway=https://gateway.example.com"), []),
        (
            (*OWN, "metrics.pushgateway=http://gateway.monitoring.svc:9091"),
            ["not the Pushgateway, gateway.monitoring.svc:9091", "name: monitoring}}}]", "9091}]"],
        ),
        (
            (*OWN, "proxy.url=http://192.0.2.10:3128"),
            ["and not the proxy, 192.0.2.10:3128", "cidr: 192.0.2.10/32}}]", "port: 3128}]"],
        ),
        ((*OWN, "proxy.url=http://192.0.2.10:3128", "networkPolicy.enabled=false"), []),
        ((*OWN, "proxy.url=http://192.0.2.10:3128", f"networkPolicy.egress={RULE}"), []),
    ],
)
def test_notes_say_what_the_chart_does_and_warn_of_placeholders(values, warnings):
    given = [f"--set{'-json' if '=[' in value else ''}={value}" for value in values]
    done = run("helm", "install", NAME, CHART, "--dry-run=client", *given)
    notes = done.stdout.partition("\nNOTES:\n")[2]

    assert "lists stale invitations" in notes
    assert notes.count("WARNING: ") == sum(" " in each for each in warnings if "}" not in each)
    assert [each for each in warnings if each not in notes] == []

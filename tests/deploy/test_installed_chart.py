"""What the chart says where it asks a cluster, what it prints at the end, and its upgrade."""

import json
from urllib.parse import urlsplit

import pytest
import yaml
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


KINDS = {
    "/api/v1": ("Secret", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"),
    "/apis/batch/v1": ("CronJob", "Job"),
    "/apis/networking.k8s.io/v1": ("NetworkPolicy",),
}
VERBS = ["create", "delete", "get", "list", "patch", "update"]


def plural(kind):
    return "networkpolicies" if kind == "NetworkPolicy" else f"{kind.lower()}s"


class Cluster(Receiver):
    """Stores objects as an API server does, and refuses a change of the template of a Job."""

    def answer(self):
        code, found = self.store(urlsplit(self.path).path, self.server.requests[-1][2])
        text = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PATCH = do_DELETE = Receiver.do_POST  # noqa: N815

    def store(self, path, body):
        objects = self.server.objects
        known = self.discovered(path)
        if known is not None:
            return 200, known
        if self.command == "POST":
            made = json.loads(body)
            objects[f"{path}/{made['metadata']['name']}"] = made
            return 201, made
        if self.command == "GET" and path.rpartition("/")[2] in self.collections():
            items = [each for key, each in objects.items() if key.startswith(f"{path}/")]
            return 200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}
        if self.command in {"PUT", "PATCH"}:
            new = yaml.safe_load(body)
            old = objects.get(path)
            is_job = old is not None and "/jobs/" in path
            if is_job and new["spec"]["template"] != old["spec"]["template"]:
                return 422, status(422, "Invalid", "spec.template: field is immutable")
            objects[path] = new
            return 200, new
        found = objects.pop(path, None) if self.command == "DELETE" else objects.get(path)
        return (404, status(404, "NotFound", "not found")) if found is None else (200, found)

    @staticmethod
    def collections():
        return {plural(kind) for kinds in KINDS.values() for kind in kinds}

    @staticmethod
    def discovered(path):
        groups = [each.split("/")[2] for each in KINDS if each.startswith("/apis/")]
        versions = {name: {"groupVersion": f"{name}/v1", "version": "v1"} for name in groups}
        named = [
            {"name": name, "versions": [one], "preferredVersion": one}
            for name, one in versions.items()
        ]
        if path in KINDS:
            resources = [
                {"name": plural(kind), "kind": kind, "namespaced": True, "verbs": VERBS}
                for kind in KINDS[path]
            ]
            version = path.removeprefix("/apis/").removeprefix("/api/")
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        return {
            "/version": {"gitVersion": "v1.33.0", "major": "1", "minor": "33"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": named},
        }.get(path)


def status(code, reason, message):
    """Return the answer of an API server to a request that it refuses."""
    answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return answer | {"reason": reason, "message": message}


@pytest.mark.needs("kubectl")
def test_finished_job_that_is_left_in_the_values_does_not_break_the_next_upgrade(tmp_path):
    values = {"job": {"name": "verify", "args": ["audit", "verify"]}}
    with receiving(Cluster) as server:
        server.objects = {}
        apply = ("kubectl", f"--server={server.url}", "apply", "--server-side", "--validate=false")
        jobs = []
        for changed in ({}, {"schedule": "1 1 * * *"}, {"image": {"tag": "b"}}):
            path = tmp_path / "rendered.yaml"
            path.write_text(rendered(values | changed, tmp_path), encoding="utf-8")
            done = run(*apply, "-f", path, check=False)
            assert done.returncode == 0, done.stderr
            jobs.append([path for path in server.objects if "/jobs/" in path])
        found = documents(rendered(values | {"image": {"tag": "c"}}, tmp_path))
        (job,) = (each for (kind, _), each in found.items() if kind == "Job")
        job["metadata"]["name"] = jobs[0][0].rpartition("/")[2]  # as without a hash
        path.write_text(yaml.safe_dump(job), encoding="utf-8")
        refused = run(*apply, "-f", path, check=False)

    assert [len(each) for each in jobs] == [1, 1, 2]
    assert "field is immutable" in refused.stderr


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

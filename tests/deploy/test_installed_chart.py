"""What the chart prints at the end, and its upgrade."""

import pytest
from deploy.containers import run
from deploy.manifests import CHART, NAME, documents, rendered

pytestmark = pytest.mark.needs("helm")


def test_job_is_another_one_exactly_where_its_pod_is(tmp_path):
    """Kubernetes refuses a change of the pod of a Job, such as one left in the values."""
    values = {"job": {"name": "verify", "args": ["audit", "verify"]}}
    names = []
    for changed in ({}, {"schedule": "1 1 * * *"}, {"image": {"tag": "b"}}):
        found = documents(rendered(values | changed, tmp_path))
        names += [name for kind, name in found if kind == "Job"]

    assert names[0] == names[1] != names[2]
    assert len(names) == 3


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

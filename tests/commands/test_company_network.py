"""Behind a proxy with a private authority: the proxy sees every request but those to loopback.

No name of this network can be resolved, so a request that bypasses the proxy fails.
"""

from datetime import timedelta

import pytest
from company_network import ATLAS, GATEWAY, RECEIVERS, company_network
from observed import ObservedAtlas
from running import WIDE, CliRunner

from invite_sweeper.simulator.seed import ORG_ID

CHAT, HOOKS, PING = (f"https://{name}/x" for name in RECEIVERS)
NOTIFY = [
    {"kind": "slack", "url_env": "CHAT_URL", "when": "always"},
    {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "KEY", "when": "always"},
    {"kind": "webhook", "url_env": "LOCAL_URL", "secret_env": "KEY", "when": "always"},
    {"kind": "ping", "url_env": "PING_URL"},
]
POLICY = ("--policy", "policy.yaml")
PUSHED = ("--pushgateway", f"http://{GATEWAY}")


@pytest.fixture
def network(tmp_path):
    """Return the network, and the program in it with an organization to sweep."""
    sim = ObservedAtlas()
    sim.add_organization(ORG_ID, "Example Industries")
    project = sim.add_project("Project")
    for name in ("ada", "bob"):
        sim.invite(project, f"{name}@example.com", age=timedelta(days=20))
    keys = {
        "version": 1,
        "organizations": [ORG_ID],
        "sources": ["invites", "users", "org_users", "org_invites"],
        "rules": [
            {"name": "forgotten", "older_than": "14d"},
            {"name": "pending", "older_than": "21d", "statuses": ["PENDING"]},
        ],
        "limits": dict(WIDE),
        "notify": NOTIFY,
    }
    with company_network(sim, tmp_path) as network:
        urls = {"CHAT_URL": CHAT, "HOOK_URL": HOOKS, "LOCAL_URL": network.local, "PING_URL": PING}
        urls["KEY"] = "signing key"
        cli = CliRunner(tmp_path, sim, sim.add_service_account(), "", keys)
        yield network, lambda *words: cli.run(*words, **network.environment, **urls)


def test_proxy_sees_every_request_of_each_command_but_those_to_loopback(network):
    network, run = network
    done = run("sweep", *POLICY, "--output", "json", *PUSHED)
    assert (done.code, done.summary["deleted"]) == (0, 2), done.err
    assert "was not sent" not in done.err
    to_receivers = {f"CONNECT {name}:443" for name in RECEIVERS}
    asked = {each.partition("/metrics/job")[0] for each in network.asked}
    assert asked == {*(f"CONNECT {ATLAS}:443", f"PUT http://{GATEWAY}", *to_receivers)}
    assert sorted(each.partition("/metrics/job")[0] for each in network.received) == [
        *("127.0.0.1/local", "chat.example.test/x", "hooks.example.test/x"),
        *("metrics.example.test", "ping.example.test/x"),
    ]
    for words in (
        ("doctor", *POLICY),
        ("init", "new.yaml", "--older-than", "14d"),
        ("restore", *POLICY),
    ):
        network.asked.clear()
        done = run(*words)
        assert done.code == 0, done
        assert f"CONNECT {ATLAS}:443" in network.asked
        if words[0] == "doctor":  # it reaches the receivers, and sends them nothing
            assert to_receivers < set(network.asked)


def test_without_the_authority_of_the_proxy_nothing_is_sent_and_the_fix_is_named(network):
    network, run = network
    network.authority.write_text("", encoding="utf-8")
    done = run("sweep", *POLICY)

    assert done.code != 0
    assert "SSL_CERT_FILE" in done.err
    assert set(network.received) <= {"127.0.0.1/local"}

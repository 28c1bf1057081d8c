"""Behind a proxy with a private authority: the proxy sees every request but those to loopback.

No name of this network can be resolved, so a request that bypasses the proxy fails.
"""

import pytest
from company_network import ATLAS, GATEWAY, RECEIVERS, company_network
from running import cli_in

from invite_sweeper.models import Source

CHAT, HOOKS, PING = (f"https://{name}/x" for name in RECEIVERS)
NOTIFY = [
    {"kind": "slack", "url_env": "CHAT_URL", "when": "always"},
    {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "KEY", "when": "always"},
    {"kind": "webhook", "url_env": "LOCAL_URL", "secret_env": "KEY", "when": "always"},
    {"kind": "ping", "url_env": "PING_URL"},
]
PUSHED = ("--pushgateway", f"http://{GATEWAY}")


@pytest.fixture
def network(tmp_path):
    with (
        cli_in(tmp_path, kind="service-account") as cli,
        company_network(cli.sim, tmp_path) as found,
    ):
        cli.stock(stale=2)
        cli.keys |= {"sources": [*map(str, Source)], "notify": NOTIFY}
        cli.keys["rules"].append({"name": "p", "older_than": "21d", "statuses": ["PENDING"]})
        cli.changes |= {"CHAT_URL": CHAT, "HOOK_URL": HOOKS, "LOCAL_URL": found.local}
        cli.changes |= {"PING_URL": PING, "KEY": "signing key", **found.environment}
        yield found, cli.run


def test_proxy_sees_every_request_of_each_command_but_those_to_loopback(network):
    network, run = network
    done = run("sweep", "--output", "json", *PUSHED)
    assert (done.code, done.summary["deleted"]) == (0, 2), done.err
    assert "was not sent" not in done.err
    to_receivers = {f"CONNECT {name}:443" for name in RECEIVERS}
    asked = {each.partition("/metrics/job")[0] for each in network.asked}
    assert asked == {*(f"CONNECT {ATLAS}:443", f"PUT http://{GATEWAY}", *to_receivers)}
    assert sorted(each.partition("/metrics/job")[0] for each in network.received) == [
        *("127.0.0.1/local", "chat.example.test/x", "hooks.example.test/x"),
        *("metrics.example.test", "ping.example.test/x"),
    ]
    for command in ("doctor", "init new.yaml --older-than 14d", "restore"):
        network.asked.clear()
        done = run(*command.split())
        assert done.code == 0, done
        assert f"CONNECT {ATLAS}:443" in network.asked
        if command == "doctor":  # it reaches the receivers, and sends them nothing
            assert to_receivers < set(network.asked)


def test_without_the_authority_of_the_proxy_nothing_is_sent_and_the_fix_is_named(network):
    network, run = network
    network.authority.write_text("", encoding="utf-8")
    done = run("sweep")

    assert done.code != 0
    assert "SSL_CERT_FILE" in done.err
    assert set(network.received) <= {"127.0.0.1/local"}

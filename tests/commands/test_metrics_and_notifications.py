"""Metrics and notifications of whole runs; their failures are only warnings."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from running import desk_in

DAYS = timedelta(days=1)


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        project = found.sim.add_project("Project")
        for n in range(3):
            found.sim.invite(project, f"p{n}@example.com", age=20 * DAYS)
        yield found


class Receiver(BaseHTTPRequestHandler):
    """Records requests and responds as its server is configured."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    do_PUT = do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.requests, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_metrics_file_has_the_results_of_the_run(desk):
    assert desk.sweep("--metrics-file", "run.prom").code == 0
    text = (desk.folder / "run.prom").read_text()
    assert "\ninvite_sweeper_" in text
    assert any(
        line.startswith("invite_sweeper_") and line.endswith(" 3.0") for line in text.splitlines()
    )


def test_unwritable_metrics_file_is_a_warning_and_changes_no_outcome(desk):
    done = desk.sweep("--metrics-file", "no/such/folder/run.prom")
    assert (done.code, done.summary["deleted"]) == (0, 3)
    assert "run.prom" in done.err


def test_pushgateway_receives_the_metrics_of_the_run(desk, receiver):
    assert desk.sweep("--pushgateway", receiver.url).code == 0
    assert any(b"invite_sweeper_" in body for _, _, body in receiver.requests)


def test_ping_receives_start_and_success(desk, receiver):
    desk.keys["notify"] = [{"kind": "ping", "url_env": "PING_URL"}]
    assert desk.sweep(PING_URL=f"{receiver.url}/ping").code == 0
    assert [path for path, *_ in receiver.requests] == ["/ping/start", "/ping"]


def test_ping_receives_a_failure(desk, receiver):
    desk.keys["notify"] = [{"kind": "ping", "url_env": "PING_URL"}]
    desk.keys["limits"]["max_deletions"] = 0
    assert desk.sweep(PING_URL=f"{receiver.url}/ping").code == 3
    assert [path for path, *_ in receiver.requests] == ["/ping/start", "/ping/fail"]


def test_webhook_receives_signed_changes_without_names(desk, receiver):
    desk.keys["notify"] = [
        {"kind": "webhook", "url_env": "HOOK", "secret_env": "KEY", "when": "changes"}
    ]
    assert desk.sweep(HOOK=f"{receiver.url}/hook", KEY="very-secret").code == 0
    ((path, headers, body),) = receiver.requests
    assert path == "/hook"
    assert json.loads(body)
    assert b"p0@example.com" not in body
    assert headers["X-Invite-Sweeper-Signature"].startswith("sha256=")
    assert desk.sweep(HOOK=f"{receiver.url}/hook", KEY="very-secret").code == 0
    assert len(receiver.requests) == 1


def test_failing_webhook_is_a_warning_without_its_url_and_changes_no_outcome(desk, receiver):
    receiver.status = 500
    desk.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL"}]
    done = desk.sweep(SLACK_URL=f"{receiver.url}/secret-path")
    assert (done.code, done.summary["deleted"]) == (0, 3)
    assert "SLACK_URL" in done.err
    assert "secret-path" not in done.err

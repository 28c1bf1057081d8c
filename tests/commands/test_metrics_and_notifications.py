"""Metrics and notifications of whole runs; their failures are only warnings."""

import fcntl
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import desk_in

from invite_sweeper.simulator.seed import ORG_ID

OTHER_ORG = "0123456789abcdef01234567"
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


def slack(desk, receiver, *arguments, **changes):
    """Run a sweep with a Slack channel for failures; return the run and the texts it sent."""
    desk.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}]
    done = desk.sweep(*arguments, SLACK_URL=f"{receiver.url}/slack", **changes)
    return done, [json.loads(body)["text"] for _, _, body in receiver.requests]


def refused(desk):
    """Return the organizations and reasons that the metrics file has as refused."""
    text = (desk.folder / "run.prom").read_text()
    return {
        (sample.labels["organization"], sample.labels["reason"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "invite_sweeper_refused" and sample.value
    }


def test_refused_run_notifies_with_organization_reason_and_hint(desk, receiver):
    desk.keys["limits"] |= {"max_deletions": 2, "max_deletions_per_project": 1}
    done, (text,) = slack(desk, receiver, "--metrics-file", "run.prom")
    assert done.code == 3
    first, message, hint, counts, run, last = text.splitlines()
    label = f"Example Industries ({ORG_ID})"
    reasons = "max_deletions, max_deletions_per_project"
    assert first == f"*invite-sweeper: sweep refused: {reasons} · {label}*"
    assert message.startswith("3 stale invitations are over max_deletions: 2.")
    assert hint.startswith("What to do: Read the plan, then raise the limit")
    assert counts == "3 seen, 3 stale, 0 kept"
    assert run.startswith(f"Run {done.summary['run_id']}, exit code 3")
    assert last == f"Last hash: {done.summary['audit_last_hash']}"
    assert "@example.com" not in text
    assert refused(desk) == {(ORG_ID, each) for each in reasons.split(", ")}
    assert done.summary["reasons"] == reasons.split(", ")


def test_several_organizations_send_one_message_that_names_each(desk, receiver):
    desk.sim.add_organization(OTHER_ORG, "Other Ltd")
    desk.keys["organizations"] = [
        {"id": ORG_ID, "credentials": "A"}, {"id": OTHER_ORG, "credentials": "B"},
    ]  # fmt: skip
    tokens = {"MONGODB_ATLAS_ACCESS_TOKEN": None, "MONGODB_ATLAS_ACCESS_TOKEN_B": "wrong"}
    tokens["MONGODB_ATLAS_ACCESS_TOKEN_A"] = desk.sim.add_token(ORG_ID).secret
    done, (text,) = slack(desk, receiver, "--metrics-file", "run.prom", **tokens)
    assert done.code == 4
    lines = text.splitlines()
    assert lines[0].endswith("sweep partly done: 3 deleted, credentials refused · 2 organizations*")
    assert f"• Example Industries ({ORG_ID}): done; 3 stale, 3 deleted" in lines
    assert f"• {OTHER_ORG}: failed, credentials refused; 0 stale, nothing was deleted" in lines
    assert refused(desk) == set()


def test_held_lock_is_notified_and_the_metrics_are_left_to_its_run(desk, receiver):
    desk.sweep()
    lock = desk.folder / "audit" / "invite-sweeper.jsonl.lock"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done, (text,) = slack(desk, receiver, "--metrics-file", "run.prom")
    assert done.code == 9
    assert text.startswith(f"*invite-sweeper: sweep failed: another run holds the lock · {ORG_ID}*")
    assert not (desk.folder / "run.prom").exists()


def test_plan_that_is_refused_before_a_run_begins_is_notified_and_in_the_metrics(desk, receiver):
    desk.plan("--out", "plan.jsonl")
    plan = desk.folder / "plan.jsonl"
    plan.write_text(plan.read_text().replace("p0@", "p9@"))
    options = ("--plan", "plan.jsonl", "--metrics-file", "run.prom")
    done, (text,) = slack(desk, receiver, *options)
    assert (done.code, desk.deletes()) == (3, 0)
    assert text.startswith(f"*invite-sweeper: sweep refused: saved plan not valid · {ORG_ID}*")
    assert refused(desk) == {(ORG_ID, "plan")}
    assert json.loads(done.out)["reasons"] == ["plan"]


def test_users_are_named_with_details_after_the_run(desk, receiver):
    channel = {"kind": "webhook", "url_env": "HOOK", "secret_env": "KEY", "details": True}
    desk.keys["notify"] = [channel]
    assert desk.sweep(HOOK=f"{receiver.url}/hook", KEY="very-secret").code == 0
    ((_, _, body),) = receiver.requests
    assert [(each["username"], each["outcome"]) for each in json.loads(body)["invitations"]] == [
        (f"p{n}@example.com", "deleted") for n in range(3)
    ]

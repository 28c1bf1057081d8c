"""Notifications as HTTP receivers on loopback get them."""

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from builders import NOW, invitation
from invite_sweeper.report.notification import MAX_USERS, describe_end, select_users
from invite_sweeper.report.run_view import PlannedResult
from invite_sweeper.report.webhooks import (
    NotificationError,
    build_message,
    hints,
    send_end,
    send_start,
    should_notify,
)
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary, with_end

from invite_sweeper.audit.events import Announced
from invite_sweeper.endings import REFUSAL_REASONS, Advisor, ExitCode, Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source
from invite_sweeper.policy import Notification

ORG = "5efda682a3f2ed2e7dd6cde4"
OTHER = "6f1a20c4d39b5e7788a0c1d2"
ACME = OrganizationSummary(ORG, "Acme", "run-1", plan_made=True)
QUIET = RunSummary(
    run_id="run-1",
    mode="sweep",
    now="2026-11-25T01:02:00Z",
    exit_code=0,
    finished_at=datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC),
    invitations_seen=1234,
    kept=1234,
    kept_by_reason={"keep:board": 1234},
    audit_log="audit/log.jsonl",
    advisor=Advisor("audit/log.jsonl", "run-1"),
    audit_last_hash="c0ffee",
    organizations=(ACME,),
)
DELETED = replace(QUIET, stale=3, deleted=3)
FAILED = with_end(replace(QUIET, stale=1, failed=1), None)
REFUSAL = GuardRefused(
    "30 stale invitations are over max_deletions: 10.",
    hint="Read the plan.",
    reasons=(Reason.MAX_DELETIONS,),
)
REFUSED = with_end(replace(QUIET, stale=30), REFUSAL)

SLACK = Notification(kind="slack", url_env="CHAT_URL")
WEBHOOK = Notification(kind="webhook", url_env="HOOK_URL", secret_env="HOOK_KEY")
PING = Notification(kind="ping", url_env="PING_URL")


KEYS_OF_EARLIER_VERSIONS = {
    *("run_id", "mode", "exit_code", "finished_at", "projects_seen", "projects_unreadable"),
    *("invitations_seen", "stale", "trimmed", "kept", "kept_by_reason", "deleted"),
    *("already_gone", "failed", "unknown", "skipped", "accepted_before", "accepted_during"),
    *("requests", "retries", "rate_limited", "duration_s", "oldest_pending_days"),
    *("days_to_sunset", "shard", "succeeded"),
}


@dataclass
class Receiver:
    """A receiver that records requests and responds with a fixed status."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    silent: asyncio.Event | None = None
    requests: list = field(default_factory=list)
    on_request: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path_qs, dict(request.headers), await request.read()))
        self.on_request.set()
        if self.silent is not None:
            await self.silent.wait()
        return web.Response(status=self.status, headers=self.headers)


@asynccontextmanager
async def receiving(receiver: Receiver):
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        if receiver.silent is not None:
            receiver.silent.set()
        await runner.cleanup()


def environment(receiver: Receiver, **more: str) -> dict[str, str]:
    paths = {"CHAT_URL": "/services/T0/s3cret", "HOOK_URL": "/hook", "PING_URL": "/ping/s3cret"}
    return {
        **{name: receiver.url + path for name, path in paths.items()},
        "HOOK_KEY": "k3y",
        **more,
    }


async def slack_text(summary, *, users=(), **keys):
    """Send a summary to Slack and return the text."""
    async with receiving(Receiver()) as receiver:
        channel = SLACK.model_copy(update=keys)
        assert await send_end([channel], environment(receiver), summary, users=users) == ()
    ((path, headers, body),) = receiver.requests
    assert path == "/services/T0/s3cret"
    assert headers["Content-Type"] == "application/json"
    return json.loads(body)["text"]


async def test_slack_message_has_result_what_to_do_counts_and_evidence():
    assert (await slack_text(FAILED)).splitlines() == [
        f"*invite-sweeper: sweep partly done: 1 failed · Acme ({ORG})*",
        (
            "What to do: The next sweep tries the failed deletions again. To list them: "
            "invite-sweeper audit show audit/log.jsonl --run run-1 --outcome failed"
        ),
        "1,234 seen, 1 stale, 1,234 kept",
        "Run run-1, exit code 4, 0.00 s",
        "Last hash: c0ffee",
    ]


async def test_refusal_has_its_reason_in_the_first_line_then_message_and_hint():
    first, message, hint, *_ = (await slack_text(REFUSED)).splitlines()
    assert first == f"*invite-sweeper: sweep refused: max_deletions · Acme ({ORG})*"
    assert message == "30 stale invitations are over max_deletions: 10. Nothing was deleted."
    assert hint == "What to do: Read the plan."


async def test_each_of_several_organizations_has_a_line():
    refused = replace(REFUSED.organizations[0], stale=30)
    deleted = OrganizationSummary(OTHER, None, "run-2", stale=2, deleted=2, plan_made=True)
    text = await slack_text(
        replace(REFUSED, exit_code=4, deleted=2, organizations=(refused, deleted))
    )
    first, *rest = text.splitlines()
    assert first.endswith("sweep partly done: 2 deleted, max_deletions · 2 organizations*")
    assert f"• Acme ({ORG}): refused, max_deletions; 30 stale, nothing was deleted" in rest
    assert f"• {OTHER}: done; 2 stale, 2 deleted" in rest


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (QUIET, "sweep done: nothing stale"),
        (DELETED, "sweep done: 3 deleted"),
        (replace(QUIET, mode="dry-run", stale=3, exit_code=10), "dry run done: 3 would be deleted"),
        (replace(REFUSED, mode="dry-run"), None),
        (with_end(replace(QUIET, projects_unreadable=1), None), "projects not read"),
        (replace(QUIET, announced=2, kept_by_reason={"notice_pending": 2}), "2 announced"),
        (
            replace(QUIET, mode="dry-run", announced=2, kept_by_reason={"notice_pending": 2}),
            "nothing was deleted, 2 would be announced",
        ),
        (replace(QUIET, exit_code=8, deleted=1, reasons=(Reason.INTERRUPTED,)), "1 deleted, inter"),
    ],
)
def test_first_line_says_what_was_done_or_why_not(summary, expected):
    expected = expected or "dry run, a sweep would be refused: 30 would be deleted, max_deletions"
    assert expected in describe_end(summary)
    assert describe_end(summary).endswith(f"· Acme ({ORG})")


def planned(number, outcome, age_days=20.0, username=None):
    one = invited(number, username=username or f"p{number}@example.com")
    created_at = NOW - timedelta(days=age_days)
    return PlannedResult.from_invitation(
        one._replace(created_at=created_at), NOW, rule="forgotten", outcome=outcome
    )


def invited(number, **changes):
    return invitation(
        number, username=f"p{number}@example.com", project_name="Search", source=Source.INVITES
    )._replace(**changes)


@pytest.mark.parametrize("channel", [SLACK, WEBHOOK, PING])
@pytest.mark.parametrize("details", [True, False])
def test_users_are_named_only_with_details(channel, details):
    env = dict.fromkeys(("CHAT_URL", "HOOK_URL", "PING_URL"), "https://hooks.example.com/x")
    channel = channel.model_copy(update={"details": details})
    body = build_message(channel, env | {"HOOK_KEY": "k"}, FAILED, [planned(1, "failed")]).body
    assert (b"p1@example.com" in body) is details
    assert b"Acme" in body


def test_at_most_10_users_are_named_those_that_need_attention_and_the_oldest_first():
    many = [planned(n, "deleted", age_days=n) for n in range(40)]
    named = select_users([*many, planned(99, "failed", age_days=1.0)])
    assert len(named) == MAX_USERS == 10
    assert [each.username for each in named[:3]] == [
        "p99@example.com", "p39@example.com", "p38@example.com",
    ]  # fmt: skip


def test_user_with_invitations_in_several_lists_is_named_once_by_the_worst_outcome():
    twice = [planned(1, "deleted", age_days=30.0), planned(1, "failed"), planned(2, "deleted")]
    assert [(each.username, each.outcome) for each in select_users(twice)] == [
        ("p1@example.com", "failed"), ("p2@example.com", "deleted"),
    ]  # fmt: skip


def announced(number, inviter):
    one = invited(number, inviter=inviter)
    day = "2026-12-04T01:00:00Z"
    return Announced.from_invitation(one, NOW, rule="forgotten", deletable_from=day)


async def test_announced_users_are_grouped_by_inviter_with_the_day():
    users = [planned(9, "failed"), announced(1, "ada@x.org"), announced(2, "ada@x.org")]
    text = await slack_text(FAILED, users=[*users, announced(3, None)], details=True)
    start = text.index("- p9@example.com")
    assert text[start:].splitlines()[:6] == [
        "- p9@example.com in Search: failed",
        "Announced, invited by ada@x.org:",
        "- p1@example.com in Search: deletable from 2026-12-04",
        "- p2@example.com in Search: deletable from 2026-12-04",
        "Announced, invited by (not known):",
        "- p3@example.com in Search: deletable from 2026-12-04",
    ]


async def test_planned_users_hide_no_announced_one_and_the_rest_is_counted():
    users = [planned(n, "deleted") for n in range(10)]
    users += [announced(n, "ada@x.org") for n in range(20, 32)]
    text = await slack_text(FAILED, users=users, details=True)
    assert text.count("deletable from") == 10
    assert "And 2 more announced invitations." in text


async def test_named_users_cannot_start_a_new_line():
    hostile = planned(1, "failed", username="a@b.c\n*done*")
    text = await slack_text(FAILED, users=[hostile], details=True)
    assert "a@b.c[U+000A]*done* in Search: failed" in text


def test_every_reason_without_an_error_has_a_hint():
    stopped = (Reason.RETIRED_SOURCE, Reason.CIRCUIT_BREAKER)
    counts = dict.fromkeys(("projects_unreadable", "failed", "unknown", "still_there"), 1)
    partly = with_end(replace(QUIET, accepted_during=1, **counts), None, stopped_by=stopped)
    assert partly.exit_code == ExitCode.PARTIAL
    assert len(partly.reasons) == 7
    assert len(hints(partly)) == 6  # the failed deletions: first find out why they failed


def test_reasons_of_refusals_are_lower_case_words():
    assert all(reason == reason.lower() and reason.isidentifier() for reason in REFUSAL_REASONS)


async def test_slack_message_escapes_mentions_and_links():
    async with receiving(Receiver()) as receiver:
        hostile = replace(QUIET, run_id="<!channel> & <http://x|y>")
        assert await send_end([SLACK], environment(receiver), hostile) == ()
    sent = json.loads(receiver.requests[0][2])
    text = sent.pop("text")
    assert "<" not in text
    assert "&lt;!channel&gt; &amp; " in text
    assert sent == {"parse": "none", "unfurl_links": False, "unfurl_media": False}


@pytest.mark.parametrize("link", ["https://evil.example/x", "HTTP://evil.example", "www.evil.test"])
async def test_name_that_is_a_link_is_no_link_in_slack(link):
    hostile = replace(QUIET, organizations=(replace(ACME, name=f"Acme {link}"),))
    text = await slack_text(hostile)
    assert link not in text
    assert link in text.replace("\u200b", "")
    assert "://" not in text.replace("://\u200b", "")


def verify_as_standard_webhooks(headers, body, key: bytes):
    """Check the three headers of the specification; return the identifier."""
    identifier, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    signed = f"{identifier}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert int(timestamp) == DELETED.finished_at.timestamp()
    return identifier


@pytest.mark.parametrize(
    ("secret", "key"),
    [("k3y", b"k3y"), ("whsec_" + base64.b64encode(bytes(range(32))).decode(), bytes(range(32)))],
)
async def test_webhook_contains_the_summary_and_is_signed_as_standard_webhooks(secret, key):
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, HOOK_KEY=secret)
        assert await send_end([WEBHOOK], env, DELETED) == ()
        assert await send_end([WEBHOOK], env, DELETED) == ()
        assert await send_end([WEBHOOK], env, replace(DELETED, run_id="run-2")) == ()
    first, again, other = (
        verify_as_standard_webhooks(headers, body, key) for _, headers, body in receiver.requests
    )
    assert first == again != other
    _, headers, body = receiver.requests[0]
    assert not [name for name in headers if name.startswith("X-Invite")]
    sent = json.loads(body)
    assert (sent["deleted"], sent["exit_code"], sent["succeeded"]) == (3, 0, True)
    assert sent["finished_at"] == "2026-11-25T01:02:03Z"
    assert sent.keys() >= KEYS_OF_EARLIER_VERSIONS


async def test_webhook_says_which_organization_was_refused_why_and_what_to_do():
    async with receiving(Receiver()) as receiver:
        assert await send_end([WEBHOOK], environment(receiver), REFUSED) == ()
    sent = json.loads(receiver.requests[0][2])
    assert (sent["verdict"], sent["reasons"]) == ("refused", ["max_deletions"])
    assert sent["message"] == REFUSAL.message
    assert sent["hints"] == ["Read the plan."]
    assert sent["audit_last_hash"] == "c0ffee"
    (organization,) = sent["organizations"]
    assert (organization["id"], organization["name"]) == (ORG, "Acme")
    assert (organization["verdict"], organization["reasons"]) == ("refused", ["max_deletions"])
    assert "invitations" not in sent


@pytest.mark.parametrize("channel", [SLACK, WEBHOOK])
def test_only_ping_channels_are_notified_of_the_start(channel):
    urls = {"CHAT_URL": "https://a.example.com", "HOOK_URL": "https://b.example.com"}
    with pytest.raises(NotificationError, match="only notified of the end of a run"):
        build_message(
            channel, urls | {"HOOK_KEY": "k3y", "PING_URL": "https://c.example.com"}, None
        )
    assert build_message(PING, {"PING_URL": "https://c.example.com/x"}, None).url.endswith(
        "/x/start"
    )


async def test_webhook_without_secret_env_is_not_signed():
    async with receiving(Receiver()) as receiver:
        unsigned = Notification(kind="webhook", url_env="HOOK_URL")
        assert await send_end([unsigned], environment(receiver), DELETED) == ()
    assert not [name for name in receiver.requests[0][1] if name.lower().startswith("webhook-")]


async def test_webhook_with_a_key_that_is_not_base64_after_its_prefix_is_not_sent():
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, HOOK_KEY="whsec_not base64")
        (message,) = await send_end([WEBHOOK], env, DELETED)
    assert message.endswith("the signing key in HOOK_KEY is not Base64 after whsec_.")
    assert receiver.requests == []


async def test_webhook_with_an_empty_key_is_not_sent():
    async with receiving(Receiver()) as receiver:
        (message,) = await send_end([WEBHOOK], environment(receiver, HOOK_KEY=""), DELETED)
    assert "HOOK_KEY" in message
    assert receiver.requests == []


async def test_ping_reports_start_success_and_failure():
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, PING_URL=f"{receiver.url}/ping/s3cret?create=1")
        assert await send_start([SLACK, WEBHOOK, PING], env) == ()
        assert await send_end([PING], env, QUIET) == ()
        assert await send_end([PING], env, FAILED) == ()
    assert [path for path, _, _ in receiver.requests] == [
        "/ping/s3cret/start?create=1",
        "/ping/s3cret?create=1",
        "/ping/s3cret/fail?create=1",
    ]


@pytest.mark.parametrize(
    ("when", "summary", "notified"),
    [
        ("always", QUIET, True),
        ("changes", QUIET, False),
        ("changes", DELETED, True),
        ("changes", FAILED, True),
        ("changes", replace(QUIET, exit_code=3), True),
        ("changes", replace(QUIET, already_gone=1), True),
        ("changes", replace(QUIET, announced=1), True),
        ("changes", replace(QUIET, mode="dry-run", stale=1), True),
        ("changes", replace(QUIET, mode="dry-run", stale=1, exit_code=10), True),
        ("changes", replace(QUIET, mode="dry-run"), False),
        ("failures", DELETED, False),
        ("failures", replace(QUIET, mode="dry-run", stale=1, exit_code=10), False),
        ("failures", FAILED, True),
        ("failures", replace(QUIET, exit_code=3), True),
        ("failures", replace(QUIET, exit_code=8), True),
    ],
)
def test_when_selects_the_runs_to_notify_of(when, summary, notified):
    channel = Notification(kind="slack", url_env="CHAT_URL", when=when)
    assert should_notify(channel, summary) is notified


@pytest.mark.parametrize("summary", [QUIET, DELETED, FAILED])
def test_ping_is_notified_of_every_run_despite_its_when(summary):
    assert should_notify(Notification(kind="ping", url_env="PING_URL", when="failures"), summary)


async def test_failing_channel_does_not_stop_the_others():
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, CHAT_URL="http://127.0.0.1:1/s3cret")
        (message,) = await send_end([SLACK, WEBHOOK], env, DELETED)
    assert message == (
        "Notification to slack (CHAT_URL) was not sent to 127.0.0.1: could not connect to "
        "127.0.0.1: connection refused. Check the firewall, and the proxy in HTTPS_PROXY and "
        "NO_PROXY."
    )
    assert len(receiver.requests) == 1


async def test_redirect_is_reported_and_not_followed():
    headers = {"Location": "/elsewhere"}
    async with receiving(Receiver(status=307, headers=headers)) as receiver:
        (message,) = await send_end([SLACK], environment(receiver), DELETED)
    assert "status 307" in message
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_error_status_is_reported_without_the_address(status):
    async with receiving(Receiver(status=status)) as receiver:
        (message,) = await send_end([SLACK], environment(receiver), DELETED)
    fix = "The receiver failed; the next run notifies it again."
    if status < 500:
        fix = "Check the address in CHAT_URL."
    assert message == (
        f"Notification to slack (CHAT_URL) was not sent to 127.0.0.1: status {status}. {fix}"
    )


async def test_message_goes_through_the_proxy_of_the_environment(monkeypatch):
    """The proxy gets CONNECT with the receiver's name; loopback is never sent through it."""
    seen = []

    async def proxy(reader, writer):
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://ada:p4ssw0rd@127.0.0.1:{port}")
        env = {"CHAT_URL": "https://hooks.example.test/s3cret"}
        (message,) = await send_end([SLACK], env, DELETED)
        async with receiving(Receiver()) as receiver:
            assert await send_end([SLACK], environment(receiver), DELETED) == ()
    (request,) = seen
    assert request.startswith("CONNECT hooks.example.test:443")
    assert "Proxy-Authorization: Basic " in request
    assert message.startswith(
        "Notification to slack (CHAT_URL) was not sent to hooks.example.test: "
        "proxy responded with HTTP 407. Check "
    )


async def test_invalid_proxy_is_reported_without_its_value(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://s3cret@127.0.0.1")
    (message,) = await send_end([SLACK], {"CHAT_URL": "https://hooks.example.test/x"}, DELETED)
    assert "The value of https_proxy is not a valid proxy URL. Write it as http://HOST" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("limit_s", [0.2, 0.0])
async def test_receiver_without_a_response_is_reported_after_the_limit(limit_s):
    async with receiving(Receiver(silent=asyncio.Event())) as receiver:
        (message,) = await send_end([SLACK], environment(receiver), DELETED, limit_s=limit_s)
    assert "no response within" in message


async def test_cancellation_ends_a_pending_notification():
    async with receiving(Receiver(silent=asyncio.Event())) as receiver:
        task = asyncio.create_task(send_end([SLACK], environment(receiver), DELETED))
        await receiver.on_request.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "not set"),
        ("   ", "not set"),
        ("http://hooks.example.com/s3cret", "https"),
        ("ftp://127.0.0.1/s3cret", "https"),
        ("s3cret", "https"),
        ("http://127.0.0.1.example.com/s3cret", "https"),
        ("https://[s3cret", "not a valid URL"),
    ],
)
async def test_invalid_url_is_reported_and_not_repeated(url, reason):
    (message,) = await send_end([SLACK], {"CHAT_URL": url}, DELETED)
    assert reason in message
    assert "CHAT_URL" in message
    assert "s3cret" not in message


async def test_no_session_is_opened_without_channels(monkeypatch):
    monkeypatch.delattr("aiohttp.ClientSession")
    assert await send_start([SLACK], {}) == ()
    assert await send_end([], {}, FAILED) == ()

"""Messages as real receivers on loopback see them."""

import asyncio
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from aiohttp import web

from invite_sweeper.policy import Notification
from invite_sweeper.report import webhooks
from invite_sweeper.report.webhooks import (
    NotificationError,
    build_message,
    headline,
    send_end,
    send_start,
    should_notify,
)
from invite_sweeper.sweep.summary import RunSummary

QUIET = RunSummary(
    run_id="run-1",
    mode="sweep",
    now="2026-11-25T01:02:00Z",
    exit_code=0,
    finished_at=datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC),
    invitations_seen=1234,
    kept=1234,
    kept_by_reason={"keep:board": 1234},
)
DELETED = replace(QUIET, stale=3, deleted=3)
FAILED = replace(QUIET, exit_code=4, stale=1, failed=1)

SLACK = Notification(kind="slack", url_env="CHAT_URL")
WEBHOOK = Notification(kind="webhook", url_env="HOOK_URL", secret_env="HOOK_KEY")
PING = Notification(kind="ping", url_env="PING_URL")


@dataclass
class Receiver:
    """Takes whatever is posted, remembers it, and answers as told."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    silent: asyncio.Event | None = None
    seen: list = field(default_factory=list)
    on_request: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append((request.path_qs, dict(request.headers), await request.read()))
        self.on_request.set()
        if self.silent is not None:
            await self.silent.wait()
        return web.Response(status=self.status, headers=self.headers)


@asynccontextmanager
async def receiving(receiver: Receiver):
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
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


async def test_a_slack_message_is_one_text_with_the_figures():
    async with receiving(Receiver()) as receiver:
        assert await send_end([SLACK], environment(receiver), FAILED) == ()
    ((path, headers, body),) = receiver.seen
    assert path == "/services/T0/s3cret"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "text": "invite_sweeper sweep: partly done (exit code 4)\n"
        "seen 1,234, stale 1, failed 1, kept 1,234; 0 s, run run-1"
    }


async def test_a_slack_message_cannot_mention_or_link():
    async with receiving(Receiver()) as receiver:
        hostile = replace(QUIET, run_id="<!channel> & <http://x|y>")
        assert await send_end([SLACK], environment(receiver), hostile) == ()
    text = json.loads(receiver.seen[0][2])["text"]
    assert "<" not in text
    assert "&lt;!channel&gt; &amp; " in text


async def test_a_webhook_holds_the_summary_and_a_signature_over_time_and_body():
    async with receiving(Receiver()) as receiver:
        assert await send_end([WEBHOOK], environment(receiver), DELETED) == ()
    ((_, headers, body),) = receiver.seen
    timestamp = headers["X-Invite-Sweeper-Timestamp"]
    assert int(timestamp) == DELETED.finished_at.timestamp()
    expected = hmac.new(b"k3y", timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Invite-Sweeper-Signature"] == f"sha256={expected}"
    sent = json.loads(body)
    assert (sent["deleted"], sent["exit_code"], sent["succeeded"]) == (3, 0, True)
    assert sent["finished_at"] == "2026-11-25T01:02:03+00:00"


@pytest.mark.parametrize("channel", [SLACK, WEBHOOK])
def test_the_begin_of_a_run_is_told_to_a_ping_alone(channel):
    urls = {"CHAT_URL": "https://a.example.com", "HOOK_URL": "https://b.example.com"}
    with pytest.raises(NotificationError, match="only told of a run's end"):
        build_message(
            channel, urls | {"HOOK_KEY": "k3y", "PING_URL": "https://c.example.com"}, None
        )
    assert build_message(PING, {"PING_URL": "https://c.example.com/x"}, None).url.endswith(
        "/x/start"
    )


async def test_a_webhook_without_a_key_is_not_signed():
    async with receiving(Receiver()) as receiver:
        bare = Notification(kind="webhook", url_env="HOOK_URL")
        assert await send_end([bare], environment(receiver), DELETED) == ()
    assert not [name for name in receiver.seen[0][1] if name.startswith("X-Invite")]


async def test_a_webhook_whose_key_is_missing_is_not_sent_unsigned():
    async with receiving(Receiver()) as receiver:
        (said,) = await send_end([WEBHOOK], environment(receiver, HOOK_KEY=""), DELETED)
    assert "HOOK_KEY" in said
    assert receiver.seen == []


async def test_a_ping_tells_of_start_success_and_failure():
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, PING_URL=f"{receiver.url}/ping/s3cret?create=1")
        assert await send_start([SLACK, WEBHOOK, PING], env) == ()
        assert await send_end([PING], env, QUIET) == ()
        assert await send_end([PING], env, FAILED) == ()
    assert [path for path, _, _ in receiver.seen] == [
        "/ping/s3cret/start?create=1",
        "/ping/s3cret?create=1",
        "/ping/s3cret/fail?create=1",
    ]


@pytest.mark.parametrize(
    ("when", "summary", "told"),
    [
        ("always", QUIET, True),
        ("changes", QUIET, False),
        ("changes", DELETED, True),
        ("changes", FAILED, True),
        ("changes", replace(QUIET, exit_code=3), True),
        ("changes", replace(QUIET, already_gone=1), True),
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
def test_when_decides_which_runs_are_told(when, summary, told):
    assert should_notify(Notification(kind="slack", url_env="CHAT_URL", when=when), summary) is told


@pytest.mark.parametrize("summary", [QUIET, DELETED, FAILED])
def test_a_ping_hears_of_every_run_whatever_its_when(summary):
    assert should_notify(Notification(kind="ping", url_env="PING_URL", when="failures"), summary)


async def test_each_channel_is_told_although_another_fails():
    async with receiving(Receiver()) as receiver:
        env = environment(receiver, CHAT_URL="http://127.0.0.1:1/s3cret")
        (said,) = await send_end([SLACK, WEBHOOK], env, DELETED)
    assert said.startswith("The slack of CHAT_URL was not told: ")
    assert "s3cret" not in said
    assert len(receiver.seen) == 1


async def test_a_redirect_is_not_followed():
    headers = {"Location": "/elsewhere"}
    async with receiving(Receiver(status=307, headers=headers)) as receiver:
        (said,) = await send_end([SLACK], environment(receiver), DELETED)
    assert "it answered 307" in said
    assert len(receiver.seen) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_refusal_is_said(status):
    async with receiving(Receiver(status=status)) as receiver:
        (said,) = await send_end([SLACK], environment(receiver), DELETED)
    assert f"it answered {status}" in said
    assert "s3cret" not in said


async def test_a_receiver_that_never_answers_is_left_after_the_timeout(monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 0.2)
    async with receiving(Receiver(silent=asyncio.Event())) as receiver:
        (said,) = await send_end([SLACK], environment(receiver), DELETED)
    assert "no answer within" in said


async def test_a_cancelled_run_is_not_held_up():
    async with receiving(Receiver(silent=asyncio.Event())) as receiver:
        telling = asyncio.create_task(send_end([SLACK], environment(receiver), DELETED))
        await receiver.on_request.wait()
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not set"),
        ("   ", "not set"),
        ("http://hooks.example.com/s3cret", "https"),
        ("ftp://127.0.0.1/s3cret", "https"),
        ("s3cret", "https"),
        ("http://127.0.0.1.example.com/s3cret", "https"),
        ("https://[s3cret", "no URL"),
    ],
)
async def test_an_address_that_may_not_be_used_is_said_and_not_repeated(url, why):
    (said,) = await send_end([SLACK], {"CHAT_URL": url}, DELETED)
    assert why in said
    assert "CHAT_URL" in said
    assert "s3cret" not in said


async def test_nobody_to_tell_opens_no_session(monkeypatch):
    monkeypatch.delattr("aiohttp.ClientSession")
    assert await send_start([SLACK], {}) == ()
    assert await send_end([], {}, FAILED) == ()


@pytest.mark.parametrize(
    ("exit_code", "state"),
    [
        (0, "done"),
        (3, "refused by a guard, nothing was deleted"),
        (5, "credentials refused"),
        (8, "stopped early"),
        (10, "done, there are stale invitations"),
    ],
)
def test_the_headline_says_how_it_ended(exit_code, state):
    said = headline(replace(QUIET, exit_code=exit_code))
    assert said == f"invite_sweeper sweep: {state} (exit code {exit_code})"

"""Notifications as HTTP receivers on loopback get them."""

import asyncio
import base64
import hmac
import json
import re
from datetime import timedelta
from typing import get_args

import pytest
from audit.runs import deletion, planned
from builders import NOW, ORG
from msgspec import structs
from receiving import Chat, receiving
from report.reading import run_message
from report.scenes import SCENES, error, recorded, run
from reviewed import assert_reviewed

from invite_sweeper.audit.events import OrganizationResult, RunWarning
from invite_sweeper.endings import Reason, WarningCode, WarningLevel
from invite_sweeper.policy import Notification
from invite_sweeper.policy.model import ReceiverKind
from invite_sweeper.report import sending
from invite_sweeper.report.messages import message_lines
from invite_sweeper.report.notify import is_due, notify
from invite_sweeper.report.run_message import MAX_USERS
from invite_sweeper.sweep.waiting import WaitingInvitation
from invite_sweeper.text import PROGRAM_NAME

QUIET = run()
DELETED = run(stale=3, deleted=3)
FAILED = run(stale=1, failed=1, exit_code=4, reasons=(Reason.FAILED_DELETIONS,))
SLACK = Notification(kind="slack", url_env="CHAT_URL")
TEAMS = Notification(kind="teams", url_env="TEAMS_URL")
WEBHOOK = Notification(kind="webhook", url_env="HOOK_URL", secret_env="HOOK_KEY")
PING = Notification(kind="ping", url_env="PING_URL")
CHANNELS = {each.kind: each for each in (SLACK, TEAMS, WEBHOOK, PING)}


def environment(receiver, **more: str) -> dict[str, str]:
    paths = {"CHAT_URL": "/services/T0/s3cret", "HOOK_URL": "/hook", "PING_URL": "/ping?create=1"}
    paths |= {"TEAMS_URL": "/workflows/s3cret/triggers/manual/paths/invoke?sig=s3cret"}
    urls = {name: receiver.url + path for name, path in paths.items()}
    return {**urls, "HOOK_KEY": "k3y", **more}


@pytest.fixture
def end(directory):
    """Send the message about a run to receivers, and return what was not sent."""

    async def send(receivers, environment, scene=DELETED, waiting=(), **more):
        record = await asyncio.to_thread(recorded, scene, directory)
        run = run_message(record, waiting)
        found = await notify(receivers, environment, run, **more)
        return tuple(each.error for each in found if each.has_failed)

    return send


@pytest.fixture
def sent(end):
    """Send the message about a run to one channel; return its path, headers and body."""

    async def request(channel, scene=DELETED, waiting=(), **more):
        with receiving() as receiver:
            assert await end([channel], environment(receiver, **more), scene, waiting) == ()
        (found,) = receiver.requests
        return found

    return request


def person(number, result="deleted", age_days=20.0):
    names = {"username": f"p{number}@example.com", "project_name": "Search"}
    return deletion(number, result, **names, age=timedelta(days=age_days))


@pytest.mark.parametrize("kind", get_args(ReceiverKind))
@pytest.mark.parametrize("details", [True, False])
async def test_users_are_named_only_with_details(sent, kind, details):
    channel = CHANNELS[kind].model_copy(update={"details": details})
    _, _, body = await sent(channel, run(*person(1, "failed")), [waiting(2, "ada@x.org")])
    assert (b"p1@example.com" in body) is details
    names = {b"p2@example.com", b"ada@x.org", waiting(2, None).invitation_id.encode()}
    assert any(each in body for each in names) is (details and kind != "ping")
    assert b"Acme" in body


async def test_without_details_a_webhook_has_no_pattern_of_the_policy(sent):
    remark = RunWarning(WarningCode.POLICY, "`ada@x.org` matches nobody.", WarningLevel.REMARK)
    _, _, body = await sent(WEBHOOK, run(warnings=(remark,)))
    assert b"ada@x.org" not in body


async def test_at_most_10_users_are_named_those_that_need_attention_and_the_oldest_first(sent):
    lines = [line for n in range(1, 41) for line in person(n, age_days=float(n))]
    scene = run(*lines, *person(99, "failed", age_days=1.0))
    _, _, body = await sent(SLACK.model_copy(update={"details": True}), scene)
    users = re.findall(r"^- (\S+) in Search · Acme: \w+$", json.loads(body)["text"], re.MULTILINE)
    assert len(users) == MAX_USERS == 10
    assert [user.partition("@")[0] for user in users[:3]] == ["p99", "p40", "p39"]


def waiting(number, inviter, *, new=True, unread=False, days=1, **changes):
    names = {"username": f"p{number}@example.com", "project_name": "Search", "inviter": inviter}
    one = planned(number, **names, **changes)
    return one.as_event(
        WaitingInvitation,
        rule="forgotten",
        deletable_from=f"2026-12-{3 + days:02}T01:00:00Z",
        announced_at=f"2026-11-{26 + days:02}T01:00:00Z",
        new=new,
        unread=unread,
    )


def test_messages_are_as_they_were_reviewed(directory):
    """What waits is counted, the new ones are named first, and a command lists the rest."""
    old = [waiting(n, "zoe@x.org", new=False, unread=n == 20) for n in range(20, 32)]
    new = [waiting(1, None, days=2), waiting(2, "wkzjqvtb", days=3, inviter_name="terraform")]
    would_be = structs.replace(waiting(2, None), announced_at=None)
    record = recorded(run(*person(9, "failed")), directory)
    parts = []
    for name, invitations in (
        ("new ones wait, and old ones", [*old, *new]),
        ("one waits, a sweep would announce another", [would_be, new[0]]),
        ("a sweep would announce one", [would_be]),
    ):
        for details in (True, False):
            message = run_message(record, invitations)._replace(details=details)
            lines = [line.sentence for line in message_lines(message.document)]
            parts.append(f"== {name}{'' if details else ', without details'}")
            parts += [*lines, ""]
    assert_reviewed("\n".join(parts), __file__, "messages.txt")


FORGED = "<!channel> & <http://x|y> HTTP://evil.example www.evil.test [x](y) **b** <at>all</at>"


def refused(word):
    command = f"{PROGRAM_NAME} doctor --policy policy.yaml --base-url {word}"
    cause = {"hint": f"To list them: {command}", "command": command}
    return run(exit_code=5, error=error("It failed at https://evil.example.", **cause))


MESSAGES = {
    # What waits is not known where it is None.
    "a name cannot mention, link or format": (
        run(organizations=(OrganizationResult(id=ORG, name=FORGED, plan_made=True),)),
        None,
    ),
    "a command is code, untouched": (refused("https://cloud.mongodbgov.com/www.x"), ()),
    "a command with a backtick is code": (refused("'a`b & c'"), ()),
    "people are named with details, and what waits with its days": (
        run(*person(1, "failed")),
        (waiting(2, "ada@x.org"), waiting(3, None, new=False, unread=True)),
    ),
}


def shown(kind, body):
    """Yield what decides of a message, line by line."""
    if kind == "ping":
        yield from body.decode().splitlines()
        return
    found = json.loads(body)
    if kind == "slack":
        yield from found.pop("text").splitlines()
        yield json.dumps(found)
    elif kind == "teams":
        (attachment,) = found["attachments"]
        blocks = attachment["content"].pop("body")
        yield json.dumps(found)
        yield from (json.dumps(each) for block in blocks for each in block.pop("inlines"))
    else:
        for name in ("headline", "attention", "announcements", "invitations"):
            yield f"{name}: {json.dumps(found[name])}"


async def test_messages_of_each_kind_are_as_they_were_reviewed(sent):
    lines = []
    for name, (scene, waits) in MESSAGES.items():
        for kind, channel in CHANNELS.items():
            details = channel.model_copy(update={"details": True})
            path, headers, body = await sent(details, scene, waits)
            lines += [f"== {name}", f"POST {path} as {headers.get('Content-Type')}"]
            lines += [*shown(kind, body), ""]
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", "\n".join(lines))
    assert_reviewed(text, __file__, "sent.txt")


@pytest.mark.parametrize(("channel", "most"), [(SLACK, 40_000), (TEAMS, 28_000)])
async def test_what_does_not_fit_is_counted_with_its_command_and_the_hash_stays(
    sent, channel, most
):
    organizations = tuple(
        OrganizationResult(id=f"{n:024x}", name="\u00e9" * 300, plan_made=True) for n in range(200)
    )
    _, _, body = await sent(channel, run(organizations=organizations))
    text = body.decode()
    found = re.search(r"And (\d+) more lines:", text)
    shown = text.count("\u00e9" * 300)
    assert len(body if channel is TEAMS else json.loads(body)["text"]) < most
    assert 5 < shown < 200
    assert int(found[1]) >= 200 - shown
    assert f"{PROGRAM_NAME} audit show 1 --policy policy.yaml" in text
    assert "Last hash" not in text or text.index("Last hash") > found.start()


@pytest.mark.parametrize(
    ("mode", "shown"), [("sweep", True), ("restore", True), ("dry-run", False)]
)
def test_last_hash_is_evidence_of_what_was_done_and_not_that_of_a_plan(directory, mode, shown):
    record = structs.replace(recorded(run(mode=mode), directory), last_hash="f" * 64)
    *_, last = message_lines(run_message(record).document)
    assert (last.text == f"Last hash: {'f' * 64}") is shown


@pytest.mark.parametrize(
    ("secret", "key"),
    [("k3y", b"k3y"), ("whsec_" + base64.b64encode(bytes(range(32))).decode(), bytes(range(32)))],
)
async def test_webhook_contains_the_result_and_is_signed_as_standard_webhooks(sent, secret, key):
    requests = [await sent(WEBHOOK, scene, HOOK_KEY=secret) for scene in (QUIET, DELETED)]
    for _, headers, body in requests:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{digest}"
        assert int(headers["webhook-timestamp"]) == (NOW + timedelta(minutes=1)).timestamp()
    assert len({headers["webhook-id"] for _, headers, _ in requests}) == 2
    found = json.loads(body)
    assert (found["deleted"], found["exit_code"], found["succeeded"]) == (3, 0, True)
    assert (found["verdict"], found["retryable"]) == ("done", False)
    assert found["finished_at"] == "2026-11-25T01:01:00Z"
    assert not {"lists", "invitations", "plan"} & found.keys()


@pytest.mark.parametrize(
    ("when", "scene", "notified"),
    [
        ("always", QUIET, True),
        ("changes", QUIET, False),
        ("changes", DELETED, True),
        ("changes", FAILED, True),
        ("changes", run(stale=1, already_gone=1), True),
        ("changes", run(mode="dry-run", stale=1, exit_code=10), True),
        ("changes", run(mode="dry-run"), False),
        ("failures", DELETED, False),
        ("failures", run(mode="dry-run", stale=1, exit_code=10), False),
        ("failures", FAILED, True),
        ("failures", SCENES["list ends in 5 days"], True),
        ("failures", SCENES["remark"], False),
        ("ping, whatever its when is", QUIET, True),
    ],
)
def test_when_selects_the_runs_to_notify_of(when, scene, notified, directory):
    channel = SLACK.model_copy(update={"when": when})
    if when.startswith("ping"):
        channel = PING.model_copy(update={"when": "failures"})
    assert is_due(channel, run_message(recorded(scene, directory))) is notified


@pytest.mark.parametrize("details", [True, False])
@pytest.mark.parametrize("scene", SCENES)
async def test_slack_and_teams_take_the_message_of_every_run(end, scene, details):
    """Each chat refuses a field, a value or a size that its documentation does not have."""
    chats = [each.model_copy(update={"details": details}) for each in (SLACK, TEAMS)]
    waits = [waiting(n, "ada@x.org") for n in range(1, 12)]
    with receiving(Chat) as receiver:
        assert await end(chats, environment(receiver), SCENES[scene], waits) == ()
    assert len(receiver.requests) == 2


async def test_slack_and_teams_take_the_message_that_was_cut(end):
    organizations = tuple(
        OrganizationResult(id=f"{n:024x}", name="\u00e9" * 300, plan_made=True) for n in range(200)
    )
    scene = run(organizations=organizations)
    with receiving(Chat) as receiver:
        assert await end([SLACK, TEAMS], environment(receiver), scene) == ()


async def test_failing_channel_does_not_stop_the_others(end):
    with receiving() as receiver:
        env = environment(receiver, CHAT_URL="http://127.0.0.1:1/s3cret")
        assert len(await end([SLACK, WEBHOOK], env)) == 1
    assert len(receiver.requests) == 1


WRONG = (
    *((SLACK, "CHAT_URL", value) for value in ("   ", "ftp://127.0.0.1/s3cret", "s3cret")),
    (SLACK, "CHAT_URL", "http://127.0.0.1.example.com/s3cret"),
    (SLACK, "CHAT_URL", "https://[s3cret"),
    (WEBHOOK, "HOOK_KEY", "whsec_s3cret"),
    (WEBHOOK, "HOOK_KEY", ""),
)


async def test_what_is_not_sent_is_reported_as_it_was_reviewed_and_nothing_is_followed(
    end, monkeypatch
):
    """No message repeats an address or a key."""
    parts = {}
    with receiving() as receiver:
        for channel, variable, value in WRONG:
            shown = f"{variable}={value}".replace("s3cret", "SECRET")
            parts[shown] = await end([channel], environment(receiver, **{variable: value}))
        assert receiver.requests == []
        for status in (307, 404, 500):
            receiver.status = status
            parts[f"HTTP {status}"] = await end([SLACK], environment(receiver))
        assert {path for path, _, _ in receiver.requests} == {"/services/T0/s3cret"}
        receiver.answers.clear()
        with monkeypatch.context() as patient:
            patient.setattr(sending, "_LIMIT_S", 0.2)
            parts["no response for 0.2 s"] = await end([SLACK], environment(receiver))
        no_server = environment(receiver, CHAT_URL="http://127.0.0.1:1/s3cret")
        parts["no server"] = await end([SLACK], no_server)
    monkeypatch.setenv("https_proxy", "socks5://s3cret@127.0.0.1")
    parts["https_proxy=socks5://SECRET@127.0.0.1"] = await end(
        [SLACK], {"CHAT_URL": "https://hooks.example.test/x"}
    )
    text = "".join(f"== {case}\n{message}\n" for case, (message,) in parts.items())
    assert "s3cret" not in text
    assert_reviewed(text, __file__, "not_sent.txt")

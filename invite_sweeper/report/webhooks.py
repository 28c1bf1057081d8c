"""Slack, signed webhook, ping."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import orjson

from invite_sweeper.errors import ExitCode
from invite_sweeper.policy import Notification
from invite_sweeper.sweep.summary import RunSummary

# What is told of a run, and to which address: pure, and never a secret in sight.
#
# Messages hold numbers, and of names only those that the policy gives its own entries: no
# person, project or address of the organization leaves by this door.


SIGNATURE_HEADER = "X-Invite-Sweeper-Signature"
TIMESTAMP_HEADER = "X-Invite-Sweeper-Timestamp"

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Message:
    """What one channel is to be sent.

    Attributes:
        url: Secret.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]


class NotificationError(Exception):
    """Why a message was not sent; its text is safe to show."""


def should_notify(channel: Notification, summary: RunSummary) -> bool:
    """Whether the channel wants to hear of such a run.

    `changes` is a run that touched something, or a dry run that found something stale;
    `failures` one that did not do all it set out to do, which `changes` hears of, too. A ping
    hears of every run: what watches for silence must.
    """
    if channel.kind == "ping" or channel.when == "always" or not summary.succeeded:
        return True
    return channel.when == "changes" and summary.changed


def build_message(
    channel: Notification, environment: Mapping[str, str], summary: RunSummary | None
) -> Message:
    """Put together what the channel is sent; without summary, that a run begins. Pure.

    Raises:
        NotSent: A variable is missing, or the address may not be used.

    Source:
        Slack, "Sending messages using incoming webhooks" (`text`) and "Formatting text"
        (`&`, `<`, `>` escaped). The paths `/start` and `/fail` are those of healthchecks.io,
        "Pinging API". Read 2026-11-25.
    """
    url = _webhook_url(channel, environment)
    if channel.kind == "ping":
        return _ping(url, summary)
    if summary is None:
        raise NotificationError("it is only told of a run's end")
    if channel.kind == "slack":
        return _json_message(url, orjson.dumps({"text": _slack_text(summary)}), {})
    body = orjson.dumps({**summary.to_metrics(), "succeeded": summary.succeeded})
    return _json_message(url, body, _signature(channel, environment, summary, body))


def headline(summary: RunSummary) -> str:
    """The run in one sentence."""
    code = ExitCode(summary.exit_code)
    return f"invite_sweeper {summary.mode}: {code.label} (exit code {code})"


def _slack_text(summary: RunSummary) -> str:
    counts = {
        "seen": summary.invitations_seen,
        "stale": summary.stale,
        "trimmed": summary.trimmed,
        "deleted": summary.deleted,
        "already gone": summary.already_gone,
        "failed": summary.failed,
        "unknown": summary.unknown,
        "skipped": summary.skipped,
        "accepted before": summary.accepted_before,
        "accepted during": summary.accepted_during,
        "kept": summary.kept,
        "projects unread": summary.projects_unreadable,
    }
    always = {"seen", "stale", "kept"}
    parts = [f"{name} {number:,}" for name, number in counts.items() if number or name in always]
    text = (
        f"{headline(summary)}\n{', '.join(parts)}; {summary.duration_s:.0f} s, run {summary.run_id}"
    )
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json_message(url: str, body: bytes, headers: Mapping[str, str]) -> Message:
    return Message(url, body, {"Content-Type": "application/json", **headers})


def _signature(
    channel: Notification, environment: Mapping[str, str], summary: RunSummary, body: bytes
) -> dict[str, str]:
    """HMAC-SHA256 over `TIMESTAMP.BODY`: an old message sent again can be told from a new one."""
    if channel.secret_env is None:
        return {}
    key = environment.get(channel.secret_env, "")
    if not key:
        raise NotificationError(f"the variable {channel.secret_env} with its key is not set")
    timestamp = str(int(summary.finished_s))
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: f"sha256={digest.hexdigest()}"}


def _ping(url: str, summary: RunSummary | None) -> Message:
    if summary is None:
        return Message(_append_path(url, "start"), b"", {})
    ending = url if summary.succeeded else _append_path(url, "fail")
    return Message(ending, headline(summary).encode(), {"Content-Type": "text/plain"})


def _append_path(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def _webhook_url(channel: Notification, environment: Mapping[str, str]) -> str:
    url = environment.get(channel.url_env, "").strip()
    if not url:
        raise NotificationError(f"the variable {channel.url_env} with its address is not set")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotificationError(f"what {channel.url_env} holds is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise NotificationError(f"the address in {channel.url_env} does not begin with https://")
    return url


# Tells others how a run went: Slack-compatible webhooks, signed webhooks, dead-man pings.
#
# Trouble here never changes what the run came to: it is returned as a sentence for the log, and
# no sentence repeats an address or a key.


TIMEOUT_S = 10.0

_FIRST_REDIRECT_STATUS = 300
"""From here on an answer is no success; a redirect is not followed, it may lead anywhere."""


async def send_start(
    channels: Sequence[Notification], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell the ping channels that a run begins.

    Returns:
        What went wrong, a sentence each; empty when all were told.
    """
    pings = [channel for channel in channels if channel.kind == "ping"]
    return await _send_all(pings, environment, None)


async def send_end(
    channels: Sequence[Notification], environment: Mapping[str, str], summary: RunSummary
) -> tuple[str, ...]:
    """Tell every channel that wants to hear of this run how it went.

    Returns:
        What went wrong, a sentence each; empty when all were told.
    """
    selected = [channel for channel in channels if should_notify(channel, summary)]
    return await _send_all(selected, environment, summary)


async def _send_all(
    channels: Sequence[Notification], environment: Mapping[str, str], summary: RunSummary | None
) -> tuple[str, ...]:
    if not channels:
        return ()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        errors = await asyncio.gather(
            *(_send(session, channel, environment, summary) for channel in channels)
        )
    return tuple(sentence for sentence in errors if sentence)


async def _send(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    summary: RunSummary | None,
) -> str:
    """Send one message; returns what went wrong, or nothing."""
    try:
        message = build_message(channel, environment, summary)
        async with session.post(
            message.url, data=message.body, headers=message.headers, allow_redirects=False
        ) as response:
            reason = (
                "" if response.status < _FIRST_REDIRECT_STATUS else f"it answered {response.status}"
            )
    except NotificationError as why:
        reason = str(why)
    except TimeoutError:
        reason = f"no answer within {TIMEOUT_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - no receiver may change what the run came to
        reason = type(error).__name__  # its text would repeat the address
    return f"The {channel.kind} of {channel.url_env} was not told: {reason}." if reason else ""

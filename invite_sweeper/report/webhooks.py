"""Notify Slack, webhooks and ping monitors of a run.

Messages contain numbers, and only those names that the policy gives to its own entries: no
user, project or address of the organization is sent.

Errors never change the result of a run: they are returned as messages for the log, which
never repeat an address or a key.
"""

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
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.formatting import describe_checkpoint
from invite_sweeper.resolver import DaemonResolver
from invite_sweeper.sweep.summary import RunSummary

NOTIFICATION_LIMIT_S = 10.0
"""For one message: name, connection, request and response together."""
_MIN_LIMIT_S = 0.1
"""For aiohttp, 0 is no limit."""
SIGNATURE_HEADER = "X-Invite-Sweeper-Signature"
TIMESTAMP_HEADER = "X-Invite-Sweeper-Timestamp"

FIRST_REDIRECT_STATUS = 300
"""Redirects are not followed, they could lead anywhere: every status from here is an error."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP request to one channel.

    Attributes:
        url: Secret.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]


class NotificationError(Exception):
    """A message was not sent; the text of the error is safe to show."""


def should_notify(channel: Notification, summary: RunSummary) -> bool:
    """Return whether the channel is notified of this run.

    `changes` covers runs that deleted something, dry runs that found something stale, and
    failures. `failures` covers runs that did not complete. A ping monitor, which alerts on
    silence, is notified of every run.
    """
    if channel.kind == "ping" or channel.when == "always" or not summary.succeeded:
        return True
    return channel.when == "changes" and summary.changed


def build_message(
    channel: Notification, environment: Mapping[str, str], summary: RunSummary | None
) -> Message:
    """Return the message to the channel; without a summary, the start of a run.

    Raises:
        NotificationError: A variable is not set, or the address is not allowed.

    Source:
        Slack, "Sending messages using incoming webhooks" (`text`) and "Formatting text"
        (`&`, `<`, `>` escaped). The paths `/start` and `/fail` are those of healthchecks.io,
        "Pinging API". Read 2026-11-25.
    """
    url = _webhook_url(channel, environment)
    if channel.kind == "ping":
        return _ping(url, summary)
    if summary is None:
        raise NotificationError("it is only notified of the end of a run")
    if channel.kind == "slack":
        return _json_message(url, _json({"text": _slack_text(summary)}), {})
    fields = {**summary.to_metrics(), "succeeded": summary.succeeded}
    if summary.checkpoint is not None:
        fields["checkpoint"] = summary.checkpoint
    body = _json(fields)
    return _json_message(url, body, _signature(channel, environment, summary, body))


def headline(summary: RunSummary) -> str:
    """Return the run's result as one line."""
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
    if summary.checkpoint is not None:
        text += f"\nAudit log: {describe_checkpoint(summary.checkpoint)}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(value: Mapping[str, object]) -> bytes:
    return SECRETS.redact_bytes(orjson.dumps(value))


def _json_message(url: str, body: bytes, headers: Mapping[str, str]) -> Message:
    return Message(url, body, {"Content-Type": "application/json", **headers})


def _signature(
    channel: Notification, environment: Mapping[str, str], summary: RunSummary, body: bytes
) -> dict[str, str]:
    """Sign `TIMESTAMP.BODY` by HMAC-SHA256; the timestamp lets receivers reject replays."""
    if channel.secret_env is None:
        return {}
    key = environment.get(channel.secret_env, "")
    if not key:
        raise NotificationError(f"{channel.secret_env}, which holds its key, is not set")
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
        raise NotificationError(f"{channel.url_env} is not set")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotificationError(f"{channel.url_env} is not a valid URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise NotificationError(f"{channel.url_env} does not start with https://")
    return url


def open_session(limit_s: float) -> aiohttp.ClientSession:
    """Return an HTTP session in which each message may take `limit_s` seconds in all."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=DaemonResolver()),
        timeout=aiohttp.ClientTimeout(total=max(limit_s, _MIN_LIMIT_S)),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def register_secrets(channels: Sequence[Notification], environment: Mapping[str, str]) -> None:
    """Register the addresses and keys of the channels, which no output may show."""
    for channel in channels:
        SECRETS.add_url(environment.get(channel.url_env, "").strip())
        if channel.secret_env is not None:
            SECRETS.add(environment.get(channel.secret_env, ""))


async def send_start(
    channels: Sequence[Notification],
    environment: Mapping[str, str],
    *,
    limit_s: float = NOTIFICATION_LIMIT_S,
) -> tuple[str, ...]:
    """Notify the ping channels of the start of a run.

    Returns:
        Error messages; empty if all were notified.
    """
    pings = [channel for channel in channels if channel.kind == "ping"]
    return await _send_all(pings, environment, None, limit_s)


async def send_end(
    channels: Sequence[Notification],
    environment: Mapping[str, str],
    summary: RunSummary,
    *,
    limit_s: float = NOTIFICATION_LIMIT_S,
) -> tuple[str, ...]:
    """Notify the channels with a `when` that covers this run of its result.

    Returns:
        Error messages; empty if all were notified.
    """
    selected = [channel for channel in channels if should_notify(channel, summary)]
    return await _send_all(selected, environment, summary, limit_s)


async def _send_all(
    channels: Sequence[Notification],
    environment: Mapping[str, str],
    summary: RunSummary | None,
    limit_s: float,
) -> tuple[str, ...]:
    if not channels:
        return ()
    async with open_session(limit_s) as session:
        errors = await asyncio.gather(
            *(_send(session, channel, environment, summary) for channel in channels)
        )
    return tuple(error for error in errors if error)


async def _send(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    summary: RunSummary | None,
) -> str:
    """Send one message; return the error message, or an empty string."""
    try:
        message = build_message(channel, environment, summary)
        async with session.post(
            message.url, data=message.body, headers=message.headers, allow_redirects=False
        ) as response:
            if response.status < FIRST_REDIRECT_STATUS:
                return ""
            reason = f"status {response.status}"
    except NotificationError as error:
        reason = str(error)
    except TimeoutError:
        reason = f"no response within {session.timeout.total:.0f} s"
    except Exception as error:  # noqa: BLE001 - a receiver must not change the run's result
        reason = type(error).__name__  # its text would repeat the address
    return f"Notification to {channel.kind} ({channel.url_env}) was not sent: {reason}."

"""Notify Slack, webhooks and ping monitors of a run.

Errors never change the result of a run: they are returned as messages for the log, which
name the host, and never repeat an address or a key.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from yarl import URL

from invite_sweeper.atlas.http import TRANSPORT_ERRORS, describe_error, find_proxy
from invite_sweeper.audit.events import Announced
from invite_sweeper.counts import count_values
from invite_sweeper.endings import ExitCode, may_repeat
from invite_sweeper.errors import UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.formatting import hints
from invite_sweeper.report.notification import Users, notice_lines
from invite_sweeper.report.run_view import PlannedResult
from invite_sweeper.sweep.summary import RunSummary

NOTIFICATION_LIMIT_S = 10.0
"""For one message: name, connection, request and response together."""
_MIN_LIMIT_S = 0.1
"""For aiohttp, 0 means unlimited."""
FIRST_REDIRECT_STATUS = 300
"""Redirects are not followed, they could lead anywhere: every status from here is an error."""

# fmt: off
_FACTS: Final = (
    "run_id", "mode", "exit_code", "finished_at", "requests", "retries", "rate_limited",
    "duration_s", "oldest_pending_days", "days_to_sunset", "shard",
)
"""Of the summary, in the JSON of a webhook; the counts come on top."""
_INVITATION_FIELDS: Final = (
    "username", "org_id", "project_id", "project_name", "rule", "outcome",
)
"""Of an invitation in the JSON of a webhook with `details: true`."""
_ANNOUNCEMENT_FIELDS: Final = (
    "inviter", "username", "org_id", "project_id", "project_name", "rule", "deletable_from",
)
"""Of an announcement there: a workflow can tell the inviter what will be deleted, and when."""
# fmt: on

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
    return channel.when == "changes" and summary.has_effect


def build_message(
    channel: Notification,
    environment: Mapping[str, str],
    summary: RunSummary | None,
    users: Users = (),
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
    if summary is None:
        if channel.kind != "ping":
            raise NotificationError("it is only notified of the end of a run")
        return Message(_append_path(url, "start"), b"", {})
    named = users if channel.details else None
    lines = tuple(notice_lines(summary, named))
    if channel.kind == "ping":
        ending = url if summary.succeeded else _append_path(url, "fail")
        text = SECRETS.redact("\n".join(lines))
        return Message(ending, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
    if channel.kind == "slack":
        return _json_message(url, _json({"text": _slack_text(lines), **_SLACK_OPTIONS}), {})
    body = _json(_webhook_fields(summary, named))
    return _json_message(url, body, _signature(channel, environment, summary, body))


_SLACK_OPTIONS: Final = {"parse": "none", "unfurl_links": False, "unfurl_media": False}
"""No link is made from a name that others chose, and Slack fetches none.

Source: Slack, "Unfurling" and "Formatting text". Read 2026-11-27.
"""


def _slack_text(lines: Sequence[str]) -> str:
    first, *rest = (
        _BARE_LINK.sub("\\g<0>\u200b", line)
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        for line in lines
    )
    return "\n".join((f"*{first}*", *rest))


_BARE_LINK: Final = re.compile(r"://|\bwww\.", re.IGNORECASE)
"""Where an invisible space is added: some receivers make links of text in any case."""


def _webhook_fields(summary: RunSummary, users: Users | None) -> dict[str, object]:
    error = summary.error
    fields = {
        **{name: getattr(summary, name) for name in _FACTS},
        **count_values(summary),
        "succeeded": summary.succeeded,
        "verdict": ExitCode(summary.exit_code).status,
        "reasons": summary.reasons,
        "retryable": may_repeat(summary.exit_code, summary.reasons),
        "message": error["message"] if error is not None else None,
        "consequence": error["consequence"] if error is not None else None,
        "hints": hints(summary),
        "organizations": [
            {**asdict(each), "verdict": ExitCode(each.exit_code).status}
            for each in summary.organizations
        ],
        "audit_last_hash": summary.audit_last_hash,
    }
    if summary.checkpoint is not None:
        fields["checkpoint"] = summary.checkpoint
    if users is not None:
        fields["invitations"] = [
            {name: getattr(each, name) for name in _INVITATION_FIELDS}
            for each in users
            if isinstance(each, PlannedResult)
        ]
        fields["announcements"] = [
            {name: getattr(each, name) for name in _ANNOUNCEMENT_FIELDS}
            for each in users
            if isinstance(each, Announced)
        ]
    return fields


def _json(value: Mapping[str, object]) -> bytes:
    return SECRETS.redact_bytes(to_json(value))


def _json_message(url: str, body: bytes, headers: Mapping[str, str]) -> Message:
    return Message(url, body, {"Content-Type": "application/json", **headers})


def _signature(
    channel: Notification, environment: Mapping[str, str], summary: RunSummary, body: bytes
) -> dict[str, str]:
    """Sign the body, its identifier and the time as Standard Webhooks does.

    Source: the specification of Standard Webhooks 1.0. Read 2026-11-27.
    """
    secret = _signing_secret(channel, environment)
    if secret is None:
        return {}
    identifier = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    timestamp = str(int(summary.finished_s))
    signed = f"{identifier}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def _signing_secret(channel: Notification, environment: Mapping[str, str]) -> bytes | None:
    """Return the key of a signed webhook; None for other channels."""
    if channel.secret_env is None:
        return None
    key = environment.get(channel.secret_env, "")
    if not key:
        raise NotificationError(f"the signing key is missing: {channel.secret_env} is not set")
    if not key.startswith(_KEY_PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(_KEY_PREFIX), validate=True)
    except ValueError:
        raise NotificationError(
            f"the signing key in {channel.secret_env} is not Base64 after {_KEY_PREFIX}"
        ) from None


_KEY_PREFIX: Final = "whsec_"


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
        timeout=aiohttp.ClientTimeout(total=max(limit_s, _MIN_LIMIT_S)),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def register_secrets(channels: Sequence[Notification], environment: Mapping[str, str]) -> None:
    """Register the addresses and keys of the channels, which no output may show."""
    for channel in channels:
        SECRETS.add_url(environment.get(channel.url_env, "").strip())
        if channel.secret_env is not None:
            key = environment.get(channel.secret_env, "")
            SECRETS.add(key, key.removeprefix(_KEY_PREFIX))


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
    users: Users = (),
    limit_s: float = NOTIFICATION_LIMIT_S,
) -> tuple[str, ...]:
    """Notify the channels with a `when` that covers this run of its result.

    Returns:
        Error messages; empty if all were notified.
    """
    selected = [channel for channel in channels if should_notify(channel, summary)]
    return await _send_all(selected, environment, summary, limit_s, users)


async def _send_all(
    channels: Sequence[Notification],
    environment: Mapping[str, str],
    summary: RunSummary | None,
    limit_s: float,
    users: Users = (),
) -> tuple[str, ...]:
    if not channels:
        return ()
    async with open_session(limit_s) as session:
        errors = await asyncio.gather(
            *(_send(session, channel, environment, summary, users) for channel in channels)
        )
    return tuple(error for error in errors if error)


async def _send(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    summary: RunSummary | None,
    users: Users,
) -> str:
    """Send one message; return the error message, or an empty string."""
    name = f"Notification to {channel.kind} ({channel.url_env})"
    try:
        message = build_message(channel, environment, summary, users)
    except NotificationError as error:
        return f"{name} was not sent: {error}."
    failure = await post(session, message)
    fix = failure and f" {failure.fix or f'Check the address in {channel.url_env}.'}"
    return f"{name} was not sent to {failure.host}: {failure.reason}.{fix}" if failure else ""


async def find_problem(
    session: aiohttp.ClientSession, channel: Notification, environment: Mapping[str, str]
) -> tuple[str, str]:
    """Return why a channel would not be notified, and the fix, without a message to it.

    Both are empty if its variables are set and its host can be reached.
    """
    try:
        url = _webhook_url(channel, environment)
        _signing_secret(channel, environment)
    except NotificationError as error:
        return f"{error}.", ""
    failure = await reach(session, url)
    return (f"{failure.host}: {failure.reason}.", failure.fix) if failure else ("", "")


class PostFailure(NamedTuple):
    """Why a message was not sent; shows nothing of an address but its host.

    Attributes:
        reason: What happened, without a full stop.
        fix: What to do, as a sentence; empty if the receiver refused the request.
    """

    host: str
    reason: str
    fix: str


async def post(session: aiohttp.ClientSession, message: Message) -> PostFailure | None:
    """Post a message, through the proxy of the environment; return why it was not accepted."""
    return await _request(session, "POST", message)


async def reach(session: aiohttp.ClientSession, url: str) -> PostFailure | None:
    """Request the root of a host, without a message; return why it is not reached."""
    return await _request(session, "HEAD", Message(url, b"", {}))


async def _request(
    session: aiohttp.ClientSession, method: Literal["POST", "HEAD"], message: Message
) -> PostFailure | None:
    host, fix = "the receiver", ""
    try:
        address = URL(message.url)
        host = address.host or host
        proxy, proxy_headers = find_proxy(address)
        async with session.request(
            method,
            address if method == "POST" else address.origin(),
            data=message.body,
            headers=message.headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            allow_redirects=False,
        ) as response:
            if response.status < FIRST_REDIRECT_STATUS or method == "HEAD":
                return None
            reason = f"status {response.status}"
            if response.status >= _SERVER_ERROR:
                fix = "The receiver failed; the next run notifies it again."
    except UsageError as error:
        reason, fix = error.message.rstrip("."), error.hint
    except TimeoutError:
        reason, fix = f"no response within {session.timeout.total:.0f} s", _CHECK_NETWORK
    except aiohttp.ClientConnectorCertificateError as error:
        reason = describe_error(error, host, session.timeout).reason
        fix = "Name the file of a private certificate authority in SSL_CERT_FILE."
    except TRANSPORT_ERRORS as error:
        reason, fix = describe_error(error, host, session.timeout).reason, _CHECK_NETWORK
    except Exception as error:  # noqa: BLE001 - a receiver must not change the run's result
        reason = type(error).__name__  # its text would repeat the address
    return PostFailure(host, reason, fix)


_SERVER_ERROR: Final = 500
_CHECK_NETWORK: Final = "Check the firewall, and the proxy in HTTPS_PROXY and NO_PROXY."

"""Notify Slack, webhooks and ping monitors of a run.

Errors never change the result of a run: they are returned as messages for the log, which
name the host, and never repeat an address or a key.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from msgspec import structs
from yarl import URL

from invite_sweeper.atlas.http import (
    TRANSPORT_ERRORS,
    DaemonResolver,
    describe_error,
    find_proxy,
)
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import Announced, WouldBeAnnounced
from invite_sweeper.audit.reader import read_events
from invite_sweeper.endings import ExitCode, may_repeat
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.readback import PlannedResult, load_planned, result_json
from invite_sweeper.report.rows import row_of
from invite_sweeper.report.story import Facts, Story, has_effect, needs_attention, tell
from invite_sweeper.report.text import describe_instant
from invite_sweeper.text import escape_unprintable, pluralize

LIMIT_S = 10.0
"""For one message: name, connection, request and response together."""
_MIN_LIMIT_S = 0.1
"""For aiohttp, 0 means unlimited."""
_FIRST_REDIRECT_STATUS = 300
"""Redirects are not followed, they could lead anywhere: every status from here is an error."""

MAX_USERS: Final = 10
"""Users that a message with `details: true` names."""
_MAX_ORGANIZATIONS: Final = 20
"""Organizations that a text names; a webhook gets all of them."""
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


class Ended(NamedTuple):
    """A run that has ended, as the messages tell it.

    Attributes:
        story: Made once, for every channel.
        finished_at: Aware UTC.
    """

    record: RunRecord
    story: Story
    finished_at: datetime


def should_notify(channel: Notification, record: RunRecord) -> bool:
    """Return whether the channel is notified of this run.

    `changes` covers runs that deleted something, dry runs that found something stale, and
    failures. `failures` covers runs that did not complete, and urgent warnings. A ping monitor,
    which alerts on silence, is notified of every run.
    """
    if channel.kind == "ping" or channel.when == "always" or needs_attention(record):
        return True
    return channel.when == "changes" and has_effect(record)


def build_message(
    channel: Notification, environment: Mapping[str, str], ended: Ended | None
) -> Message:
    """Return the message to the channel; without an end, about the start of a run.

    Raises:
        NotificationError: A variable is not set, or the address is not allowed.
    """
    if ended is None:
        return Message(_append_path(_webhook_url(channel, environment), "start"), b"", {})
    succeeded = ExitCode(ended.record.exit_code or 0).succeeded
    return _message(
        channel,
        environment,
        ended.finished_at,
        tuple(text_lines(ended, details=channel.details)),
        partial(_webhook_fields, ended, details=channel.details),
        "" if succeeded else "fail",
    )


_TEST: Final = "This is a test message of `invite-sweeper doctor --notify`."


def build_test_message(
    channel: Notification, environment: Mapping[str, str], now: datetime
) -> Message:
    """Return a message that proves the address and the key of a channel.

    A ping monitor takes it for a run that succeeded.

    Raises:
        NotificationError: A variable is not set, or the address is not allowed.
    """
    return _message(channel, environment, now, [_TEST], lambda: {"test": True, "headline": _TEST})


def _message(
    channel: Notification,
    environment: Mapping[str, str],
    now: datetime,
    lines: Sequence[str],
    fields: Callable[[], Mapping[str, object]],
    ping_path: str = "",
) -> Message:
    """Return a message in the format of its channel: lines of text, or the fields of a webhook."""
    url = _webhook_url(channel, environment)
    if channel.kind == "ping":
        text = SECRETS.redact("\n".join(lines)).encode()
        url = _append_path(url, ping_path) if ping_path else url
        return Message(url, text, {"Content-Type": "text/plain; charset=utf-8"})
    headers = {"Content-Type": "application/json"}
    if channel.kind == "slack":
        return Message(url, _json({"text": _slack_text(lines), **_SLACK_OPTIONS}), headers)
    body = _json(fields())
    return Message(url, body, headers | _signature(channel, environment, now, body))


def text_lines(ended: Ended, *, details: bool) -> Iterator[str]:
    """Yield the message about the end of a run: the headline, what to do, numbers, evidence.

    Args:
        details: Whether users are named, at most `MAX_USERS`.
    """
    record, story = ended.record, ended.story
    yield f"invite-sweeper: {story.headline.label}: {story.headline.text}"
    for each in story.attention:
        yield each.text
        if each.advice:
            yield f"What to do: {each.advice}"
    for line in story.organizations[:_MAX_ORGANIZATIONS]:
        yield f"• {line.label}: {line.text}"
    if (more := len(story.organizations) - _MAX_ORGANIZATIONS) > 0:
        yield f"• and {pluralize(more, 'more organization')}"
    for line in story.lines:
        yield f"{line.label}: {line.text}"
    if details:
        yield from _users(record)
    if record.last_hash:
        yield f"Last hash: {record.last_hash}"


def _users(record: RunRecord) -> Iterator[str]:
    """Yield a line for each user to name: those that need attention first."""
    planned, announced = _people(record)
    for each in planned[:MAX_USERS]:
        outcome = (each.outcome or "planned").replace("_", " ")
        yield escape_unprintable(f"- {row_of(each).user_in_place}: {outcome}")
    for inviter, invited in groupby(announced[:MAX_USERS], lambda each: each.inviter):
        verb = "Would be announced" if record.mode == "dry-run" else "Announced"
        yield escape_unprintable(f"{verb}, invited by {inviter or '(not known)'}:")
        for one in invited:
            due = describe_instant(one.deletable_from)
            yield f"- {row_of(one).user_in_place}: deletable from {due}"
    if (more := len(announced) - MAX_USERS) > 0:
        yield f"And {pluralize(more, 'more announced invitation')}."


def _people(record: RunRecord) -> tuple[list[PlannedResult], list[Announced | WouldBeAnnounced]]:
    """Return the planned invitations, those that need attention first, and the announced ones."""
    planned, _ = load_planned(record.file.path)

    def rank(each: PlannedResult) -> tuple[int, float]:
        order = _ORDER.index(each.outcome) if each.outcome in _ORDER else len(_ORDER)
        return order, -(each.age_days or 0.0)

    announced: list[Announced | WouldBeAnnounced] = []
    with suppress(RunError):
        events = (line.event for line in read_events(record.file.path))
        announced = [each for each in events if isinstance(each, (Announced, WouldBeAnnounced))]
    announced.sort(key=lambda each: (each.inviter or "", each.username or ""))
    return sorted(planned, key=rank), announced


_ORDER: Final = ("accepted_during", "failed", "unknown", "skipped", "deleted", "already_gone")
"""Outcomes that need attention come first."""


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


def _webhook_fields(ended: Ended, *, details: bool) -> dict[str, object]:
    """Return the result as `--output json` has it, with the story; users only with `details`."""
    record, story = ended.record, ended.story
    code, reasons = record.exit_code or 0, record.end.reasons if record.end is not None else ()
    fields: dict[str, object] = structs.asdict(result_json(record))
    del fields["lists"], fields["invitations"]
    fields |= {
        "headline": f"{story.headline.label}: {story.headline.text}",
        "attention": [each._asdict() for each in story.attention],
        "succeeded": ExitCode(code).succeeded,
        "verdict": ExitCode(code).status,
        "retryable": may_repeat(code, reasons),
        "finished_at": ended.finished_at,
    }
    if details:
        planned, announced = _people(record)
        fields["invitations"] = planned[:MAX_USERS]
        fields["announcements"] = announced
    return fields


def _json(value: Mapping[str, object]) -> bytes:
    return SECRETS.redact_bytes(to_json(value))


def _signature(
    channel: Notification, environment: Mapping[str, str], now: datetime, body: bytes
) -> dict[str, str]:
    """Sign the body, its identifier and the time as Standard Webhooks does.

    Source: the specification of Standard Webhooks 1.0. Read 2026-11-27.
    """
    secret = _signing_secret(channel, environment)
    if secret is None:
        return {}
    identifier = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    timestamp = str(int(now.timestamp()))
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
        connector=aiohttp.TCPConnector(resolver=DaemonResolver()),
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
    limit_s: float = LIMIT_S,
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
    record: RunRecord,
    facts: Facts,
    finished_at: datetime,
    *,
    limit_s: float = LIMIT_S,
) -> tuple[str, ...]:
    """Notify the channels with a `when` that covers this run of its result.

    Returns:
        Error messages; empty if all were notified.
    """
    selected = [channel for channel in channels if should_notify(channel, record)]
    ended = Ended(record, tell(record, facts), finished_at)
    return await _send_all(selected, environment, ended, limit_s)


async def _send_all(
    channels: Sequence[Notification],
    environment: Mapping[str, str],
    ended: Ended | None,
    limit_s: float,
) -> tuple[str, ...]:
    if not channels:
        return ()
    async with open_session(limit_s) as session:
        errors = await asyncio.gather(
            *(_send(session, channel, environment, ended) for channel in channels)
        )
    return tuple(error for error in errors if error)


async def _send(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    ended: Ended | None,
) -> str:
    """Send one message; return the error message, or an empty string."""
    name = f"Notification to {channel.kind} ({channel.url_env})"
    try:
        message = build_message(channel, environment, ended)
    except NotificationError as error:
        return f"{name} was not sent: {error}."
    failure = await request(session, "POST", message)
    fix = failure and f" {failure.fix or f'Check the address in {channel.url_env}.'}"
    return f"{name} was not sent to {failure.host}: {failure.reason}.{fix}" if failure else ""


async def find_problem(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    now: datetime,
    *,
    send: bool,
) -> tuple[str, str]:
    """Return why a channel would not be notified, and the fix; both are empty if it would be.

    Args:
        send: Whether a test message is sent; otherwise its host is requested alone.
    """
    try:
        message = build_test_message(channel, environment, now)
    except NotificationError as error:
        return f"{error}.", ""
    failure = await (request(session, "POST", message) if send else reach(session, message.url))
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


async def reach(session: aiohttp.ClientSession, url: str) -> PostFailure | None:
    """Request the root of a host, without a message; return why it is not reached."""
    return await request(session, "HEAD", Message(url, b"", {}))


async def request(
    session: aiohttp.ClientSession, method: Literal["POST", "PUT", "HEAD"], message: Message
) -> PostFailure | None:
    """Send a message through the proxy of the environment; return why it was not accepted."""
    host, fix = "the receiver", ""
    try:
        address = URL(message.url)
        host = address.host or host
        proxy, proxy_headers = find_proxy(address)
        async with session.request(
            method,
            address.origin() if method == "HEAD" else address,
            data=message.body,
            headers=message.headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            allow_redirects=False,
        ) as response:
            if response.status < _FIRST_REDIRECT_STATUS or method == "HEAD":
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

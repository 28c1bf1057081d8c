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
from datetime import datetime
from html import escape
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from yarl import URL

from invite_sweeper.atlas.http import DaemonResolver, describe_error, find_proxy, is_loopback
from invite_sweeper.atlas.responses import REDIRECT, SERVER_ERROR
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Status, WarningLevel, may_repeat, status_of
from invite_sweeper.errors import UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.models import OUTCOMES_OF_DELETIONS
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.readback import announced_as, planned_result, read_rows, result_json
from invite_sweeper.report.story import Story, describe_instant, display_text
from invite_sweeper.text import pluralize

LIMIT_S = 10.0
"""For one message: name, connection, request and response together."""
_MIN_LIMIT_S = 0.1
"""For aiohttp, 0 means unlimited."""
MAX_USERS: Final = 10
"""Users that a message with `details: true` names."""
_KEY_PREFIX: Final = "whsec_"


class Message(NamedTuple):
    """An HTTP request to one channel.

    Attributes:
        url: Secret.
    """

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class NotSent(Exception):
    """A message was not sent; the text is safe to show, and has no full stop.

    Attributes:
        fix: What to do, as a sentence; empty if nothing is known.
    """

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix

    @property
    def sentences(self) -> str:
        """What happened, and what to do."""
        return f"{self}. {self.fix}".rstrip()


# The messages -------------------------------------------------------------------------------------


def end_message(
    channel: Notification,
    environment: Mapping[str, str],
    record: RunRecord,
    story: Story,
    finished_at: datetime,
) -> Message | None:
    """Return the message about the end of a run; None if its `when` does not cover the run.

    `changes` covers runs that deleted something, dry runs that found something stale, and
    failures. `failures` covers runs that did not complete, and urgent warnings. A ping monitor,
    which alerts on silence, is notified of every run.

    Raises:
        NotSent: A variable is not set, or the address is not allowed.
    """
    if not _is_due(channel, record):
        return None
    if channel.kind == "webhook":
        fields = _webhook_fields(record, story, finished_at, details=channel.details)
        return _webhook(channel, environment, finished_at, fields)
    failed = status_of(record.exit_code) is not Status.DONE
    lines = tuple(_lines(record, story, details=channel.details))
    return _text(channel, environment, lines, failed=failed)


def _is_due(channel: Notification, record: RunRecord) -> bool:
    end = record.end
    if channel.kind == "ping" or channel.when == "always" or end is None:
        return True
    has_failed = status_of(end.exit_code) is not Status.DONE
    if has_failed or any(each.level == WarningLevel.URGENT for each in end.warnings):
        return True
    has_found = record.mode == "dry-run" and end.stale > 0
    has_changed = end.announced > 0 or any(getattr(end, each) for each in OUTCOMES_OF_DELETIONS)
    return channel.when == "changes" and (has_found or has_changed)


def check_message(channel: Notification, environment: Mapping[str, str], now: datetime) -> Message:
    """Return a message that proves the address and the key of a channel.

    A ping monitor takes it for a run that succeeded.

    Raises:
        NotSent: A variable is not set, or the address is not allowed.
    """
    text = "This is a test message of `invite-sweeper doctor --notify`."
    if channel.kind == "webhook":
        return _webhook(channel, environment, now, {"test": True, "headline": text})
    return _text(channel, environment, [text])


def _text(
    channel: Notification,
    environment: Mapping[str, str],
    lines: Sequence[str],
    *,
    failed: bool = False,
) -> Message:
    url = _address(channel, environment)
    if channel.kind == "slack":
        first, *rest = (escape(_BARE_LINK.sub("\\g<0>\u200b", line), quote=False) for line in lines)
        return _json_message(url, {"text": "\n".join((f"*{first}*", *rest)), **_SLACK_OPTIONS})
    if failed:
        parts = urlsplit(url)
        url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
    text = SECRETS.redact("\n".join(lines)).encode()
    return Message(url, text, {"Content-Type": "text/plain; charset=utf-8"})


def _json_message(url: str, value: Mapping[str, object]) -> Message:
    body = SECRETS.redact_bytes(to_json(value))
    return Message(url, body, {"Content-Type": "application/json"})


def _lines(record: RunRecord, story: Story, *, details: bool) -> Iterator[str]:
    """Yield the message about the end of a run: the headline, what to do, numbers, evidence."""
    yield f"invite-sweeper: {story.headline.label}: {story.headline.text}"
    for each in story.attention:
        yield each.text
        if each.advice:
            yield f"What to do: {each.advice}"
    for line in story.organizations:
        yield f"• {line.label}: {line.text}"
    for line in story.lines:
        yield f"{line.label}: {line.text}"
    if details:
        yield from _users(record)
    if record.last_hash:
        yield f"Last hash: {record.last_hash}"


def _users(record: RunRecord) -> Iterator[str]:
    """Yield a line for each user to name: those that need attention first."""
    found, (title, _) = read_rows(record), announced_as(record)
    for row in found.first(MAX_USERS):
        outcome = display_text(row.outcome or "planned").replace("_", " ")
        yield f"- {row.user} in {row.place}: {outcome}"
    if found.announced:
        yield f"{title}:"
    for row in sorted(found.announced, key=lambda row: row.event.inviter or "")[:MAX_USERS]:
        inviter = display_text(row.event.inviter) or "(not known)"
        due = f"deletable from {describe_instant(row.due)}, invited by {inviter}"
        yield f"- {row.user} in {row.place}: {due}"
    if (more := len(found.announced) - MAX_USERS) > 0:
        yield f"And {pluralize(more, 'more announced invitation')}."


_SLACK_OPTIONS: Final = {"parse": "none", "unfurl_links": False, "unfurl_media": False}
"""No link is made from a name that others chose, and Slack fetches none.

Source: Slack, "Unfurling" and "Formatting text". Read 2026-11-27.
"""


_BARE_LINK: Final = re.compile(r"://|\bwww\.", re.IGNORECASE)
"""Where an invisible space is added: some receivers make links of text in any case."""


def _webhook_fields(
    record: RunRecord, story: Story, finished_at: datetime, *, details: bool
) -> Mapping[str, object]:
    """Return the result as `--output json` has it, with the story; users only with `details`."""
    fields = result_json(record)
    del fields["lists"], fields["invitations"]
    status = status_of(record.exit_code)
    fields |= {
        "headline": f"{story.headline.label}: {story.headline.text}",
        "attention": [each._asdict() for each in story.attention],
        "succeeded": status is Status.DONE,
        "verdict": status,
        "retryable": may_repeat(fields["reasons"]),
        "finished_at": finished_at,
    }
    if details:
        found = read_rows(record)
        planned = (row for row in found.first(MAX_USERS) if isinstance(row.event, Planned))
        fields["invitations"] = list(map(planned_result, planned))
        fields["announcements"] = [row.event for row in found.announced]
    return fields


def _webhook(
    channel: Notification,
    environment: Mapping[str, str],
    now: datetime,
    fields: Mapping[str, object],
) -> Message:
    """Return a message whose body, identifier and time are signed as Standard Webhooks does.

    Source: the specification of Standard Webhooks 1.0. Read 2026-11-27.
    """
    message = _json_message(_address(channel, environment), fields)
    if channel.secret_env is None:
        return message
    key = environment.get(channel.secret_env, "").encode()
    if not key:
        raise NotSent(f"the signing key is missing: {channel.secret_env} is not set")
    if key.startswith(_KEY_PREFIX.encode()):
        try:
            key = base64.b64decode(key.removeprefix(_KEY_PREFIX.encode()), validate=True)
        except ValueError:
            name = channel.secret_env
            raise NotSent(f"the signing key in {name} is not Base64 after {_KEY_PREFIX}") from None
    identifier = f"msg_{hashlib.sha256(message.body).hexdigest()[:32]}"
    timestamp = str(int(now.timestamp()))
    signed = f"{identifier}.{timestamp}.".encode() + message.body
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    signing = {
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return message._replace(headers={**message.headers, **signing})


def _address(channel: Notification, environment: Mapping[str, str]) -> str:
    url = environment.get(channel.url_env, "").strip()
    if not url:
        raise NotSent(f"{channel.url_env} is not set")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotSent(f"{channel.url_env} is not a valid URL") from None
    is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not is_local:
        raise NotSent(f"{channel.url_env} does not start with https://")
    return url


def register_secrets(channels: Sequence[Notification], environment: Mapping[str, str]) -> None:
    """Register the addresses and keys of the channels, which no output may show."""
    for channel in channels:
        SECRETS.add_url(environment.get(channel.url_env, "").strip())
        if channel.secret_env is not None:
            key = environment.get(channel.secret_env, "")
            SECRETS.add(key, key.removeprefix(_KEY_PREFIX))


# Sending ------------------------------------------------------------------------------------------


async def send(
    channels: Sequence[Notification],
    build: Callable[[Notification], Message | None],
    *,
    limit_s: float = LIMIT_S,
) -> tuple[str, ...]:
    """Notify channels.

    Args:
        build: Returns the message to a channel; None if it is not notified.

    Returns:
        Error messages; empty if all were notified.
    """

    async def send_one(channel: Notification) -> str:
        try:
            if (message := build(channel)) is not None:
                await request(session, "POST", message, channel.url_env)
        except NotSent as error:
            name = f"{channel.kind} ({channel.url_env})"
            return f"Notification to {name} was not sent: {error.sentences}"
        return ""

    async with open_session(limit_s) as session:
        return tuple(filter(None, await asyncio.gather(*map(send_one, channels))))


def open_session(limit_s: float) -> aiohttp.ClientSession:
    """Return an HTTP session in which each message may take `limit_s` seconds in all."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=DaemonResolver()),
        timeout=aiohttp.ClientTimeout(total=max(limit_s, _MIN_LIMIT_S)),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def request(
    session: aiohttp.ClientSession,
    method: Literal["POST", "PUT", "HEAD"],
    message: Message,
    setting: str,
) -> None:
    """Send a message through the proxy of the environment.

    Args:
        method: HEAD requests the root of the host alone, without the message.
        setting: Where the address is set.

    Raises:
        NotSent: It was not accepted.
    """
    host, fix = "the receiver", f"Check the address in {setting}."
    network = "Check the firewall, and the proxy in HTTPS_PROXY and NO_PROXY."
    try:
        address = URL(message.url)
        host = address.host or host
        proxy, proxy_headers = find_proxy(address)
        is_head = method == "HEAD"
        async with session.request(
            method,
            address.origin() if is_head else address,
            data=b"" if is_head else message.body,
            headers={} if is_head else message.headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            allow_redirects=False,
        ) as response:
            if response.status < REDIRECT or is_head:  # none is followed: it could lead anywhere
                return
            reason = f"{host} responded with HTTP {response.status}"
            if response.status >= SERVER_ERROR:
                fix = "The receiver failed; the next run notifies it again."
    except UsageError as error:
        reason, fix = error.message.rstrip("."), error.hint
    except TimeoutError:
        reason, fix = f"no response within {session.timeout.total:.0f} s from {host}", network
    except (aiohttp.ClientError, OSError) as error:
        reason, fix = describe_error(error, host, session.timeout).reason, network
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            fix = "Name the file of a private certificate authority in SSL_CERT_FILE."
    except Exception as error:  # noqa: BLE001 - a receiver must not change the run's result
        reason = type(error).__name__  # its text would repeat the address
    raise NotSent(reason, fix)

"""Who is notified of a run, and the message that each kind of receiver gets.

Errors never change the exit code of a run: they are returned as messages, which name the receiver
and its host, and never repeat an address or a key.
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from aiohttp import ClientSession

from invite_sweeper.atlas.http import is_loopback
from invite_sweeper.endings import WarningLevel
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS, SIGNING_KEY_PREFIX
from invite_sweeper.report.document import Document, Fact
from invite_sweeper.report.messages import message_lines, slack_message, teams_message
from invite_sweeper.report.run_message import RunMessage
from invite_sweeper.report.sending import Message, NotSent, open_session, request


class Notified(NamedTuple):
    """What became of the notification of one receiver.

    Attributes:
        settings: Of the receiver.
        error: Why a message that was due was not sent, as sentences; empty if it was.
    """

    settings: Notification
    error: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether a message was due and not sent."""
        return self.error != ""


def receiver_name(settings: Notification) -> str:
    """Return the kind of a receiver and the variable with its address, which is secret."""
    return f"{settings.kind} ({settings.url_env})"


async def notify(
    receivers: Sequence[Notification],
    environment: Mapping[str, str],
    run: RunMessage,
) -> tuple[Notified, ...]:
    """Send the message about a run to each receiver for which it is due."""
    async with open_session() as session:
        sending = [_notify_one(session, settings, environment, run) for settings in receivers]
        return tuple(await asyncio.gather(*sending))


async def _notify_one(
    session: ClientSession,
    settings: Notification,
    environment: Mapping[str, str],
    run: RunMessage,
) -> Notified:
    """Send the message about a run to one receiver, if it is due."""
    if not is_due(settings, run):
        return Notified(settings)
    try:
        message = message_about(settings, environment, run)
        await request(session, "POST", message, settings.url_env)
    except NotSent as error:
        text = f"Notification to {receiver_name(settings)} was not sent: {error.sentences}"
        return Notified(settings, error=text)
    return Notified(settings)


def is_due(settings: Notification, message: RunMessage) -> bool:
    """Return whether the `when` of a receiver covers a run.

    `changes` covers runs that deleted something or after which something announced waits, dry
    runs that found something stale, and failures. `failures` covers runs that did not complete,
    and urgent warnings. A monitor receives every run, because it alerts on silence.
    """
    end = message.run.end
    if settings.kind == "ping" or settings.when == "always" or end is None:
        return True
    is_urgent = any(warning.level == WarningLevel.URGENT for warning in end.warnings)
    if is_urgent or not message.has_succeeded:
        return True
    if settings.when != "changes":
        return False
    would_delete = message.run.mode == "dry-run" and end.stale > 0
    return would_delete or end.due > 0 or bool(message.waiting)


# The message -------------------------------------------------------------------------------------


class _Content(NamedTuple):
    """What a message has, before it is laid out for a kind of receiver.

    Attributes:
        document: For people.
        fields: For a program; empty for other receivers.
        at: When the message was made.
        command: Lists everything; empty where the document has all.
    """

    document: Document
    fields: Mapping[str, object]
    at: datetime
    command: str = ""
    has_failed: bool = False


def message_about(
    settings: Notification, environment: Mapping[str, str], run: RunMessage
) -> Message:
    """Return the message about the end of a run; a monitor gets no announcement.

    Raises:
        NotSent: A variable is not set, or the address is not allowed.
    """
    run = run.for_readers(details=settings.details)
    if settings.kind == "ping":
        run = run._replace(waiting=None)
    content = _Content(
        document=run.document,
        fields=run.fields if settings.kind == "webhook" else {},
        at=run.finished_at,
        command=run.advisor.list_run(),
        has_failed=not run.has_succeeded,
    )
    return _message(settings, environment, content)


def check_message(
    settings: Notification, environment: Mapping[str, str], text: str, now: datetime
) -> Message:
    """Return a message that proves the address and the key; raises as `message_about`."""
    fields = {"test": True, "headline": text}
    return _message(settings, environment, _Content(Document(Fact("", text)), fields, now))


def _message(settings: Notification, environment: Mapping[str, str], content: _Content) -> Message:
    """Return a message as its kind of receiver takes it, without secrets."""
    url = _address(settings.url_env, environment)
    if settings.kind == "ping":
        # A monitor such as Healthchecks takes a failure at an address below that of success.
        if content.has_failed:
            parts = urlsplit(url)
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
        text = "\n".join(line.sentence for line in message_lines(content.document))
        body = SECRETS.redact_bytes(text.encode())
        return Message(url, body, {"Content-Type": "text/plain; charset=utf-8"})
    fields = content.fields
    if settings.kind == "slack":
        fields = slack_message(content.document, content.command)
    elif settings.kind == "teams":
        fields = teams_message(content.document, content.command)
    body = SECRETS.redact_bytes(to_json(fields))
    headers = {"Content-Type": "application/json"}
    if settings.kind == "webhook":
        key = _signing_key(settings.secret_env or "", environment)
        headers |= _signature(body, key, content.at)
    return Message(url, body, headers)


def _address(variable: str, environment: Mapping[str, str]) -> str:
    """Return the address in a variable; https, or loopback.

    Raises:
        NotSent: It is not set, or not allowed.
    """
    url = environment.get(variable, "").strip()
    if not url:
        raise NotSent(f"{variable} is not set")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotSent(f"{variable} is not a valid URL") from None
    is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not is_local:
        raise NotSent(f"{variable} does not start with https://")
    return url


def _signature(body: bytes, key: bytes, at: datetime) -> dict[str, str]:
    """Return the headers that sign a body, its identifier and its time.

    Source: the specification of Standard Webhooks 1.0. Read 2026-11-27.
    """
    # One identifier for one content: a receiver recognizes a message that is sent twice.
    identifier = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    timestamp = str(int(at.timestamp()))
    signed = f"{identifier}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def _signing_key(variable: str, environment: Mapping[str, str]) -> bytes:
    """Return the signing key: the bytes of the variable, or what it has in Base64.

    Raises:
        NotSent: It is missing, or not Base64.
    """
    key = environment.get(variable, "")
    if not key:
        raise NotSent(f"the signing key is missing: {variable} is not set")
    if not key.startswith(SIGNING_KEY_PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(SIGNING_KEY_PREFIX), validate=True)
    except ValueError:
        text = f"the signing key in {variable} is not Base64 after {SIGNING_KEY_PREFIX}"
        raise NotSent(text) from None

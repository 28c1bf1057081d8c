"""Receivers of notifications: a class for each kind, and who is notified of a run.

Errors never change the exit code of a run: they are returned as messages, which name the receiver
and its host, and never repeat an address or a key.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiohttp import ClientSession

from invite_sweeper.endings import WarningLevel
from invite_sweeper.policy import Notification
from invite_sweeper.report.receivers.base import Receiver
from invite_sweeper.report.receivers.ping import Ping
from invite_sweeper.report.receivers.run_message import RunMessage
from invite_sweeper.report.receivers.sending import LIMIT_S, NotSent, open_session, request
from invite_sweeper.report.receivers.slack import Slack
from invite_sweeper.report.receivers.teams import Teams
from invite_sweeper.report.receivers.webhook import Webhook

KINDS: Final[Mapping[str, type[Receiver]]] = {
    "slack": Slack,
    "teams": Teams,
    "webhook": Webhook,
    "ping": Ping,
}
"""By the policy's `kind`."""


def receiver_of(settings: Notification, environment: Mapping[str, str]) -> Receiver:
    """Return the receiver of an entry of the policy's `notify`."""
    return KINDS[settings.kind](settings, environment)


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


async def notify(
    settings: Sequence[Notification],
    environment: Mapping[str, str],
    run: RunMessage,
    *,
    limit_s: float = LIMIT_S,
) -> tuple[Notified, ...]:
    """Send the message about a run to each receiver for which it is due."""
    async with open_session(limit_s) as session:
        sending = []
        for entry in settings:
            receiver = receiver_of(entry, environment)
            message = run.for_readers(details=entry.details)
            sending.append(_notify_one(session, receiver, message))
        return tuple(await asyncio.gather(*sending))


async def _notify_one(session: ClientSession, receiver: Receiver, run: RunMessage) -> Notified:
    """Send the message about a run to one receiver, if it is due."""
    if not is_due(receiver, run):
        return Notified(receiver.settings)
    try:
        await request(session, "POST", receiver.run_message(run), receiver.settings.url_env)
    except NotSent as error:
        text = f"Notification to {receiver.name} was not sent: {error.sentences}"
        return Notified(receiver.settings, error=text)
    return Notified(receiver.settings)


def is_due(receiver: Receiver, message: RunMessage) -> bool:
    """Return whether the `when` of a receiver covers a run.

    `changes` covers runs that deleted something or after which something announced waits, dry
    runs that found something stale, and failures. `failures` covers runs that did not complete,
    and urgent warnings.
    """
    end = message.run.end
    when = receiver.settings.when
    if receiver.is_monitor or when == "always" or end is None:
        return True
    is_urgent = any(warning.level == WarningLevel.URGENT for warning in end.warnings)
    if is_urgent or not message.has_succeeded:
        return True
    if when != "changes":
        return False
    would_delete = message.run.mode == "dry-run" and end.stale > 0
    return would_delete or end.due > 0 or bool(message.waiting)


__all__ = [
    "KINDS",
    "Notified",
    "Receiver",
    "RunMessage",
    "is_due",
    "notify",
    "receiver_of",
]

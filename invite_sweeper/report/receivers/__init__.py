"""Receivers of notifications: a class for each kind, with one interface."""

from collections.abc import Mapping
from typing import Final

from invite_sweeper.policy import Notification
from invite_sweeper.report.receivers.base import (
    Receiver,
    RunMessage,
    receiver_variables,
    register_receivers,
)
from invite_sweeper.report.receivers.ping import Ping
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


__all__ = [
    "KINDS",
    "Receiver",
    "RunMessage",
    "receiver_of",
    "receiver_variables",
    "register_receivers",
]

"""A mail server, and the messages of which deploy/mail-inviters makes mails."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller
from builders import object_id
from deploy.containers import reserved_port
from running import wait_until

from invite_sweeper.simulator.seed import ORG_ID

KEY = "k3y"
TEAM = "atlas-team@example.com"
LAST = "last@example.com"
TAKEN = 202


class Mailbox:
    """Takes mails, but those to addresses with an answer of their own.

    Attributes:
        is_open: Until it is set, the server takes the text of a mail and does not answer.
        unanswered: How many mails wait for that.
    """

    def __init__(self):
        self.mails = []
        self.answers = {}
        self.is_open = threading.Event()
        self.is_open.set()
        self.unanswered = 0

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.unanswered += 1
        await asyncio.to_thread(self.is_open.wait)
        self.unanswered -= 1
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"

    def take(self, url=None):
        """Return what came: the addresses and the texts, by recipient.

        Args:
            url: Of the hook: everything that it took is mailed, because it ends one message before
                the next.
        """
        if url is not None:
            last = announcement(inviter=LAST)
            assert post(url, last) == TAKEN
            wait_until(lambda: any(to == [LAST] for to, _ in self.mails))
            self.mails = [each for each in self.mails if each[0] != [LAST]]
        found, self.mails = self.mails, []
        by_recipient = {to: mail for (to,), mail in found}
        assert len(by_recipient) == len(found)
        return by_recipient


@contextmanager
def mail_server():
    """Yield a server that is not started: its port is known, its handler is a new mailbox."""
    with reserved_port() as port:
        controller = Controller(Mailbox(), hostname="127.0.0.1", port=port)
        yield controller
        if controller.server is not None:
            controller.stop()


def announcement(number=1, **changes):
    """Return one of a new invitation, to the person of a number."""
    defaults = {
        "source": "users",
        "org_id": ORG_ID,
        "project_id": object_id(9),
        "project_name": "Search",
        "invitation_id": str(uuid.uuid4()),
        "username": f"p{number}@example.com",
        "inviter": "ada@example.com",
        "announced_at": "2026-11-27T01:00:00Z",
        "deletable_from": f"2026-12-0{number}T01:00:00Z",
        "new": True,
    }
    return {**defaults, **changes}


def post(url, *announcements, body=None, key=KEY, sent_at=None, signature=None, **fields):
    """Send a message, or this body, as the program does; return the status of the answer."""
    message = {"mode": "sweep", "announcements": announcements, **fields}
    body = json.dumps(message).encode() if body is None else body
    identifier = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    timestamp = str(int(time.time()) if sent_at is None else sent_at)
    signed = f"{identifier}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.digest(key.encode(), signed, "sha256")).decode()
    headers = {
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest}" if signature is None else signature,
    }
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

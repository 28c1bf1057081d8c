"""A webhook of `notify` that mails each inviter which of their invitations will be deleted."""

import asyncio
import base64
import hmac
import json
import logging
import os
import re
import time
import unicodedata
from email import message, utils
from pathlib import Path

import aiosmtplib
from aiohttp import web

TEXT = Path(__file__).with_name("mail.txt").read_text("utf-8")
# Without `?`: a header decodes `=?utf-8?q?eve=40example.org?=@example.com` into another address.
ADDRESS = re.compile(r"[\w.!#$%&'*+/=^`{|}~-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
KEY = ("source", "org_id", "project_id", "invitation_id", "announced_at")
BATCHES = set()  # a task for each message that was taken
ONE_BATCH = asyncio.Lock()  # a message that is repeated finds what the one before it mailed
LOG = logging.getLogger("mail-inviters")
CONNECTIONS = asyncio.Semaphore(8)


def setting(name, default=""):
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text("utf-8").strip() if path else os.environ.get(name, default)


def mail_server():
    server = {"hostname": setting("SMTP_HOST"), "port": int(setting("SMTP_PORT", "587"))}
    if user := setting("SMTP_USERNAME"):
        server |= {"username": user, "password": setting("SMTP_PASSWORD"), "start_tls": True}
    return server


def mailed_file():
    """Return the file with what was mailed, a line for each announcement."""
    return Path(setting("STATE_DIRECTORY"), "mailed")


def find_missing(announcements):
    """Return the announcements that were not mailed, by their lines in the file."""
    by_line = {json.dumps([one[name] for name in KEY]): one for one in announcements}
    mailed = set(mailed_file().read_text("utf-8").splitlines())
    return {line: one for line, one in by_line.items() if line not in mailed}


def is_signed(headers, body):
    """Return whether the signature is right and of these five minutes (Standard Webhooks 1.0)."""
    key, sent_at = setting("HOOK_KEY"), headers.get("webhook-timestamp", "")
    if not key or not re.fullmatch("[0-9]{1,12}", sent_at):
        return False
    secret = base64.b64decode(key[6:]) if key.startswith("whsec_") else key.encode()
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode("utf-8", "replace") + body
    expected = b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256"))
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    is_recent = abs(time.time() - int(sent_at)) <= 300
    return is_recent and any(hmac.compare_digest(expected, each) for each in given)


def fold(name):
    """Return what names that look the same have in common."""
    letters = unicodedata.normalize("NFKC", name or "")
    return "".join(char for char in letters if char.isprintable()).strip().casefold()


def describe(one):
    """Return a line without the line breaks and direction marks that a name may have."""
    place = one["project_name"] or f"organization {one['org_name'] or one['org_id']}"
    line = f"- {one['username'] or '(no address)'} to {place}: from {one['deletable_from'][:10]} on"
    return "".join(char if char.isprintable() else " " for char in line)


def describe_inviter(one):
    """Return the inviter for those who answer; an API key with its description."""
    if not one["inviter"]:
        return "an inviter whom Atlas does not name"
    key_name = one.get("inviter_name")
    return f"API key {key_name!a} ({one['inviter']})" if key_name else f"{one['inviter']!a}"


async def send(to, who, ones):
    """Send the mail about the invitations that an inviter has sent."""
    mail, day = message.EmailMessage(), min(one["deletable_from"] for one in ones)[:10]
    mail["From"], mail["Reply-To"] = setting("MAIL_FROM"), setting("REPLY_TO")
    mail["To"], mail["Date"] = to, utils.formatdate()
    mail["Subject"] = f"Invitations to MongoDB Atlas: {len(ones)} will be deleted from {day} on"
    lines = "\n".join(map(describe, ones))
    mail.set_content(TEXT.format(who=who, lines=lines, reply_to=setting("REPLY_TO")))
    async with CONNECTIONS:
        await aiosmtplib.send(mail, **mail_server())


async def reach(ones, invited):
    """Mail an inviter, and never one of the invited; REPLY_TO where no inviter can be reached."""
    inviter = ones[0]["inviter"] or ""
    if ADDRESS.fullmatch(inviter) and fold(inviter) not in invited:
        try:
            return await send(inviter, "you", ones)
        except aiosmtplib.SMTPRecipientsRefused as error:
            if error.recipients[0].code < 500:  # such as a mailbox that is full
                raise
    return await send(setting("REPLY_TO"), describe_inviter(ones[0]), ones)


async def mail_inviter(inviter, by_line, invited):
    """Mail the announcements of an inviter, and record them once the mail server took the mail."""
    try:
        await reach([*by_line.values()], invited)
        with mailed_file().open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in by_line)
    except (aiosmtplib.SMTPException, OSError) as error:
        LOG.warning("%a gets no mail before the next message: %a", inviter, error)


async def mail_all(run, announcements):
    """Mail what was not mailed before, several inviters at once."""
    org_names = {each["id"]: each["name"] for each in run.get("organizations") or ()}
    invited = {fold(one["username"]) for one in [*announcements, *(run.get("invitations") or ())]}
    async with ONE_BATCH:
        by_inviter = {}
        for line, one in find_missing(announcements).items():
            one["org_name"] = org_names.get(one["org_id"])
            by_inviter.setdefault(fold(one["inviter"]), {})[line] = one
        await asyncio.gather(*(mail_inviter(*each, invited) for each in by_inviter.items()))


async def hook(request):
    """Take a message, and answer before its mails are sent; 503 where no mail server answers."""
    body = await request.read()
    if not is_signed(request.headers, body):
        raise web.HTTPUnauthorized
    run = json.loads(body)
    announcements = (run.get("announcements") or ()) if run.get("mode") == "sweep" else ()
    if any("inviter" not in one for one in announcements):
        raise web.HTTPUnprocessableEntity(text="The policy needs `details: true` here.")
    if find_missing(announcements):
        try:
            async with aiosmtplib.SMTP(**mail_server(), timeout=5):
                pass
        except (aiosmtplib.SMTPException, OSError) as error:
            raise web.HTTPServiceUnavailable(text=type(error).__name__) from error
    batch = asyncio.create_task(mail_all(run, announcements))
    BATCHES.add(batch)
    batch.add_done_callback(BATCHES.discard)
    return web.Response(status=202)


async def finish(_app):
    """Send what was taken before the process ends."""
    await asyncio.gather(*BATCHES)


if __name__ == "__main__":
    mailed_file().touch()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/", hook)
    app.on_shutdown.append(finish)
    web.run_app(app, host=setting("HOST", "127.0.0.1"), port=int(setting("PORT", "8025")))

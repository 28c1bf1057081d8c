"""A webhook of `notify` that mails each inviter which of their invitations will be deleted."""

import asyncio
import base64
import hmac
import json
import os
import re
import time
from email import message, utils
from pathlib import Path

import aiosmtplib
from aiohttp import web

TEXT = Path(__file__).with_name("mail.txt").read_text("utf-8")
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
KEY = ("source", "org_id", "project_id", "invitation_id", "announced_at")
MAILED, LOCK = set(), asyncio.Lock()


def setting(name, default=""):
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text("utf-8").strip() if path else os.environ.get(name, default)


def is_signed(headers, body):
    """Return whether the signature is right and of these five minutes (Standard Webhooks 1.0)."""
    key, sent_at = setting("HOOK_KEY"), headers.get("webhook-timestamp", "")
    if not key or not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > 300:
        return False
    secret = base64.b64decode(key[6:]) if key.startswith("whsec_") else key.encode()
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode("utf-8", "replace") + body
    expected = b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256"))
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    return any(hmac.compare_digest(expected, each) for each in given)


def describe(one):
    """Return a line without the line breaks and direction marks that a name may have."""
    place = one["project_name"] or f"organization {one['org_name'] or one['org_id']}"
    line = f"- {one['username'] or '(no address)'} to {place}: from {one['deletable_from'][:10]} on"
    return "".join(char if char.isprintable() else " " for char in line)


def mail_to(inviter, ones):
    """Return the mail about the invitations of one inviter, never to one of the invited."""
    is_person = ADDRESS.fullmatch(inviter or "") and inviter not in {o["username"] for o in ones}
    mail, day = message.EmailMessage(), min(one["deletable_from"] for one in ones)[:10]
    mail["From"], mail["Reply-To"] = setting("MAIL_FROM"), setting("REPLY_TO")
    mail["To"], mail["Date"] = inviter if is_person else setting("REPLY_TO"), utils.formatdate()
    mail["Subject"] = f"Invitations to MongoDB Atlas: {len(ones)} will be deleted from {day} on"
    key_name = ones[0].get("inviter_name")  # the description of an API key
    who = f"API key {key_name!a} ({inviter})" if key_name else f"{inviter!a}"
    names = {"who": "you" if is_person else who, "reply_to": setting("REPLY_TO")}
    mail.set_content(TEXT.format(lines="\n".join(map(describe, ones)), **names))
    return mail


async def send(mail):
    """Send a mail; to REPLY_TO where the server says that it does not know the inviter."""
    server = {"hostname": setting("SMTP_HOST"), "port": int(setting("SMTP_PORT", "587"))}
    if user := setting("SMTP_USERNAME"):
        server |= {"username": user, "password": setting("SMTP_PASSWORD"), "start_tls": True}
    try:
        await aiosmtplib.send(mail, **server)
    except aiosmtplib.SMTPRecipientsRefused as error:
        if error.recipients[0].code < 500 or mail["To"] == setting("REPLY_TO"):
            raise
        mail.replace_header("To", setting("REPLY_TO"))
        await aiosmtplib.send(mail, **server)


async def hook(request):
    """Mail what is new, each once; 503 where a mail was not accepted, so that the run says so."""
    body = await request.read()
    if not is_signed(request.headers, body):
        raise web.HTTPUnauthorized
    run, by_inviter = json.loads(body), {}
    org_names = {each["id"]: each["name"] for each in run.get("organizations") or ()}
    async with LOCK:
        for one in (run.get("announcements") or ()) if run.get("mode") == "sweep" else ():
            if "inviter" not in one:
                raise web.HTTPUnprocessableEntity(text="The policy needs `details: true` here.")
            if one["new"] and (key := tuple(one[name] for name in KEY)) not in MAILED:
                one["org_name"] = org_names.get(one["org_id"])
                by_inviter.setdefault(one["inviter"], {})[key] = one
        for inviter, ones in by_inviter.items():
            try:
                await send(mail_to(inviter, [*ones.values()]))
            except (aiosmtplib.SMTPException, OSError) as error:
                raise web.HTTPServiceUnavailable(text=type(error).__name__) from error
            MAILED.update(ones)
    return web.Response(status=204)


if __name__ == "__main__":
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/", hook)
    web.run_app(app, host=setting("HOST", "127.0.0.1"), port=int(setting("PORT", "8025")))

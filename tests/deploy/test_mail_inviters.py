"""deploy/mail-inviters as a process, between real HTTP and a real SMTP server."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import builders
import pytest
import yaml
from deploy.containers import accepts, reserved_port, run
from deploy.mailing import KEY, TAKEN, TEAM, announcement, mail_server, post
from deploy.manifests import documents, night_of, overlaid
from environment import ROOT
from readmes import MAIL, section
from running import cli_in, wait_until

from invite_sweeper.simulator.seed import ORG_ID

FOLDER = ROOT / "deploy/mail-inviters"
SCRIPT = FOLDER / "mail_inviters.py"
PENDING = announcement(2, username="Ada@example.com\u200b", inviter="eve@example.com")
"""The inviter of the other announcements is invited, too; names that look the same are one."""


@contextmanager
def hook_of(smtp, tmp_path, **more):
    """Run the hook, and yield its address; the mail server answers again once it is stopped."""
    (tmp_path / "hook-key").write_text(f"{KEY}\n", encoding="utf-8")
    with reserved_port() as port:
        settings = {
            "HOOK_KEY_FILE": str(tmp_path / "hook-key"),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(smtp.port),
            "MAIL_FROM": "invite-sweeper@example.com",
            "REPLY_TO": TEAM,
            "STATE_DIRECTORY": str(tmp_path),
            "PORT": str(port),
        }
        process = subprocess.Popen([sys.executable, SCRIPT], env=os.environ | settings | more)
        try:
            wait_until(lambda: accepts(port) or process.poll() is not None)
            assert process.poll() is None
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            wait_until(lambda: not accepts(port))
            smtp.handler.is_open.set()
            process.wait(60)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A hook, and the mailbox of its mail server; each test announces invitations of its own."""
    with mail_server() as smtp:
        smtp.start()
        with hook_of(smtp, tmp_path_factory.mktemp("hook")) as url:
            yield url, smtp.handler


@pytest.fixture
def hook(running):
    return running[0]


@pytest.fixture
def inbox(running):
    """The mailbox of `hook`, which takes mail to any address."""
    running[1].answers.clear()
    return running[1]


def test_each_inviter_gets_one_mail_with_what_goes_when_and_what_to_do(hook, inbox):
    one = announcement(1)
    two = announcement(2, project_id=None, project_name=None)
    assert post(hook, one, two, announcement(3, inviter="eve@example.com")) == TAKEN
    found = inbox.take(hook)
    assert found.keys() == {"ada@example.com", "eve@example.com"}
    mail = found["ada@example.com"]
    assert mail["Subject"] == "Invitations to MongoDB Atlas: 2 will be deleted from 2026-12-01 on"
    assert (mail["From"], mail["Reply-To"]) == ("invite-sweeper@example.com", TEAM)
    sent_at = mail["Date"].datetime.replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=5)  # RFC 5322 3.6 requires it
    text = mail.get_content()
    assert "sent by you" in text
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- p1@example.com to Search: from 2026-12-01 on",
        f"- p2@example.com to organization {ORG_ID}: from 2026-12-02 on",
    ]
    assert "Ask the person to accept before that day." in text
    assert f"Answer this mail before that day, to {TEAM}: an entry" in " ".join(text.split())
    assert "p3@" not in text


@pytest.mark.parametrize(
    "forged",
    [{"key": "wrong"}, {"signature": ""}, {"signature": "v1,\u00e9"}, {"sent_at": "1" * 5000}],
    ids=lambda forged: str(forged)[:30],
)
def test_wrong_signature_is_refused_and_mails_nobody(hook, inbox, forged):
    assert post(hook, announcement(), **forged) == 401
    assert inbox.take(hook) == {}


@pytest.mark.parametrize(("age_s", "status"), [(290, TAKEN), (310, 401), (-310, 401)])
def test_message_of_another_five_minutes_is_refused(hook, inbox, age_s, status):
    assert post(hook, announcement(), sent_at=int(time.time()) - age_s) == status
    assert len(inbox.take(hook)) == (status == TAKEN)


def test_hook_without_a_key_takes_nothing(smtp, tmp_path):
    smtp.start()
    with hook_of(smtp, tmp_path, HOOK_KEY_FILE="/dev/null") as url:
        assert post(url, announcement(), key="") == 401
    assert smtp.handler.take() == {}


def test_what_was_mailed_is_not_mailed_again_by_the_next_process(smtp, tmp_path):
    smtp.start()
    one = announcement(1)
    with hook_of(smtp, tmp_path) as url:
        assert post(url, one) == TAKEN
    assert smtp.handler.take().keys() == {"ada@example.com"}
    with hook_of(smtp, tmp_path) as url:
        assert post(url, one, announcement(2)) == TAKEN
    text = smtp.handler.take()["ada@example.com"].get_content()
    assert re.findall(r"p\d@", text) == ["p2@"]


def test_answer_comes_before_the_mails_and_several_are_sent_at_once(hook, inbox):
    inviters = [f"i{number}@example.com" for number in range(40)]
    inbox.is_open.clear()
    ones = [announcement(inviter=inviter) for inviter in inviters]
    assert post(hook, *ones) == TAKEN
    wait_until(lambda: inbox.unanswered > 1)
    assert post(hook, *ones) == TAKEN  # a run that is repeated meanwhile
    inbox.is_open.set()
    assert inbox.take(hook).keys() == {*inviters}


@pytest.mark.parametrize(
    ("inviter", "name", "shown"),
    [
        ("gone@example.com", None, "'gone@example.com'"),
        ("wkzjqvtb", None, "'wkzjqvtb'"),
        ("wkzjqvtb", "terraform", "API key 'terraform' (wkzjqvtb)"),
        ("wkzjqvtb", "x\nBcc: e@x.org", "API key 'x\\nBcc: e@x.org' (wkzjqvtb)"),
        ("a@x.org\nBcc: e@x.org", None, "'a@x.org\\nBcc: e@x.org'"),
        ("=?utf-8?q?e=40x.org?=@y.org", None, "'=?utf-8?q?e=40x.org?=@y.org'"),
    ],
    ids=ascii,
)
def test_inviter_who_cannot_be_mailed_is_named_to_who_answers(hook, inbox, inviter, name, shown):
    """The last one is another address where a mail server decodes it."""
    inbox.answers["gone@example.com"] = "550 no such user"
    assert post(hook, announcement(inviter=inviter, inviter_name=name)) == TAKEN
    found = inbox.take(hook)
    assert found.keys() == {TEAM}
    assert f"sent by {shown}, were not accepted" in " ".join(found[TEAM].get_content().split())
    assert found[TEAM]["Bcc"] is None


@pytest.mark.parametrize(
    "messages",
    [
        [{"announcements": [announcement(1, username="ADA@Example.com")]}],
        [{"announcements": [announcement(1), PENDING]}],
        [{"announcements": [PENDING]}, {"announcements": [announcement(1), PENDING]}],
        [{"announcements": [announcement(1)], "invitations": [PENDING]}],
    ],
    ids=["own", "of-another-inviter", "mailed-before", "deleted-by-the-run"],
)
def test_who_is_invited_gets_no_mail_as_an_inviter(hook, inbox, messages):
    for fields in messages:
        assert post(hook, **fields) == TAKEN
    assert inbox.take(hook).keys() - {"eve@example.com"} == {TEAM}


def test_name_with_line_breaks_adds_no_line_and_no_header(hook, inbox):
    name = "x\r\nBcc: eve@example.com\u2028\u202e\r\n\r\nPay here: \x00"
    one = announcement(username=f"{name}@example.com", project_name=name)
    assert post(hook, one) == TAKEN
    mail = inbox.take(hook)["ada@example.com"]
    lines = mail.get_content().splitlines()
    (line,) = [each for each in lines if "Bcc" in each]
    assert line.startswith("- x  Bcc: eve@example.com  ")
    assert line.endswith("on")
    assert mail["Bcc"] is None


@pytest.mark.parametrize(
    "message",
    [
        {"mode": "dry-run", "announcements": [announcement()]},
        {"mode": "sweep", "announcements": None},
        {"test": True, "headline": "This is a test message."},
    ],
)
def test_message_without_announcements_of_a_sweep_mails_nobody(hook, inbox, message):
    assert post(hook, body=json.dumps(message).encode()) == TAKEN
    assert inbox.take(hook) == {}


def test_receiver_without_details_is_told_what_it_needs(hook, inbox):
    one = {name: value for name, value in announcement().items() if name != "inviter"}
    assert post(hook, one) == 422
    assert inbox.take(hook) == {}


def test_mailbox_that_is_full_stops_no_other_mail_and_is_tried_with_the_next_message(hook, inbox):
    inbox.answers["ada@example.com"] = "450 mailbox full"
    ones = announcement(1), announcement(2, inviter="eve@example.com")
    assert post(hook, *ones) == TAKEN
    assert inbox.take(hook).keys() == {"eve@example.com"}
    inbox.answers.clear()
    assert post(hook, *ones) == TAKEN
    assert inbox.take(hook).keys() == {"ada@example.com"}


def test_password_is_not_sent_without_encryption(smtp, tmp_path):
    smtp.start()
    with hook_of(smtp, tmp_path, SMTP_USERNAME="u", SMTP_PASSWORD="p") as url:
        assert post(url, announcement()) == 503
    assert smtp.handler.take() == {}


def test_run_says_that_it_failed_and_the_next_quiet_one_is_mailed(smtp, tmp_path):
    key = "whsec_a2V5"  # as the page makes it
    with hook_of(smtp, tmp_path, HOOK_KEY_FILE="", HOOK_KEY=key) as url, cli_in(tmp_path) as cli:
        cli.stock(stale=2)
        cli.sim.organizations[ORG_ID].api_keys["wkzjqvtb"] = "terraform payments"
        cli.keys["notice"] = {"wait": "7d"}
        entry = {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY"}
        cli.keys["notify"] = [{**entry, "when": "always", "details": True}]
        cli.changes |= {"HOOK_URL": url, "HOOK_KEY": key}
        assert "responded with HTTP 503" in cli.sweep().err
        smtp.start()
        assert cli.sweep().code == 0
        inviters = {line["inviter"] for line in cli.lines("announced")}
        assert cli.sweep().code == 0
    (mail,) = smtp.handler.take().values()
    assert inviters == {"wkzjqvtb"}
    assert "sent by API key 'terraform payments' (wkzjqvtb)" in mail.get_content()
    assert re.findall(r"- (p\d@example.com) to Project 0: from", mail.get_content()) == [
        "p0@example.com",
        "p1@example.com",
    ]


@pytest.mark.needs("kustomize", "kubectl")
def test_component_adds_the_hook_beside_the_program_with_the_secret_of_the_page(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "deploy/mail-inviters")
    found = documents(overlaid(tmp_path, components=["deploy/mail-inviters"]))
    night = night_of(found)
    (hook,) = night.pod["initContainers"]
    files = {each["name"]: each.get("value") for each in hook["env"]}
    mounts = {each["name"]: each for each in hook["volumeMounts"]}
    (volume,) = (each["secret"] for each in night.pod["volumes"] if each["name"] == "mail-inviters")
    for name in ("hook-key", "smtp-password"):
        (tmp_path / name).write_text("value", encoding="utf-8")
    _, create = section(MAIL, "Kubernetes").commands
    made = run("sh", "-c", f"{create} --dry-run=client -o yaml", cwd=tmp_path).stdout
    secret = yaml.safe_load(made)

    assert hook["restartPolicy"] == "Always"
    assert hook["securityContext"] == night.box["securityContext"]
    assert night.environment["MAIL_INVITERS_URL"] == "http://127.0.0.1:8025/"
    assert mounts["audit"]["subPath"] == "mail-inviters"  # and so it sees no file of the log
    assert files["STATE_DIRECTORY"] == mounts["audit"]["mountPath"]
    assert secret["metadata"]["name"] == volume["secretName"]
    folder = mounts["mail-inviters"]["mountPath"]
    assert {files["HOOK_KEY_FILE"], files["SMTP_PASSWORD_FILE"]} == {
        f"{folder}/{key}" for key in secret["data"]
    }
    policy = found["NetworkPolicy", "invite-sweeper"]["spec"]["egress"]
    assert policy[-1] == {"ports": [{"protocol": "TCP", "port": 587}]}


def test_entry_of_the_page_is_valid_in_a_policy_and_names_the_variables_of_the_component():
    (text,) = section(MAIL, "Mail to inviters").blocks("yaml")
    (entry,) = builders.policy(notice={"wait": "7d"}, **yaml.safe_load(text)).notify
    component = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    assert (entry.kind, entry.details) == ("webhook", True)
    names = {*re.findall(r"name: (\w+)$", component, re.MULTILINE)}
    assert {entry.url_env, entry.secret_env} <= names

"""Recovery of deletions that a killed run left open: outcomes claim only what Atlas shows."""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from audit.written_logs import fields_of, write_events
from builders import (
    NOW,
    ORG,
    OTHER_ORG,
    PROJECT,
    invitation,
    object_id,
)
from fakes import FakeAtlas
from invite_sweeper.sweep.previous_runs import read_previous_runs

from invite_sweeper.audit import OpenIntent, OutcomeLine
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    UserStatus,
)
from invite_sweeper.sweep.recovery import Recovery, resolvable

BOTH = sorted(SOURCES_OF_USERS)
UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "Atlas answered 500.")


@dataclass
class FakeUserStatusReader(FakeAtlas):
    """An Atlas with a status for each user, by id; an exception is raised."""

    statuses: dict[str, UserStatus | ListUnreadable | Exception] = field(default_factory=dict)

    async def membership_status(self, one):
        status = self.statuses[one.id]
        if isinstance(status, Exception):
            raise status
        return status


@dataclass
class FakeLog:
    """Records its lines and how many of them are on disk."""

    lines: list[dict[str, object]] = field(default_factory=list)
    on_disk: int = 0

    def write(self, event):
        assert isinstance(event, OutcomeLine)
        self.lines.append(msgspec.to_builtins(event))

    async def sync(self):
        self.on_disk = len(self.lines)


def one_of(source, number=1, **changes):
    scope = {"project_id": ORG, "project_name": ""} if source.is_organization_level else {}
    return invitation(number, source=source, **{**scope, **changes})


def intents(*ones, mode="sweep"):
    return [OpenIntent("killed", mode, one, "stale") for one in ones]


async def recover(reader, *ones, mode="sweep"):
    """Recover the intents; return the lines of the log and the messages."""
    log, resolved = FakeLog(), []
    recovery = Recovery(
        reader, log, NOW, lambda intent, outcome: resolved.append((intent.invitation.id, outcome))
    )
    messages = await recovery.run(intents(*ones, mode=mode))
    assert log.on_disk == len(log.lines) == len(resolved)
    assert [line["outcome"] for line in log.lines] == [outcome for _, outcome in resolved]
    return log.lines, messages


@pytest.mark.parametrize(
    ("status", "still_member", "outcome"),
    [
        ("ACTIVE", False, "accepted_during"),
        ("ACTIVE", True, "accepted_before"),
        ("PENDING", True, "failed"),
        ("NEW", True, "failed"),
        (None, True, "failed"),
        ("PENDING", False, "already_gone"),
        ("INVITATION_EXPIRED", False, "already_gone"),
        ("INVITATION_REJECTED", False, "already_gone"),
        ("gone", False, "already_gone"),
        ("NEW", False, "unknown"),
        (None, False, "unknown"),
    ],
)
async def test_outcome_of_a_missing_user_follows_the_status_from_atlas(
    status, still_member, outcome
):
    one = one_of(Source.USERS)
    reader = FakeUserStatusReader(statuses={one.id: UserStatus(status, still_member)})
    (line,), messages = await recover(reader, one)
    assert (line["outcome"], line["seen_before"], line["seen_after"]) == (outcome, None, status)
    assert (line["recovered"], line["recovers"], line["attempts"]) == (True, "killed", 0)
    assert messages == ()


@pytest.mark.parametrize("source", Source)
async def test_invitation_that_is_still_listed_is_failed(source):
    one = one_of(source)
    key = one.project_id if source is Source.INVITES else (source, one.project_id)
    (line,), _ = await recover(FakeUserStatusReader(lists={key: (one,)}), one)
    assert (line["outcome"], line["seen_after"]) == ("failed", None)


@pytest.mark.parametrize("source", BOTH)
async def test_user_who_is_listed_with_another_date_was_deleted_and_invited_anew(source):
    one = one_of(source)
    anew = one._replace(created_at=one.created_at + timedelta(days=1))
    atlas = FakeUserStatusReader(lists={(source, one.project_id): (anew,)})
    (line,), _ = await recover(atlas, one)
    assert line["outcome"] == "already_gone"


@pytest.mark.parametrize("source", sorted(set(Source) - SOURCES_OF_USERS))
async def test_missing_invitation_of_a_list_without_statuses_is_already_gone(source):
    (line,), _ = await recover(FakeUserStatusReader(), one_of(source))
    assert (line["outcome"], line["seen_after"]) == ("already_gone", None)


async def test_users_of_a_deleted_project_are_already_gone():
    one = one_of(Source.USERS)
    reader = FakeUserStatusReader(
        list_results={(Source.USERS, PROJECT): ProjectGone(PROJECT, "Sandbox Alpha")}
    )
    (line,), _ = await recover(reader, one)
    assert line["outcome"] == "already_gone"


@pytest.mark.parametrize("source", BOTH)
async def test_users_with_an_unknown_status_stay_open_and_are_counted_by_reason(source):
    ones = [one_of(source, number) for number in range(1, 5)]
    known = UserStatus("gone", still_member=False)
    reader = FakeUserStatusReader(
        statuses={one.id: (known, UNREADABLE)[number % 2] for number, one in enumerate(ones, 1)}
    )
    lines, messages = await recover(reader, *ones)
    assert [line["invitation_id"] for line in lines] == [ones[1].id, ones[3].id]
    where = "Sandbox Alpha" if source is Source.USERS else f"organization {ORG}"
    assert messages == (
        f"2 deletions of an earlier run in {where} remain unresolved: Atlas answered 500.",
    )


async def test_intents_of_an_unreadable_list_stay_open():
    ones = [one_of(Source.USERS, number) for number in (1, 2)]
    lines, messages = await recover(
        FakeUserStatusReader(list_results={(Source.USERS, PROJECT): UNREADABLE}), *ones
    )
    assert lines == []
    assert messages == (
        "2 deletions of an earlier run in Sandbox Alpha remain unresolved: Atlas answered 500.",
    )


@pytest.mark.parametrize("source", Source)
async def test_intent_of_a_restore_is_unknown_without_a_request(source):
    reader = FakeUserStatusReader()
    (line,), messages = await recover(reader, one_of(source), mode="restore")
    assert (line["outcome"], messages, reader.requested) == ("unknown", (), [])


async def test_removed_member_is_reported_before_the_next_request_fails():
    first, second = one_of(Source.USERS, 1), one_of(Source.USERS, 2)
    reader = FakeUserStatusReader(
        statuses={
            first.id: UserStatus("ACTIVE", still_member=False),
            second.id: CredentialsRefused("Atlas refuses the credentials (401)."),
        }
    )
    log, resolved = FakeLog(), []
    recovery = Recovery(reader, log, NOW, lambda _intent, outcome: resolved.append(outcome))
    with pytest.raises(CredentialsRefused):
        await recovery.run(intents(first, second))
    assert resolved == ["accepted_during"]
    assert [line["outcome"] for line in log.lines] == resolved


async def test_intents_of_a_restore_do_not_hide_those_of_a_sweep():
    """The outcome of a POST is unknown; the DELETE beside it is resolved from its list."""
    log, resolved, seen = FakeLog(), [], []

    class Recording(FakeUserStatusReader):
        async def invitations(self, project, source=Source.INVITES):
            seen.append((project, source))
            return await super().invitations(project, source)

    other = "a" * 24
    reader = Recording(lists={other: (invitation(3, project_id=other, source=Source.INVITES),)})
    recovery = Recovery(reader, log, NOW, lambda _, outcome: resolved.append(outcome))
    ones = [
        *intents(invitation(1, source=Source.INVITES), mode="restore"),
        *intents(
            invitation(2, source=Source.INVITES),
            invitation(3, project_id=other, project_name="Other", source=Source.INVITES),
        ),
    ]
    messages = await recovery.run(ones)
    assert resolved == ["unknown", "already_gone", "failed"]
    assert messages == ()
    assert [line["rule"] for line in log.lines] == ["stale"] * 3
    assert [line["recovers"] for line in log.lines] == ["killed"] * 3
    assert log.on_disk == 3
    assert seen == [
        (Project(PROJECT, "Sandbox Alpha", ORG), Source.INVITES),
        (Project(other, "Other", ORG), Source.INVITES),
    ]


@pytest.mark.parametrize(("count", "words"), [(1, "1 deletion of an"), (2, "2 deletions of an")])
async def test_unresolved_deletions_are_counted_with_their_place_and_reason(count, words):
    reader = FakeUserStatusReader(list_results={PROJECT: UNREADABLE})
    recovery = Recovery(reader, FakeLog(), NOW, lambda *_: None)
    (message,) = await recovery.run(
        intents(*(invitation(n, source=Source.INVITES) for n in range(count)))
    )
    remain = "remains" if count == 1 else "remain"
    assert message == (
        f"{words} earlier run in Sandbox Alpha {remain} unresolved: Atlas answered 500."
    )


URL = "https://here.example.com"


@pytest.mark.parametrize("org_id", [ORG, OTHER_ORG])
@pytest.mark.parametrize("base_url", [URL, "https://elsewhere.example.com", None])
def test_open_intents_are_those_of_the_organizations_at_the_base_url_or_an_unknown_one(
    path, log_path, org_id, base_url
):
    start = [] if base_url is None else [("run_started", {"base_url": base_url})]
    intent = ("intent", fields_of(invitation(1, org_id=org_id, source=Source.INVITES)))
    write_events(path, "killed", [*start, intent])
    intents = read_previous_runs(log_path).open_intents()
    found = resolvable(intents, frozenset([ORG]), URL)
    expected = org_id == ORG and base_url in {URL, None}
    assert [each.invitation.id for each in found] == [object_id(1)] * expected

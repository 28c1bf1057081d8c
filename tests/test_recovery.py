"""What is said of a deletion that a killed run left open: what Atlas shows, and no more."""

from dataclasses import dataclass, field

import pytest
from builders import NOW, ORG, PROJECT, invitation
from fakes import FakeAtlas

from invite_sweeper.audit import OpenIntent
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import SOURCES_OF_USERS, ListUnreadable, ProjectGone, Source, UserStatus
from invite_sweeper.sweep.previous_runs import Recovery

BOTH = sorted(SOURCES_OF_USERS)
UNREADABLE = ListUnreadable(PROJECT, "Sandbox Alpha", "Atlas answered 500.")


@dataclass
class FakeUserStatusReader(FakeAtlas):
    """An Atlas that tells what became of each user, by id; an exception is raised."""

    became: dict[str, UserStatus | ListUnreadable | Exception] = field(default_factory=dict)

    async def membership_status(self, one):
        answer = self.became[one.id]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class FakeLog:
    """Remembers its lines, and how many were on disk at last."""

    lines: list[dict[str, object]] = field(default_factory=list)
    on_disk: int = 0

    def write(self, event, **fields):
        assert event == "outcome"
        self.lines.append(fields)

    async def sync(self):
        self.on_disk = len(self.lines)


def one_of(source, number=1, **changes):
    scope = {"project_id": ORG, "project_name": ""} if source.is_organization_level else {}
    return invitation(number, source=source, **{**scope, **changes})


def intents(*ones, mode="sweep"):
    return [OpenIntent("killed", mode, one, "stale") for one in ones]


async def recovered(witness, *ones, mode="sweep"):
    """Recover; the log, what was told at once, and the sentences."""
    log, told = FakeLog(), []
    recovery = Recovery(
        witness, log, NOW, lambda intent, outcome: told.append((intent.invitation.id, outcome))
    )
    said = await recovery.run(intents(*ones, mode=mode))
    assert log.on_disk == len(log.lines) == len(told)
    assert [line["outcome"] for line in log.lines] == [outcome for _, outcome in told]
    return log.lines, said


@pytest.mark.parametrize(
    ("status", "there", "outcome"),
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
async def test_user_whom_the_list_does_not_show_is_what_atlas_says_has_become_of_them(
    status, there, outcome
):
    one = one_of(Source.USERS)
    witness = FakeUserStatusReader(became={one.id: UserStatus(status, there)})
    (line,), said = await recovered(witness, one)
    assert (line["outcome"], line["seen_before"], line["seen_after"]) == (outcome, None, status)
    assert (line["recovered"], line["recovers"], line["attempts"]) == (True, "killed", 0)
    assert said == ()


@pytest.mark.parametrize("source", Source)
async def test_who_is_listed_still_is_failed_and_nothing_more_is_asked(source):
    one = one_of(source)
    key = one.project_id if source is Source.INVITES else (source, one.project_id)
    (line,), _ = await recovered(FakeUserStatusReader(holds={key: (one,)}), one)
    assert (line["outcome"], line["seen_after"]) == ("failed", None)


@pytest.mark.parametrize("source", sorted(set(Source) - SOURCES_OF_USERS))
async def test_invitation_without_a_status_that_is_not_listed_is_already_gone(source):
    (line,), _ = await recovered(FakeUserStatusReader(), one_of(source))
    assert (line["outcome"], line["seen_after"]) == ("already_gone", None)


async def test_users_of_a_project_that_is_no_more_are_already_gone_and_nobody_was_hit():
    one = one_of(Source.USERS)
    witness = FakeUserStatusReader(
        answers={(Source.USERS, PROJECT): ProjectGone(PROJECT, "Sandbox Alpha")}
    )
    (line,), _ = await recovered(witness, one)
    assert line["outcome"] == "already_gone"


@pytest.mark.parametrize("source", BOTH)
async def test_users_of_whom_nobody_tells_stay_open_and_are_counted_by_the_reason(source):
    ones = [one_of(source, number) for number in range(1, 5)]
    known = UserStatus("gone", still_member=False)
    witness = FakeUserStatusReader(
        became={one.id: (known, UNREADABLE)[number % 2] for number, one in enumerate(ones, 1)}
    )
    lines, said = await recovered(witness, *ones)
    assert [line["invitation_id"] for line in lines] == [ones[1].id, ones[3].id]
    where = "Sandbox Alpha" if source is Source.USERS else f"organization {ORG}"
    assert said == (
        f"2 deletions of an earlier run in {where} stay unsettled: Atlas answered 500.",
    )


async def test_list_that_cannot_be_read_leaves_all_of_it_open():
    ones = [one_of(Source.USERS, number) for number in (1, 2)]
    lines, said = await recovered(
        FakeUserStatusReader(answers={(Source.USERS, PROJECT): UNREADABLE}), *ones
    )
    assert lines == []
    assert said == (
        "2 deletions of an earlier run in Sandbox Alpha stay unsettled: Atlas answered 500.",
    )


@pytest.mark.parametrize("source", Source)
async def test_intent_of_a_restore_is_unknown_and_atlas_is_not_asked(source):
    witness = FakeUserStatusReader()
    (line,), said = await recovered(witness, one_of(source), mode="restore")
    assert (line["outcome"], said, witness.asked) == ("unknown", (), [])


async def test_removed_member_is_told_though_the_next_question_ends_the_run():
    first, second = one_of(Source.USERS, 1), one_of(Source.USERS, 2)
    witness = FakeUserStatusReader(
        became={
            first.id: UserStatus("ACTIVE", still_member=False),
            second.id: CredentialsRefused("Atlas refuses the credentials (401)."),
        }
    )
    log, told = FakeLog(), []
    recovery = Recovery(witness, log, NOW, lambda _intent, outcome: told.append(outcome))
    with pytest.raises(CredentialsRefused):
        await recovery.run(intents(first, second))
    assert told == ["accepted_during"]
    assert [line["outcome"] for line in log.lines] == told

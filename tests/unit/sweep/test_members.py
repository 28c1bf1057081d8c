"""Who invited and left: the list of active members, and each inviter asked for by name."""

import pytest
from builders import ORG, changed, object_id, project
from sweep.night import Night

from invite_sweeper.endings import WarningCode
from invite_sweeper.models import ListUnreadable, Source

GONE = "gone@example.com"
LEFT = {"rules": [{"name": "left", "inviter_gone": True}]}
NOT_SAID = ListUnreadable(ORG, "", "The answer is about other people than asked for.", 200)
UNREAD = ListUnreadable(ORG, "", "the role is missing.")


def members(count):
    return frozenset(f"p{number}@example.com" for number in range(count))


TWENTY = members(20)


def night_of(directory, *inviters, known=TWENTY, **keys):
    """Return a night over one organization; each invitation is by another person."""
    night = Night(directory, len(inviters), **{**LEFT, **keys})
    (atlas,) = night.atlases
    ((key, found),) = atlas.lists.items()
    pairs = zip(found, inviters, strict=True)
    atlas.lists[key] = tuple(changed(one, inviter=inviter) for one, inviter in pairs)
    atlas.members = known
    return night


def warnings(result):
    return [each.message for each in result.warnings if each.code == WarningCode.MEMBERS]


@pytest.mark.parametrize(
    ("answer", "reason"), [(False, None), (True, "inviter_unknown"), (NOT_SAID, "inviter_unknown")]
)
async def test_inviter_is_gone_only_if_the_list_and_the_answer_for_the_name_agree(
    directory, answer, reason
):
    night = night_of(directory, GONE)
    night.atlases[0].answers = {GONE: answer}
    result = await night.run()
    assert night.deleted == [int(reason is None)]
    assert result.kept_by_reason == ({} if reason is None else {reason: 1})
    assert night.atlases[0].asked == [GONE]


async def test_unclear_answer_is_a_warning_with_its_reason(directory):
    night = night_of(directory, GONE, "left@example.com", GONE)
    night.atlases[0].answers = {GONE: NOT_SAID}
    result = await night.run()
    assert night.deleted == [1]
    (warning,) = warnings(result)
    assert warning == (
        f"1 inviter in the organization Alpha ({ORG}) is not in the list of active members, and "
        "the answer for the name does not say whether they left: The answer is about other people "
        "than asked for. Their invitations are kept."
    )


async def test_each_inviter_who_seems_gone_is_asked_for_once_and_no_other_is(directory):
    others = ("p1@example.com", "P1@Example.com ", "nmtxqlkl", None, "\uff50" + "1@example.com")
    night = night_of(directory, GONE, " Gone@Example.com", GONE, *others)
    await night.run(dry_run=True)
    assert night.atlases[0].asked == [GONE]


@pytest.mark.parametrize(("answer", "stale"), [(False, 8), (NOT_SAID, 0)])
async def test_inviters_of_lists_that_are_read_at_the_same_time_are_asked_for_once(
    directory, answer, stale
):
    night = night_of(directory, GONE)
    (atlas,) = night.atlases
    atlas.answers = {GONE: answer}
    (one,) = atlas.lists[Source.INVITES, object_id(1)]
    for number in range(2, 9):
        atlas.listed.append(project(number))
        place = {"project_id": object_id(number), "invitation_id": object_id(90 + number)}
        atlas.show(changed(one, **place))
    result = await night.run(dry_run=True)
    assert (result.stale, atlas.asked) == (stale, [GONE])


@pytest.mark.parametrize("known", [UNREAD, frozenset()], ids=["unread", "none"])
async def test_no_inviter_is_gone_or_asked_for_where_the_list_is_not_known(directory, known):
    night = night_of(directory, GONE, known=known)
    result = await night.run()
    assert (night.deleted, result.kept_by_reason) == ([0], {"inviter_unknown": 1})
    assert night.atlases[0].asked == []
    if known is UNREAD:
        (warning,) = warnings(result)
        assert warning == (
            f"The active members of the organization Alpha ({ORG}) are not known: the role is "
            "missing. Nothing is deleted there by inviter_gone."
        )


async def test_invitations_are_judged_by_the_members_of_their_own_organization(directory):
    night = Night(directory, 1, 1, **LEFT)
    for atlas, member in zip(night.atlases, ("bo@example.com", "ada@example.com"), strict=True):
        ((key, (one,)),) = atlas.lists.items()
        atlas.lists[key] = (changed(one, inviter="ada@example.com"),)
        atlas.members = frozenset({member})
    result = await night.run()
    assert night.deleted == [1, 0]
    assert result.kept_by_reason == {"no_rule": 1}

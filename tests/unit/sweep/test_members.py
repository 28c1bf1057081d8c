"""Who invited and left: the list of active members, and each inviter asked for by name."""

import pytest
from builders import ORG, changed, object_id, project
from sweep.night import Night

from invite_sweeper.endings import WarningCode
from invite_sweeper.models import ListUnreadable, Source

GONE = "gone@example.com"
LEFT = {"rules": [{"name": "left", "inviter_gone": True}]}
NOT_SAID = ListUnreadable(ORG, "", "The answer is about other people than asked for.", 200)
MEMBERS = frozenset(f"p{number}@example.com" for number in range(20))
UNREAD = ListUnreadable(ORG, "", "the role is missing.")


def night_of(directory, *inviters, known=MEMBERS, **keys):
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


@pytest.mark.parametrize(("answer", "is_gone"), [(False, True), (True, False), (NOT_SAID, False)])
async def test_inviter_is_gone_only_if_the_list_and_the_answer_for_the_name_agree(
    directory, answer, is_gone
):
    night = night_of(directory, GONE)
    night.atlases[0].answers = {GONE: answer}
    result = await night.run()
    assert (night.deleted, night.atlases[0].asked) == ([int(is_gone)], [GONE])
    assert result.kept_by_reason == ({} if is_gone else {"inviter_unknown": 1})
    said = (
        f"1 inviter in the organization Alpha ({ORG}) is not in the list of active members, and "
        "the answer for the name does not say whether they left: The answer is about other people "
        "than asked for. Their invitations are kept."
    )
    assert warnings(result) == [said] * (answer is NOT_SAID)


async def test_each_inviter_who_seems_gone_is_asked_for_once_in_all_lists_and_no_other_is(
    directory,
):
    """Also where lists are read at the same time."""
    others = ("p1@example.com", "P1@Example.com ", "nmtxqlkl", None, "\uff50" + "1@example.com")
    night = night_of(directory, GONE, " Gone@Example.com", GONE, *others)
    (atlas,) = night.atlases
    (one, *_) = atlas.lists[Source.INVITES, object_id(1)]
    for number in range(2, 9):
        atlas.listed.append(project(number))
        place = {"project_id": object_id(number), "invitation_id": object_id(90 + number)}
        atlas.show(changed(one, **place))
    result = await night.run(dry_run=True)
    assert (result.stale, atlas.asked) == (10, [GONE])


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

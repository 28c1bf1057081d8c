"""People whom no list of the policy shows."""

from datetime import date

from builders import ORG

from invite_sweeper.endings import WarningLevel
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.sweep.discovery import ListCounts
from invite_sweeper.sweep.unread_lists import unread_lists, unread_warnings

DAY = date(2027, 7, 1)


def users(*names):
    return {(ORG, name) for name in names}


def messages(unread, seen, ends):
    found = users(*unread)
    counts = ListCounts(
        users={Source.ORG_USERS: found}, statuses=dict.fromkeys(found, "INVITATION_REJECTED")
    )
    hashes = {source: {hash(each) for each in users(*names)} for source, names in seen.items()}
    found = unread_warnings(counts, hashes, ends)
    assert {each.level for each in found} <= {WarningLevel.REMARK}
    return [each.message for each in found]


def test_list_of_users_of_each_organization_is_read_unless_the_policy_reads_it():
    wanted = unread_lists([Source.INVITES, Source.USERS], [ORG, "b" * 24])
    assert [(each.source, each.project.id) for each in wanted] == [
        (Source.ORG_USERS, ORG),
        (Source.ORG_USERS, "b" * 24),
    ]
    assert unread_lists([Source.ORG_USERS], [ORG]) == ()


def test_people_whom_the_policy_sees_too_are_not_counted():
    assert messages("ab", {Source.INVITES: "abc"}, {Source.INVITES: DAY}) == []


def test_one_person_is_singular_and_lists_without_an_end_have_no_outlook():
    assert messages("a", {Source.USERS: "b"}, {}) == [
        (
            "1 person (1 rejected) is invited only in the list org_users, which the policy does "
            "not read."
        )
    ]


def test_outlook_counts_whom_lists_without_an_end_show():
    seen = {Source.INVITES: "abc", Source.USERS: "cd"}
    (message,) = messages("xyz", seen, {Source.INVITES: DAY})
    assert message == (
        "3 people (3 rejected) are invited only in the list org_users, which the policy does not "
        "read. After "
        "2027-07-01 this policy would see 2 of 7."
    )


def test_unreadable_list_is_not_known_with_its_reason():
    lost = ListUnreadable(ORG, "", "No role.", 401, None, Source.ORG_USERS, ORG)
    (found,) = unread_warnings(ListCounts(unreadable=[lost]), {}, {}, {ORG: "Acme (id)"})
    assert found.message == (
        "Who is invited in the list org_users of organization Acme (id) is not known. No role."
    )

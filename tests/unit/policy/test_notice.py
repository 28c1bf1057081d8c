"""`notice` announces before a deletion, `inviter_gone` is a condition of its own."""

from datetime import timedelta

import pytest

HEAD = 'version: 1\norganizations: ["5efda682a3f2ed2e7dd6cde4"]\n'

NOTICE = "notice: {wait: 7d}\n"


def test_notice_is_read_and_is_off_by_default(policy_of):
    assert policy_of(NOTICE).notice.wait == timedelta(days=7)
    assert policy_of("").notice is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notice:", "notice: is empty; remove it, or write `notice: "),
        ("notice: {}", "notice.wait: is missing; add `wait: 7d`"),
        ("notice: {wait: 7}", "notice.wait: the number `7` has no time unit"),
        ("notice: {wait: 0d}", "notice.wait: the string `0d` is zero"),
        ("notice: {days: 7}", "notice.days: is not a known key"),
    ],
)
def test_notice_has_a_wait(text, message, errors_after_head):
    assert any(message in error for error in errors_after_head(f"{text}\n"))


def test_rule_may_consist_of_inviter_gone_alone(errors_of_rule):
    assert errors_of_rule("name: a, inviter_gone: true") == []


@pytest.mark.parametrize("value", ["false", "1", "'true'", "[]", ""])
def test_inviter_gone_is_true_or_absent(value, errors_of_rule):
    assert any(
        "rules[0].inviter_gone: " in e for e in errors_of_rule(f"name: a, inviter_gone: {value}")
    )


@pytest.mark.parametrize(
    ("sources", "rule", "wait", "refused"),
    [
        ("invites", "older_than: 23d", "7d", True),
        ("invites", "older_than: 22d", "7d", False),
        ("org_invites", "inviter_gone: true", "30d", True),
        ("org_invites", "inviter_gone: true", "29d", False),
        ("users", "older_than: 23d, statuses: [PENDING]", "7d", True),
        ("users", "older_than: 22d, statuses: [PENDING]", "7d", False),
        ("users", "statuses: [PENDING]", "30d", True),
        ("users", "older_than: 23d, statuses: [PENDING, INVITATION_EXPIRED]", "7d", False),
        ("users", "older_than: 60d, statuses: [INVITATION_REJECTED]", "7d", False),
        ("invites, users", "older_than: 23d", "7d", False),
        ("invites, users", "older_than: 23d, statuses: [PENDING]", "7d", True),
    ],
)
def test_age_and_wait_that_together_reach_30_days_are_refused_for_pending_invitations(
    sources, rule, wait, refused, errors_of
):
    text = f"{HEAD}sources: [{sources}]\nrules: [{{name: a, {rule}}}]\nnotice: {{wait: {wait}}}\n"
    errors = errors_of(text)
    expected = "4:9: rules[0]: never deletes: Atlas ends PENDING invitations after 30 days"
    assert [error.partition(", and")[0] for error in errors] == ([expected] if refused else [])

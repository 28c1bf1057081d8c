"""A valid policy is frozen and reports warnings."""

from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from invite_sweeper.models import Source
from invite_sweeper.policy import Keep, Organization, Policy, Rule, check_policy, parse_policy

TODAY = date(2027, 3, 31)


def test_organization_is_an_id_or_an_id_with_a_credentials_name(policy_of):
    first, second = "5efda682a3f2ed2e7dd6cde4", "5efda682a3f2ed2e7dd6cde5"
    text = f"version: 1\norganizations: [{first}, {{id: {second}, credentials: PROD_2}}]\n"

    policy = parse_policy(f"{text}rules: [{{name: a, expired: true}}]\n".encode(), "p")
    assert policy.organizations == (
        Organization(id=first),
        Organization(id=second, credentials="PROD_2"),
    )
    assert policy.organization_ids == frozenset({first, second})


def test_notifications_are_read_with_their_default(policy_of):
    policy = policy_of(
        "notify:\n"
        "  - {kind: slack, url_env: SLACK_URL}\n"
        "  - {kind: webhook, url_env: HOOK_URL, secret_env: _KEY1, when: changes}\n"
        "  - {kind: ping, url_env: PING_URL, when: always, details: true}\n"
    )
    assert [tuple(entry.model_dump().values()) for entry in policy.notify] == [
        ("slack", "SLACK_URL", None, "always", False),
        ("webhook", "HOOK_URL", "_KEY1", "changes", False),
        ("ping", "PING_URL", None, "always", True),
    ]


def test_every_condition_of_a_keep_entry_is_read(policy_of):
    (entry,) = policy_of(
        "keep:\n"
        "  - name: all\n"
        "    older_than: 1d\n"
        "    expired: false\n"
        "    expires_within: PT2H\n"
        "    usernames: ['*@a.example.com', b@example.com]\n"
        "    inviters: [abcdefgh]\n"
        "    roles: [GROUP_OWNER]\n"
        "    projects: ['Prod *', '0123456789abcdef01234567']\n"
        "    statuses: [PENDING, INVITATION_EXPIRED, INVITATION_REJECTED]\n"
        "    reason: |\n"
        "      they  travel\n"
        "      a lot\n"
        "    until: '2027-03-31'\n"
    ).keep
    assert entry == Keep(
        name="all",
        older_than=timedelta(days=1),
        expired=False,
        expires_within=timedelta(hours=2),
        usernames=("*@a.example.com", "b@example.com"),
        inviters=("abcdefgh",),
        roles=("GROUP_OWNER",),
        projects=("Prod *", "0123456789abcdef01234567"),
        statuses=("PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"),
        reason="they travel a lot",
        until=date(2027, 3, 31),
    )


def test_policy_is_frozen(policy_of):
    policy = policy_of("")
    for part, key in (
        (policy, "rules"),
        (policy.limits, "max_deletions"),
        (policy.rules[0], "older_than"),
        (policy.projects, "include"),
    ):
        with pytest.raises(ValidationError):
            setattr(part, key, None)


def test_policy_is_hashable_and_equal_to_one_of_the_same_file(policy_of):
    text = "projects: {tags: {env: sandbox}}\n"
    assert {policy_of(text): 1}[policy_of(text)] == 1
    assert policy_of(text) != policy_of("")


def test_policy_is_dumped_without_a_serializer_warning(policy_of):
    dumped = policy_of("projects: {tags: {env: sandbox}}\n").model_dump(mode="json")
    assert dumped["projects"]["tags"] == {"env": "sandbox"}
    assert dumped["sources"] == ["invites"]


def test_plain_policy_has_no_warnings():
    text = f"version: 1\norganizations: [{'a' * 24}]\nsources: [invites, users]\n"
    text += "rules: [{name: a, older_than: 14d}]\n"
    keep = "keep: [{name: b, roles: [GROUP_OWNER]}]\n"
    assert parse_policy((text + keep).encode(), "p").warnings(TODAY) == ()


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        (None, "invites"),
        ("invites", "invites"),
        ("org_invites", "org_invites"),
        ("invites, org_invites", "invites and org_invites"),
        ("invites, users", None),
        ("org_users", None),
    ],
)
def test_policy_that_reads_only_lists_with_an_announced_end_is_a_warning(sources, named, policy_of):
    policy = policy_of(f"sources: [{sources}]\n" if sources else "")
    found = [each for each in policy.warnings(TODAY) if "the end of each list" in each]
    if named is None:
        assert found == []
        return
    (warning,) = found
    assert f"each list that the policy reads ({named})" in warning
    assert warning.endswith("Under sources, add users and org_users: invite-sweeper help sources.")


@pytest.mark.parametrize(
    ("sources", "unread"),
    [
        ("org_users", "org_invites"),
        ("users, org_invites", "org_users"),
        ("org_users, org_invites", None),
        ("users", None),
    ],
)
def test_one_list_of_an_organization_without_the_other_is_a_warning_of_validate(sources, unread):
    text = f"version: 1\norganizations: [{'a' * 24}]\nsources: [{sources}]\n"
    data = f"{text}rules: [{{name: a, older_than: 14d}}]\n".encode()
    policy, found = check_policy(data, TODAY)
    assert policy is not None
    assert not [each for each in policy.warnings(TODAY) if "not judged" in each]
    warnings = [each for each in found if f"and not {unread}: " in each.message]
    assert [each.hint for each in warnings] == {
        None: [],
        "org_users": ["Add org_users."],
        "org_invites": ["Add org_invites, or leave it out once Atlas has ended that list."],
    }[unread]
    assert len([each for each in found if "not judged" in each.message]) == len(warnings)


def test_rule_with_a_status_never_matches_in_lists_without_one(policy_of):
    pending = Rule(name="p", older_than=timedelta(days=1), statuses=("PENDING",))
    sources = (Source.INVITES, Source.ORG_INVITES)
    _, warning = with_rules(policy_of(""), pending, sources=sources).warnings(TODAY)
    assert warning == (
        "The rule `p` never matches: invitations in invites and org_invites have no status. "
        "Read users or org_users too, or remove statuses."
    )


@pytest.mark.parametrize(
    ("until", "applies"), [("2027-03-30", False), ("2027-03-31", True), ("2027-04-01", True)]
)
def test_keep_entry_applies_on_its_last_day_and_not_after(until, applies, policy_of, warnings_of):
    text = f"keep: [{{name: board, roles: [GROUP_OWNER], until: {until}}}]\n"
    (entry,) = policy_of(text).keep
    assert entry.is_active(TODAY) is applies
    assert warnings_of(text) == (
        [] if applies else [f"The keep entry `board` ended on {until} and no longer applies."]
    )


def test_keep_entry_without_until_always_applies():
    assert Keep(name="a", roles=("x",)).is_active(date.max)


def with_rules(policy: Policy, *rules: Rule, sources=(Source.INVITES,)) -> Policy:
    return policy.model_copy(update={"rules": rules, "sources": sources})


@pytest.mark.parametrize(
    ("sources", "age", "statuses", "warns"),
    [
        ("invites", 30, None, True),
        ("invites", 29, None, False),
        ("org_invites", 30, None, True),
        ("users", 30, None, False),
        ("invites, org_users", 30, None, False),
        ("users", 30, ["PENDING"], True),
        ("users", 29, ["PENDING"], False),
        ("users", 30, ["PENDING", "INVITATION_EXPIRED"], False),
        ("users", 30, ["INVITATION_REJECTED"], False),
    ],
)
def test_30_days_never_match_where_a_rule_is_for_pending_invitations_alone(
    sources, age, statuses, warns, policy_of
):
    rule = Rule(name="p", older_than=timedelta(days=age), statuses=statuses and tuple(statuses))
    lists = tuple(map(Source, sources.split(", ")))
    found = with_rules(policy_of(""), rule, sources=lists).warnings(TODAY)
    expected = "The rule `p` may never match: PENDING invitations expire after 30 days."
    assert (expected in found) is warns


def test_contradictory_conditions_are_a_warning(policy_of, warnings_of):
    span = timedelta(days=1)
    rules = (
        Rule(name="never", expired=True, expires_within=span),
        Rule(name="fine", expired=False, expires_within=span),
        Rule(name="good", expires_within=span),
    )
    _, warning = with_rules(policy_of(""), *rules).warnings(TODAY)
    assert warning.startswith("`never` never matches: ")
    (warning,) = warnings_of("keep: [{name: k, expired: yes, expires_within: 1d}]\n")
    assert warning.startswith("`k` never matches: ")


NAMED = '{{id: "{}", credentials: {}}}'


@pytest.mark.parametrize(
    ("organizations", "shared"),
    [
        (f'"{"1" * 24}"', None),
        (f'"{"1" * 24}", "{"2" * 24}", "{"3" * 24}"', "3 organizations share the credentials with"),
        (f"{NAMED.format('1' * 24, 'NORTH')}, {NAMED.format('2' * 24, 'SOUTH')}", None),
        (
            f"{NAMED.format('1' * 24, 'NORTH')}, {NAMED.format('2' * 24, 'NORTH')}",
            "2 organizations share the credentials `NORTH`, and a service account or an API key",
        ),
    ],
)
def test_organizations_that_share_one_set_of_credentials_are_a_warning(organizations, shared):
    text = f"version: 1\norganizations: [{organizations}]\nsources: [users]\nrules:\n"
    data = f"{text}  - {{name: a, older_than: 14d, statuses: [PENDING]}}\n".encode()
    policy, found = check_policy(data, TODAY)
    assert [each.message.startswith(shared or "") for each in found] == [True] * bool(shared)
    assert [each.where for each in found] == ["organizations[1]"] * bool(shared)
    assert policy is not None


@pytest.mark.parametrize(
    ("names", "unseen"),
    [((), []), (("",), [2]), (("NORTH",), [1]), (("SOUTH",), [1, 2]), (("", "NORTH"), [])],
)
def test_organization_without_credentials_in_the_environment_is_a_warning(names, unseen):
    organizations = f'["{"1" * 24}", {NAMED.format("2" * 24, "NORTH")}]'
    text = f"version: 1\norganizations: {organizations}\nsources: [users]\nrules:\n"
    data = f"{text}  - {{name: a, older_than: 14d, statuses: [PENDING]}}\n".encode()
    _, found = check_policy(data, TODAY, names)
    seen = [each.message for each in found]
    assert seen == [f"No credential in this environment sees {str(n) * 24}." for n in unseen]
    assert all(f"_ID{'_NORTH' * ('2' * 24 in each.message)} and" in each.hint for each in found)

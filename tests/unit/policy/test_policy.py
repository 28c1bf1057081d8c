"""Every key of a policy is read, with the documented defaults, into a frozen value."""

import hashlib
from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from invite_sweeper.models import Source
from invite_sweeper.policy import (
    Keep,
    Notice,
    Organization,
    Policy,
    ProjectScope,
    Rule,
    check_policy,
    parse_policy,
)

TODAY = date(2027, 3, 31)
FIRST, SECOND = "5efda682a3f2ed2e7dd6cde4", "5efda682a3f2ed2e7dd6cde5"
CONTRACT = f"""\
version: 1
organizations: [{FIRST}, {{id: {SECOND}, credentials: PROD_2}}]
projects:
  include: ["*"]
  exclude: ["prod-*"]
  tags: {{env: sandbox}}
sources: [invites]
rules:
  - name: forgotten
    older_than: 14d
  - name: outsiders
    older_than: 3d
    usernames: ["*@gmail.com"]
keep:
  - name: all
    older_than: 1d
    expired: false
    expires_within: PT2H
    usernames: ['*@a.example.com', b@example.com]
    inviters: [abcdefgh]
    roles: [GROUP_OWNER]
    projects: ['Prod *', '0123456789abcdef01234567']
    statuses: [PENDING, INVITATION_EXPIRED, INVITATION_REJECTED]
    reason: |
      they  travel
      a lot
    until: '2027-03-31'
limits:
  max_deletions: 0
  max_deletions_per_project: 7
  max_share: 1
  max_unreadable_projects: 0
  period: 0s
  over_limit: trim
execution:
  concurrency: 1000
  max_requests_per_second: 2.5
  attempts: 20
  deadline: PT2H
  grace: 5s
audit:
  directory: elsewhere/log
  record: all
  stdout: true
notice:
  wait: 7d
notify:
  - {{kind: slack, url_env: SLACK_URL}}
  - {{kind: webhook, url_env: HOOK_URL, secret_env: _KEY1, when: changes}}
  - {{kind: ping, url_env: PING_URL, when: always, details: true}}
""".encode()
SMALL = f"version: 1\norganizations: [{FIRST}]\nrules: [{{name: a, older_than: 14d}}]\n"


def policy_of(text: str) -> Policy:
    return parse_policy((SMALL + text).encode(), "p")


def test_every_key_is_read():
    policy = parse_policy(CONTRACT, "policy.yaml")
    assert policy.version == 1
    assert policy.organizations == (
        Organization(id=FIRST),
        Organization(id=SECOND, credentials="PROD_2"),
    )
    assert policy.organization_ids == frozenset({FIRST, SECOND})
    assert policy.projects == ProjectScope(
        include=("*",), exclude=("prod-*",), tags={"env": "sandbox"}
    )
    assert policy.sources == (Source.INVITES,)
    assert policy.rules == (
        Rule(name="forgotten", older_than=timedelta(days=14)),
        Rule(name="outsiders", older_than=timedelta(days=3), usernames=("*@gmail.com",)),
    )
    assert policy.keep == (
        Keep(
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
        ),
    )
    assert tuple(policy.audit.model_dump().values()) == ("elsewhere/log", "all", True)
    assert policy.notice == Notice(wait=timedelta(days=7))
    assert [tuple(entry.model_dump().values()) for entry in policy.notify] == [
        ("slack", "SLACK_URL", None, "always", False),
        ("webhook", "HOOK_URL", "_KEY1", "changes", False),
        ("ping", "PING_URL", None, "always", True),
    ]


def test_limit_of_zero_stays_zero():
    limits = parse_policy(CONTRACT, "policy.yaml").limits
    assert (limits.max_deletions, limits.max_unreadable_projects) == (0, 0)
    assert limits.period == timedelta(0)
    assert (limits.max_deletions_per_project, limits.max_share) == (7, 1.0)
    assert limits.over_limit == "trim"


def test_execution_is_read_with_its_units():
    execution = parse_policy(CONTRACT, "policy.yaml").execution
    assert execution.concurrency == 1000
    assert execution.max_requests_per_second == 2.5
    assert execution.attempts == 20
    assert execution.deadline == timedelta(hours=2)
    assert execution.grace == timedelta(seconds=5)


def test_what_is_left_out_has_the_defaults_of_the_contract():
    policy = policy_of("")
    assert policy.projects == ProjectScope(include=("*",), exclude=())
    assert policy.sources == (Source.INVITES,)
    assert (policy.keep, policy.notify, policy.notice) == ((), (), None)
    assert tuple(policy.audit.model_dump().values()) == ("audit", "planned", False)
    assert policy.limits.model_dump() == {
        "max_deletions": 100,
        "max_deletions_per_project": 25,
        "max_share": 0.5,
        "max_unreadable_projects": 10,
        "period": timedelta(hours=20),
        "over_limit": "refuse",
        "max_population_drop": 0.3,
        "max_bounces": 3,
        "max_failure_share": 0.2,
        "max_already_gone_share": 0.5,
        "breaker_window": 50,
        "canary": 5,
    }
    assert policy.execution.model_dump() == {
        "concurrency": 20,
        "max_requests_per_second": None,
        "attempts": 5,
        "deadline": timedelta(hours=1),
        "grace": timedelta(seconds=20),
        "reserve": 0.1,
    }


def test_empty_exclude_tags_and_keep_equal_omitted_keys():
    empty, plain = policy_of("projects: {exclude: [], tags: {}}\nkeep: []\n"), policy_of("")
    assert empty.model_copy(update={"sha256": plain.sha256}) == plain


def test_sha256_is_the_hash_of_the_file():
    assert parse_policy(CONTRACT, "x").sha256 == hashlib.sha256(CONTRACT).hexdigest()
    assert policy_of("# a comment\n").sha256 != policy_of("").sha256


def test_policy_is_frozen():
    policy = policy_of("")
    for part, key in (
        (policy, "rules"),
        (policy.limits, "max_deletions"),
        (policy.rules[0], "older_than"),
        (policy.projects, "include"),
    ):
        with pytest.raises(ValidationError):
            setattr(part, key, None)


def test_policy_is_hashable_and_dumped_without_a_serializer_warning():
    text = "projects: {tags: {env: sandbox}}\n"
    assert {policy_of(text): 1}[policy_of(text)] == 1
    assert policy_of(text) != policy_of("")
    dumped = policy_of(text).model_dump(mode="json")
    assert dumped["projects"]["tags"] == {"env": "sandbox"}
    assert dumped["sources"] == ["invites"]


@pytest.mark.parametrize(
    ("until", "applies"), [("2027-03-30", False), ("2027-03-31", True), ("2027-04-01", True)]
)
def test_keep_entry_applies_on_its_last_day_and_not_after(until, applies):
    (entry,) = policy_of(f"keep: [{{name: board, roles: [GROUP_OWNER], until: {until}}}]\n").keep
    assert entry.is_active(TODAY) is applies


def test_keep_entry_without_until_always_applies():
    assert Keep(name="a", roles=("x",)).is_active(date.max)


def test_runs_warn_of_all_that_validate_does_but_of_an_unread_list():
    policy, found = check_policy(f"{SMALL}sources: [org_users]\nkeep: []\n".encode(), TODAY)
    assert policy is not None
    assert [each.where for each in found] == ["sources"]
    assert policy.warnings(TODAY) == ()
    policy, (only,) = check_policy(SMALL.encode(), TODAY)
    assert policy is not None
    assert policy.warnings(TODAY) == (f"{only.message} {only.hint}",)


NAMED = f"organizations: [{'1' * 24!r}, {{id: {'2' * 24!r}, credentials: NORTH}}]\n"


@pytest.mark.parametrize(
    ("names", "unseen"),
    [((), []), (("",), [2]), (("NORTH",), [1]), (("SOUTH",), [1, 2]), (("", "NORTH"), [])],
)
def test_organization_without_credentials_in_the_environment_is_a_warning(names, unseen):
    data = f"version: 1\n{NAMED}sources: [users]\nrules: [{{name: a, older_than: 14d}}]\n"
    _, found = check_policy(data.encode(), TODAY, names)
    seen = [each.message for each in found]
    assert seen == [f"No credential in this environment sees {str(n) * 24}." for n in unseen]
    assert all(f"_ID{'_NORTH' * ('2' * 24 in each.message)} and" in each.hint for each in found)


def test_organizations_are_not_compared_with_credentials_where_the_policy_has_errors():
    data = f"version: 2\n{NAMED}rules: []\n"
    _, found = check_policy(data.encode(), TODAY, ("SOUTH",))
    assert not [each for each in found if each.message.startswith("No credential")]

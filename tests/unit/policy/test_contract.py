"""Every key of a policy is read, with the documented defaults."""

import hashlib
from datetime import date, timedelta

from invite_sweeper.models import Source
from invite_sweeper.policy import Keep, Organization, ProjectScope, Rule, parse_policy

CONTRACT = b"""\
version: 1
organizations: [5efda682a3f2ed2e7dd6cde4]
projects:
  include: ["*"]
  exclude: ["prod-*"]
  tags: {env: sandbox}
sources: [invites]
rules:
  - name: forgotten
    older_than: 14d
  - name: outsiders
    older_than: 3d
    usernames: ["*@gmail.com"]
keep:
  - name: board
    usernames: ["*@board.example.com"]
    reason: they travel
    until: 2027-03-31
limits:
  max_deletions: 0
  max_deletions_per_project: 7
  max_share: 1
  max_unreadable_projects: 0
  over_limit: trim
execution:
  concurrency: 1000
  max_requests_per_second: 2.5
  attempts: 20
  deadline: PT2H
  grace: 5s
audit:
  path: elsewhere/log-{date}-{run_id}.jsonl
"""


def test_every_key_is_read():
    policy = parse_policy(CONTRACT, "policy.yaml")
    organization = "5efda682a3f2ed2e7dd6cde4"
    assert policy.version == 1
    assert policy.organizations == (Organization(id=organization),)
    assert policy.organization_ids == frozenset({organization})
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
            name="board",
            usernames=("*@board.example.com",),
            reason="they travel",
            until=date(2027, 3, 31),
        ),
    )
    assert policy.audit.path == "elsewhere/log-{date}-{run_id}.jsonl"


def test_limit_of_zero_stays_zero():
    limits = parse_policy(CONTRACT, "policy.yaml").limits
    assert limits.max_deletions == 0
    assert limits.max_unreadable_projects == 0
    assert limits.max_deletions_per_project == 7
    assert limits.max_share == 1.0
    assert limits.over_limit == "trim"


def test_execution_is_read_with_its_units():
    execution = parse_policy(CONTRACT, "policy.yaml").execution
    assert execution.concurrency == 1000
    assert execution.max_requests_per_second == 2.5
    assert execution.attempts == 20
    assert execution.deadline == timedelta(hours=2)
    assert execution.grace == timedelta(seconds=5)


def test_sha256_is_the_hash_of_the_file():
    assert parse_policy(CONTRACT, "x").sha256 == hashlib.sha256(CONTRACT).hexdigest()
    commented = CONTRACT + b"# a comment\n"
    assert parse_policy(commented, "x").sha256 != parse_policy(CONTRACT, "x").sha256


def test_what_is_left_out_has_the_defaults_of_the_contract():
    text = (
        b"version: 1\norganizations: [5efda682a3f2ed2e7dd6cde4]\nrules: [{name: a, expired: yes}]\n"
    )
    policy = parse_policy(text, "policy.yaml")
    assert policy.projects == ProjectScope(include=("*",), exclude=())
    assert policy.sources == (Source.INVITES,)
    assert (policy.keep, policy.notify) == ((), ())
    assert policy.audit.path == "audit/invite-sweeper.jsonl"
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
    head = b"version: 1\norganizations: [5efda682a3f2ed2e7dd6cde4]\n"
    rules = b"rules: [{name: forgotten, older_than: 14d}]\n"
    empty = parse_policy(head + b"projects: {exclude: [], tags: {}}\nkeep: []\n" + rules, "p")
    plain = parse_policy(head + rules, "p")
    assert empty.model_copy(update={"sha256": plain.sha256}) == plain

"""The project filter of a policy, and warnings about patterns without a match."""

import pytest
from builders import OTHER_ORG, object_id, policy, project

from invite_sweeper.sweep.scope import ProjectFilter, scope_sha256

ID_WITH_DB = "5edb82a3f2ed2e7dd6cde400"
TAGGED = {"tags": (("Env", "Sandbox"), ("team", "data"), ("x", "y"))}
TAGS = {"tags": {"env": "sandbox", "team": "data"}}


@pytest.mark.parametrize(
    ("changes", "filters", "included"),
    [
        ({}, {}, True),
        # Names: case is ignored, also of letters with accents; excluded names may look the same.
        ({"name": "SANDBOX-1"}, {"include": ["Sandbox-*"]}, True),
        ({"name": "Sandbox-"}, {"include": ["Sandbox-*"]}, True),
        ({"name": "xSandbox-1"}, {"include": ["Sandbox-*"]}, False),
        ({"name": "prod-1"}, {"include": ["prod-1"], "exclude": ["PROD-*"]}, False),
        ({"name": "cafe\u0301"}, {"exclude": ["CAF\u00c9"]}, False),
        ({"name": "Ann\u00c9"}, {"include": ["ann*"]}, True),
        ({"name": "ANN"}, {"include": ["[\u00e9a]nn"]}, True),
        ({"name": "\uff50rod-1"}, {"exclude": ["prod-*"]}, False),
        ({"name": "pr\u034fod-1"}, {"exclude": ["prod-*"]}, False),
        # Ids: 24 digits are compared with ids alone, all else with names alone.
        ({"id": object_id(7)}, {"include": [object_id(7)]}, True),
        ({"id": object_id(8)}, {"include": [object_id(7)]}, False),
        ({"id": object_id(7)}, {"exclude": [object_id(7)]}, False),
        ({"id": ID_WITH_DB}, {"include": ["*db*"]}, False),
        ({"id": ID_WITH_DB}, {"exclude": ["*db*"]}, True),
        ({"id": ID_WITH_DB}, {"exclude": [ID_WITH_DB.upper()]}, False),
        ({"name": ID_WITH_DB}, {"include": [ID_WITH_DB]}, False),
        # Tags: all must be on the project.
        (TAGGED, TAGS, True),
        ({"tags": (("env", "sandbox"),)}, TAGS, False),
        ({"tags": (("env", "prod"), ("team", "data"))}, TAGS, False),
    ],
)
def test_project_is_in_scope_if_each_filter_of_the_policy_admits_it(changes, filters, included):
    project_filter = ProjectFilter(policy(projects=filters))
    assert project_filter.includes(project(**changes)) is included


@pytest.mark.parametrize(
    ("sources", "decide"),
    [(["invites", "users"], False), (["org_users"], True), (["invites", "org_invites"], True)],
)
def test_teams_decide_where_a_list_of_organizations_is_read(sources, decide):
    assert ProjectFilter(policy(sources=sources)).teams_decide is decide


def test_patterns_that_matched_no_project_of_the_organizations_are_reported():
    patterns = {"include": ["*", "a-*", "c-*", object_id(7)], "exclude": ["prd-*", "b-*"]}
    project_filter = ProjectFilter(policy(projects=patterns))
    other = project(9, name=object_id(7))
    for each in (project(name="A-1"), project(name="b-1"), project(7), other):
        project_filter.includes(each)
    assert project_filter.unused_patterns() == (
        "projects.include 'c-*' matched no project.",
        "projects.exclude 'prd-*' matched no project.",
    )


def test_scope_hash_depends_on_projects_tags_and_sources_alone():
    def digest(**keys):
        return scope_sha256(policy(**keys))

    base = digest(projects={"include": ["a", "B"], "exclude": ["c"], "tags": {"Env": "Dev"}})
    same = digest(
        projects={"include": ["b", "A", "a"], "exclude": ["C"], "tags": {"env": "DEV"}},
        rules=[{"name": "other", "older_than": "1d"}],
        organizations=[OTHER_ORG],
    )
    assert base == same
    others = [
        digest(),
        digest(projects={"include": ["a"], "exclude": ["c"], "tags": {"Env": "Dev"}}),
        digest(projects={"include": ["a", "B"], "exclude": ["d"], "tags": {"Env": "Dev"}}),
        digest(projects={"include": ["a", "B"], "exclude": ["c"], "tags": {"Env": "Test"}}),
        digest(projects={"include": ["a", "B"], "exclude": ["c"], "tags": {"Dev": "Dev"}}),
        digest(projects={"include": ["a", "B"], "exclude": ["c"]}),
        digest(sources=["users"]),
    ]
    assert len({base, *others}) == 1 + len(others)

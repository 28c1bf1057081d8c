"""The project filter of a policy, and warnings about patterns without a match."""

import pytest
from builders import ORG, OTHER_ORG, object_id, policy, project

from invite_sweeper.sweep.scope import ProjectFilter, scope_sha256


def includes(one, **projects):
    return ProjectFilter(policy(projects=projects)).includes(one)


def test_without_filters_every_project_of_the_organizations_is_in_scope():
    assert ProjectFilter(policy()).includes(project())


def test_project_of_another_organization_is_never_in_scope():
    project_filter = ProjectFilter(policy(projects={"include": ["*"]}))
    assert not project_filter.includes(project(org_id=OTHER_ORG))
    assert not project_filter.in_allowed_organization(project(org_id=OTHER_ORG))
    assert project_filter.in_allowed_organization(project(org_id=ORG))


def test_project_of_another_organization_does_not_match_a_pattern():
    project_filter = ProjectFilter(policy(projects={"include": ["sandbox-*"]}))
    project_filter.includes(project(name="sandbox-1", org_id=OTHER_ORG))
    assert project_filter.unused_patterns() == ("projects.include 'sandbox-*' matched no project.",)


@pytest.mark.parametrize("name", ["sandbox-1", "SANDBOX-1", "Sandbox-"])
def test_include_ignores_case(name):
    assert includes(project(name=name), include=["Sandbox-*"])
    assert not includes(project(name="x" + name), include=["Sandbox-*"])


def test_exclude_beats_include():
    assert not includes(project(name="prod-1"), include=["prod-1"], exclude=["PROD-*"])


def test_include_and_exclude_match_ids():
    assert includes(project(7), include=[object_id(7)])
    assert not includes(project(8), include=[object_id(7)])
    assert not includes(project(7), exclude=[object_id(7)])


def test_all_tags_must_be_on_the_project():
    both = {"env": "sandbox", "team": "data"}
    assert includes(project(tags=(("Env", "Sandbox"), ("team", "data"), ("x", "y"))), tags=both)
    assert not includes(project(tags=(("env", "sandbox"),)), tags=both)
    assert not includes(project(tags=(("env", "prod"), ("team", "data"))), tags=both)


def test_composed_and_decomposed_letters_are_equal():
    assert not includes(project(name="caf\u0065\u0301"), exclude=["CAF\u00c9"])


@pytest.mark.parametrize(
    ("glob", "name"), [("ann*", "Ann\u00c9"), ("[\u00e9a]nn", "ANN")], ids=["name", "glob"]
)
def test_ascii_and_accented_names_ignore_case_alike(glob, name):
    assert includes(project(name=name), include=[glob])


@pytest.mark.parametrize(
    ("sources", "decide"),
    [(["invites", "users"], False), (["org_users"], True), (["invites", "org_invites"], True)],
)
def test_teams_decide_where_a_list_of_organizations_is_read(sources, decide):
    assert ProjectFilter(policy(sources=sources)).teams_decide is decide


def test_star_is_not_reported_without_any_project():
    assert ProjectFilter(policy(projects={"include": ["*"]})).unused_patterns() == ()


def test_include_that_matched_by_name_or_id_is_not_reported():
    project_filter = ProjectFilter(policy(projects={"include": ["a-*", object_id(7)]}))
    project_filter.includes(project(name="A-1"))
    project_filter.includes(project(7))
    assert project_filter.unused_patterns() == ()


def test_patterns_without_a_match_are_reported_except_for_the_star():
    project_filter = ProjectFilter(
        policy(projects={"include": ["*", "a-*"], "exclude": ["prd-*", "b-*"]})
    )
    project_filter.includes(project(name="b-1"))
    assert project_filter.unused_patterns() == (
        "projects.include 'a-*' matched no project.",
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

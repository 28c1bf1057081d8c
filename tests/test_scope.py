"""Which projects a policy may touch, and which of its globs never matched one."""

import pytest
from builders import ORG, OTHER_ORG, object_id, policy, project

from invite_sweeper.sweep.scope import ProjectFilter


def holds(one, **projects):
    return ProjectFilter(policy(projects=projects)).includes(one)


def test_without_filters_every_project_of_the_organizations_is_in_scope():
    assert ProjectFilter(policy()).includes(project())


def test_project_of_another_organization_is_never_in_scope():
    scope = ProjectFilter(policy(projects={"include": ["*"]}))
    assert not scope.includes(project(org_id=OTHER_ORG))
    assert not scope.in_allowed_organization(project(org_id=OTHER_ORG))
    assert scope.in_allowed_organization(project(org_id=ORG))


def test_project_of_another_organization_counts_for_no_glob():
    scope = ProjectFilter(policy(projects={"include": ["sandbox-*"]}))
    scope.includes(project(name="sandbox-1", org_id=OTHER_ORG))
    assert scope.unused_patterns() == ("projects.include 'sandbox-*' matched no project.",)


@pytest.mark.parametrize("name", ["sandbox-1", "SANDBOX-1", "Sandbox-"])
def test_include_compares_case_insensitively(name):
    assert holds(project(name=name), include=["Sandbox-*"])
    assert not holds(project(name="x" + name), include=["Sandbox-*"])


def test_exclude_beats_include():
    assert not holds(project(name="prod-1"), include=["prod-1"], exclude=["PROD-*"])


def test_include_and_exclude_take_ids():
    assert holds(project(7), include=[object_id(7)])
    assert not holds(project(8), include=[object_id(7)])
    assert not holds(project(7), exclude=[object_id(7)])


def test_all_tags_must_be_on_the_project():
    both = {"env": "sandbox", "team": "data"}
    assert holds(project(tags=(("Env", "Sandbox"), ("team", "data"), ("x", "y"))), tags=both)
    assert not holds(project(tags=(("env", "sandbox"),)), tags=both)
    assert not holds(project(tags=(("env", "prod"), ("team", "data"))), tags=both)


def test_decomposed_letters_are_the_same_name():
    assert not holds(project(name="caf\u0065\u0301"), exclude=["CAF\u00c9"])


@pytest.mark.parametrize(
    ("glob", "name"), [("ann*", "Ann\u00c9"), ("[\u00e9a]nn", "ANN")], ids=["name", "glob"]
)
def test_plain_letters_and_accented_ones_are_folded_alike(glob, name):
    assert holds(project(name=name), include=[glob])


def test_star_is_not_told_though_there_was_no_project_at_all():
    assert ProjectFilter(policy(projects={"include": ["*"]})).unused_patterns() == ()


def test_include_that_matched_by_name_or_by_id_is_not_told():
    scope = ProjectFilter(policy(projects={"include": ["a-*", object_id(7)]}))
    scope.includes(project(name="A-1"))
    scope.includes(project(7))
    assert scope.unused_patterns() == ()


def test_globs_that_matched_nothing_are_told_and_the_star_never_is():
    scope = ProjectFilter(policy(projects={"include": ["*", "a-*"], "exclude": ["prd-*", "b-*"]}))
    scope.includes(project(name="b-1"))
    assert scope.unused_patterns() == (
        "projects.include 'a-*' matched no project.",
        "projects.exclude 'prd-*' matched no project.",
    )


OUT_OF_SIGHT = (
    "No project of organization {} is in sight: check the id, and whose credentials these are."
)


def test_organization_without_a_project_in_sight_is_told_beside_one_that_has_one():
    scope = ProjectFilter(policy(organizations=[OTHER_ORG, ORG]))
    scope.includes(project(org_id=ORG))
    assert scope.unused_entries() == (OUT_OF_SIGHT.format(OTHER_ORG),)
    assert scope.in_allowed_organization(project(org_id=OTHER_ORG))
    assert scope.unused_entries() == ()


def test_organization_whose_project_is_out_of_scope_is_in_sight():
    scope = ProjectFilter(policy(projects={"exclude": ["prod-*"]}))
    assert not scope.includes(project(name="prod-1"))
    assert scope.unused_entries() == ()


def test_organizations_out_of_sight_are_told_in_the_policy_s_order_and_before_the_globs():
    scope = ProjectFilter(policy(organizations=[OTHER_ORG, ORG], projects={"include": ["a-*"]}))
    assert scope.unused_entries() == (
        OUT_OF_SIGHT.format(OTHER_ORG),
        OUT_OF_SIGHT.format(ORG),
        "projects.include 'a-*' matched no project.",
    )

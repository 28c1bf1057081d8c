"""The seeded organization is realistic and reproducible."""

import msgspec
from simulator.simulated import NOW

from invite_sweeper.simulator import OrgMembershipStatus, SimulatedAtlas, fill
from invite_sweeper.simulator.seed import ORG_ID


def filled(seed=0, projects=20, invitations=12):
    sim = SimulatedAtlas(lambda: NOW)
    fill(sim, projects=projects, invitations_per_project=invitations, seed=seed)
    return sim


def everything(sim):
    return [
        (
            group.name,
            group.tags,
            group.created_at,
            [each.document for each in group.invites.values()],
        )
        for group in sim.groups.values()
    ]


def test_same_seed_fills_the_same_and_another_seed_different_data():
    assert everything(filled(1)) == everything(filled(1))
    assert everything(filled(1)) != everything(filled(2))


def test_fill_creates_the_requested_numbers():
    sim = filled(projects=7, invitations=3)
    assert (len(sim.groups), sim.invitation_count()) == (7, 21)
    assert {group.org_id for group in sim.groups.values()} == {ORG_ID}


def test_project_names_are_unique_and_some_contain_spaces():
    sim = filled(projects=300, invitations=0)
    names = [group.name for group in sim.groups.values()]
    assert len(set(names)) == 300
    assert any(" " in name for name in names)
    assert all(len(name) <= 64 for name in names)


def test_ages_roles_inviters_and_addresses_vary():
    sim = filled()
    documents = [
        msgspec.json.decode(each.document)
        for group in sim.groups.values()
        for each in group.invites.values()
    ]
    ages = sorted((NOW.timestamp() - int(each["id"][:8], 16)) / 86_400 for each in documents)
    assert 0 <= ages[0] < 3
    assert 27 < ages[-1] < 30
    assert len({tuple(each["roles"]) for each in documents}) >= 3
    inviters = {each["inviterUsername"] for each in documents}
    assert any("@" in each for each in inviters)
    assert any("@" not in each for each in inviters)
    domains = {each["username"].rsplit("@")[1] for each in documents}
    assert "board.example.com" in domains
    assert all(each.rsplit(".", 2)[-2] == "example" for each in domains)
    tags = {tag for group in sim.groups.values() for tag in group.tags}
    assert {key for key, _ in tags} == {"env", "team"}


def test_existing_organization_is_filled_not_replaced():
    sim = SimulatedAtlas(lambda: NOW)
    sim.add_organization("a" * 24, "Mine")
    fill(sim, projects=1, invitations_per_project=1, org_id="a" * 24)
    assert [each.name for each in sim.organizations.values()] == ["Mine"]
    assert len(sim.groups) == 1


def test_users_of_all_statuses_are_created_on_request_and_repeat_with_the_seed():
    def users(seed):
        sim = SimulatedAtlas(lambda: NOW)
        fill(sim, projects=3, invitations_per_project=1, user_count=60, seed=seed)
        return [sim.user(each) for each in sim.users()]

    first = users(1)
    assert first == users(1) != users(2)
    assert len(first) == 60
    assert {each.status for each in first} == set(OrgMembershipStatus)
    assert any(len(each.group_roles) == 2 for each in first)

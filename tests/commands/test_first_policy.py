"""The policy that `init` writes finds every invited person, in all four lists."""

from running import cli_in

from invite_sweeper.models import MembershipStatus
from invite_sweeper.simulator import Size, fill


def invited(sim):
    """Return list, organization or project, and id of every invitation of a simulated Atlas."""
    found = {
        ("invites", group.id, invitation)
        for group in sim.groups.values()
        for invitation in group.invites
    }
    for organization in sim.organizations.values():
        for user in organization.users.values():
            if user.status is MembershipStatus.ACTIVE:
                continue
            found.add(("org_users", organization.id, user.id))
            found |= {("users", project_id, user.id) for project_id in user.group_roles}
            if user.status is MembershipStatus.PENDING and not user.by_web_interface:
                found.add(("org_invites", organization.id, user.invitation_id))
    return found


def test_first_policy_finds_every_pending_invitation_of_all_four_lists(tmp_path):
    with cli_in(tmp_path, kind="service-account") as cli:
        fill(cli.sim, Size(projects=5, invitations=4, seed=2, users=6))
        assert cli.run("init", "first.yaml").code == 0
        policy = tmp_path / "first.yaml"
        text = policy.read_text(encoding="utf-8")
        changed = text.replace("audit:", "audit:\n  record: all", 1)
        policy.write_text(changed, encoding="utf-8")
        done = cli.run("plan", "--policy", "first.yaml")

    assert done.code in {0, 3}, done.err  # the first policy has low limits
    rows = [*cli.lines("planned"), *cli.lines("kept")]
    entries = [
        (each["source"], each["project_id"] or row["org_id"], each["invitation_id"])
        for row in rows
        for each in (row, *row.get("entries", ()))
    ]
    seen = set(entries)
    assert len(seen) == len(entries)
    expected = invited(cli.sim)
    assert {source for source, *_ in expected} == {"invites", "users", "org_users", "org_invites"}
    assert seen == expected

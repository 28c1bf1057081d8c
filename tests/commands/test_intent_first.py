"""The intent is on disk before the DELETE: Atlas reads the file when the DELETE arrives."""

from datetime import timedelta

import faults
import pytest

from invite_sweeper.models import Source

OLD = timedelta(days=20)
COUNT = 12


def invite(cli, source):
    """Invite people whom one list alone shows among the policy's sources."""
    cli.keys["sources"] = [source.value]
    statuses = ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"]
    cli.keys["rules"] = [{"name": "forgotten", "older_than": "14d", "statuses": statuses}]
    project = cli.sim.add_project("Sandbox")
    for number in range(COUNT):
        name = f"p{number}@example.com"
        if source is Source.INVITES:
            cli.sim.invite(project, name, age=OLD)
        else:
            cli.sim.add_user(name, age=OLD, group_roles={project: ["GROUP_OWNER"]})


@pytest.mark.parametrize("source", Source)
def test_intent_of_exactly_this_invitation_is_on_disk_when_its_delete_arrives(cli, source):
    invite(cli, source)
    arrived = []
    early = []

    def look(request):
        intents = {
            (line["source"], line["project_id"] or line["org_id"], line["invitation_id"])
            for line in cli.lines("intent")
        }
        arrived.append(request.item_id)
        if (source.value, request.place_id, request.item_id) not in intents:
            early.append(request)

    cli.sim.faults.add(faults.effect(before=look), method="DELETE", times=None)
    assert cli.sweep().summary["deleted"] == COUNT
    assert len(set(arrived)) == COUNT
    assert not early

"""What the cases of the random test recorded: in the simulated Atlas, audit logs and plans."""

import json
from collections import defaultdict
from datetime import datetime
from operator import itemgetter
from pathlib import Path

from world import World


def removed(world: World) -> set[tuple[str, str]]:
    """Return what the simulated Atlas removed, as `(scope id, id)`; the scope of an id is known."""
    scopes = {id_: scope for _, scope, id_ in world.items}
    log = world.cli.sim.request_log
    users = {(each.scope_id, each.user_id) for each in log.removed}
    ids = {each[1] for each in users}
    return users | {(scopes[each], each) for each in log.deleted if each not in ids}


def planned(world: World) -> set[tuple[str, str]]:
    """Return what runs with the case's first policy planned to remove."""
    runs = whole_lines(world, "run_started")
    policies = {run["run_id"]: run["policy_sha256"] for run in runs}
    return {
        (line["project_id"] or line["org_id"], line["invitation_id"])
        for line in whole_lines(world, "planned")
        if policies[line["run_id"]] == runs[0]["policy_sha256"]
    }


def directories(world: World) -> list[Path]:
    """Return the audit directories; each shard has one."""
    return sorted({path.parent for path in _files(world)})


def _files(world: World) -> list[Path]:
    return sorted((world.cli.folder / "audit").rglob("*.jsonl"))


def whole_lines(world: World, event: str) -> list[dict[str, object]]:
    """Return the lines of all runs, also of one that was killed."""
    data = [line for path in _files(world) for line in path.read_bytes().split(b"\n")[:-1]]
    return [line for line in map(json.loads, data) if line["event"] == event]


def instants(world: World, org_id: str) -> list[datetime]:
    """Return the instants at which a run read this organization."""
    starts = whole_lines(world, "run_started")
    return [
        datetime.fromisoformat(line["now"]) for line in starts if org_id in line["organizations"]
    ]


def by_run(world: World, event: str) -> dict[str, list[dict[str, object]]]:
    """Return the lines of an event by the id of the run that wrote them."""
    found = defaultdict(list)
    for line in whole_lines(world, event):
        found[line["run_id"]].append(line)
    return found


def sent(intents: list[dict[str, object]], outcomes: list[dict[str, object]]) -> list[object]:
    """Return the intents whose DELETE was not proven unsent."""
    keys = itemgetter("run_id", "source", "org_id", "project_id", "invitation_id")
    never = {"skipped", "changed", "accepted_before"}
    unsent = {keys(line) for line in outcomes if line["outcome"] in never}
    return [line for line in intents if keys(line) not in unsent]


def listed_in(plan: Path) -> set[tuple[str, str]]:
    """Return what a saved plan lists, as `(scope id, id)`."""
    rows = [json.loads(line) for line in plan.read_bytes().splitlines()]
    planned = [row for row in rows if row["event"] == "planned"]
    return {(row["project_id"] or row["org_id"], row["invitation_id"]) for row in planned}


def listed_count(world: World) -> int:
    """Return how many invitations the lists of the policy had at first."""
    orgs, sources = world.organizations, world.policy["sources"]
    return sum(row.org_id in orgs and row.source in sources for row in world.items.values())

"""The simulated Atlas in a separate process, without rate limits and faults.

Its argument is a `Load` in JSON. It prints one JSON object when it listens (the
environment of a client), and another at the end of its standard input (the requests received and
the invitations left).
"""

import asyncio
import gc
import json
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import faults
from benchmarks.measuring import Load
from observed import ObservedAtlas

from invite_sweeper.cli.session import run_async
from invite_sweeper.simulator import serve


def build(load: Load) -> tuple[ObservedAtlas, dict[str, str]]:
    """Return a simulated Atlas, and the variables of one account for each organization."""
    sim = ObservedAtlas()
    sim.throttling.enforced = False
    if load.latency_s:
        sim.faults.add(faults.delay(load.latency_s), times=None)
    variables = {}
    for org_id, name in load.organization_ids.items():
        sim.add_organization(org_id, f"Organization {name}")
        for number in range(load.projects):
            project_id = sim.add_project(f"Project {number:05d}", org_id)
            for user in range(load.each):
                age = timedelta(days=load.age_days(number * load.each + user))
                sim.invite(project_id, f"person-{user}@example.com", age=age)
        suffix = f"_{name}" if load.organizations > 1 else ""
        account = sim.add_token(org_id) if load.ready_token else sim.add_service_account(org_id)
        variables |= {f"{key}{suffix}": value for key, value in account.environment().items()}
    return sim, variables


async def serve_until_end_of_input(sim: ObservedAtlas, variables: dict[str, str]) -> int:
    async with serve(sim) as base_url:
        print_json({"MONGODB_ATLAS_BASE_URL": base_url, **variables})
        await asyncio.to_thread(sys.stdin.buffer.read)
    return 0


def print_json(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    simulated, environment = build(Load(**json.loads(sys.argv[1])))
    gc.collect()
    gc.freeze()  # collecting it would slow down the client
    run_async(serve_until_end_of_input(simulated, environment))
    deleted, left = len(simulated.deleted), simulated.invitation_count()
    print_json({"received": simulated.received, "deleted": deleted, "left": left})

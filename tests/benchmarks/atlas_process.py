"""The simulated Atlas in a separate process, without rate limits and faults.

Its argument is a `Load` in JSON. It prints one JSON object when it listens (the
environment of a client), and another at the end of its standard input (the requests received and
the invitations left).
"""

import asyncio
import gc
import json
import sys
import threading
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import faults
from benchmarks.load import Load
from observed import ObservedAtlas

from invite_sweeper.cli.session import run_async
from invite_sweeper.simulator import SimulatedAtlas, serve


def build(load: Load) -> SimulatedAtlas:
    sim = ObservedAtlas()
    sim.throttling.enforced = False
    if load.latency_s:
        sim.faults.add(faults.delay(load.latency_s), times=None)
    for org_id, name in load.organization_ids.items():
        sim.add_organization(org_id, f"Organization {name}")
        for number in range(load.projects):
            project_id = sim.add_project(f"Project {number:05d}", org_id)
            for user in range(load.each):
                age = timedelta(days=load.age_days(number * load.each + user))
                sim.invite(project_id, f"person-{user}@example.com", age=age)
    return sim


def credentials(sim: SimulatedAtlas, load: Load) -> dict[str, str]:
    """Return the variables of one account for each organization, with its name if several."""
    found = {}
    for org_id, name in load.organization_ids.items():
        suffix = f"_{name}" if load.organizations > 1 else ""
        account = sim.add_token(org_id) if load.ready_token else sim.add_service_account(org_id)
        for variable, value in account.environment().items():
            found[f"{variable}{suffix}"] = value
    return found


async def serve_until_end_of_input(sim: SimulatedAtlas, variables: dict[str, str]) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    async with serve(sim) as base_url:
        print_json({"MONGODB_ATLAS_BASE_URL": base_url, **variables})
        await ended.wait()
    return 0


def print_json(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    sim = build(load)
    variables = credentials(sim, load)
    gc.collect()
    gc.freeze()  # collecting it would slow down the client
    run_async(serve_until_end_of_input(sim, variables))
    print_json(
        {
            "received": dict(sim.received),
            "deleted": len(sim.deleted),
            "left": sim.invitation_count(),
        }
    )


if __name__ == "__main__":
    main()

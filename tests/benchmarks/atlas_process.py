"""The simulated Atlas in a separate process, without rate limits and faults.

Its argument is a `measuring.Load` in JSON. It prints one JSON object when it listens (the
environment of a client), and another at the end of its standard input (the requests received and
the invitations left).
"""

import asyncio
import gc
import json
import os
import sys
import threading
from datetime import timedelta

from invite_sweeper.cli.console import run_async
from invite_sweeper.simulator import Account, SimulatedAtlas, serve
from invite_sweeper.simulator.seed import ORG_ID, ORG_NAME


def build(projects: int, each: int, age_days: float, latency_s: float) -> SimulatedAtlas:
    sim = SimulatedAtlas()
    sim.add_organization(ORG_ID, ORG_NAME)
    sim.throttling.enforced = False
    sim.request_log.enabled = False  # the counters still count
    if latency_s:
        sim.faults.set_latency(latency_s)
    for number in range(projects):
        project_id = sim.add_project(f"Project {number:05d}", ORG_ID)
        for user in range(each):
            sim.invite(project_id, f"person-{user}@example.com", age=timedelta(days=age_days))
    return sim


async def serve_until_end_of_input(sim: SimulatedAtlas, account: Account) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    async with serve(sim) as base_url:
        print_json({"MONGODB_ATLAS_BASE_URL": base_url, **account.environment()})
        await ended.wait()
    return 0


def print_json(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    load = json.loads(sys.argv[1])
    add_account = "add_api_key" if load.pop("api_key") else "add_service_account"
    sim = build(**load)
    account = getattr(sim, add_account)()
    gc.collect()
    gc.freeze()  # collecting it would slow down the client
    run_async(serve_until_end_of_input(sim, account))
    times = os.times()
    print_json(
        {
            "received": dict(sim.request_log.received),
            "statuses": {str(status): count for status, count in sim.request_log.statuses.items()},
            "deleted": len(sim.request_log.deleted),
            "left": sim.invitation_count(),
            "cpu_s": times.user + times.system,
        }
    )


if __name__ == "__main__":
    main()

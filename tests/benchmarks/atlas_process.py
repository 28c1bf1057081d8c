"""The simulated Atlas in a process of its own: no limits, nothing that goes wrong.

Its argument is a `measuring.Load` in JSON. It writes one JSON object when it listens (the
environment to point a client at it), and at the end of its standard input another one (what it
was asked and what is left).
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
    sim.request_log.enabled = False  # counters go on
    if latency_s:
        sim.faults.set_latency(latency_s)
    for number in range(projects):
        project_id = sim.add_project(f"Project {number:05d}", ORG_ID)
        for person in range(each):
            sim.invite(project_id, f"person-{person}@example.com", age=timedelta(days=age_days))
    return sim


async def serve_until_told(sim: SimulatedAtlas, account: Account) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(told.set)

    threading.Thread(target=wait, daemon=True).start()
    async with serve(sim) as base_url:
        tell({"MONGODB_ATLAS_BASE_URL": base_url, **account.environment()})
        await told.wait()
    return 0


def tell(words: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    asked = json.loads(sys.argv[1])
    add_account = "add_api_key" if asked.pop("api_key") else "add_service_account"
    sim = build(**asked)
    account = getattr(sim, add_account)()
    gc.collect()
    gc.freeze()  # what it holds is not garbage, and looking it through would cost the client time
    run_async(serve_until_told(sim, account))
    times = os.times()
    tell(
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

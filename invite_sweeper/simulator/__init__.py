"""A simulated Atlas: the same paths, headers, bodies, limits and faults, in memory.

It serves real sockets, so that the program needs no test mode. The tests compare its responses
with recordings of Atlas.

```python
sim = SimulatedAtlas()                       # clock=, monotonic=
sim.add_organization("5efda682a3f2ed2e7dd6cde4", "Example Org")
project = sim.add_project("Data Lake", tags={"env": "sandbox"})
sim.invite(project, "ada@example.com", age=timedelta(days=20))
account = sim.add_service_account()
async with serve(sim) as base_url:           # port=, ssl_context=
    run_with({"MONGODB_ATLAS_BASE_URL": base_url, **account.environment()})
assert sim.invitation_count() == 0
```

The functions of the module `faults` create what `sim.faults` injects.
"""

from invite_sweeper.simulator import faults
from invite_sweeper.simulator.api import serve
from invite_sweeper.simulator.auth import Account
from invite_sweeper.simulator.responses import Call
from invite_sweeper.simulator.seed import Size
from invite_sweeper.simulator.state import SimulatedAtlas

__all__ = [
    "Account",
    "Call",
    "SimulatedAtlas",
    "Size",
    "faults",
    "serve",
]

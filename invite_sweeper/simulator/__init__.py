"""A simulated Atlas: the same paths, headers, bodies, limits and faults, in memory.

It serves real sockets, so that the program needs no test mode. The tests compare its responses
with recordings of Atlas.

```python
sim = SimulatedAtlas()                       # clock=, monotonic=, sleep=, seed=
sim.add_organization("5efda682a3f2ed2e7dd6cde4", "Example Org")
project = sim.add_project("Data Lake", tags={"env": "sandbox"})
sim.invite(project, "ada@example.com", age=timedelta(days=20))
account = sim.add_service_account()          # or add_api_key(), add_token()
async with serve(sim) as base_url:           # host=, port=, ssl_context=
    run_with({"MONGODB_ATLAS_BASE_URL": base_url, **account.environment()})
assert sim.invitations(project) == ()
```

Data: `add_organization`, `add_project`, `remove_project`, `add_team`, `invite`, `invitations`,
`invitation_count`, `accept`. `invite` takes fields by Atlas's name as overrides; `MISSING` leaves
a field out. `fill` creates an organization from a seed.

Organizations: `events` and `federated` of `organizations[org_id]`.

Users: `add_user`, `user`, `users`, `set_status`.

Accounts: `add_service_account`, `add_api_key` and `add_token` return an `Account`, whose
`org_ids`, `access_list` and `secrets_expire_at` can be set. `limit_access` applies to all
accounts. `oauth` and `digest` have the settings of both protocols.

Responses: `date_offset`, `gone_status`, `invite_rate_limit`, `versions`, `paging`, `user_paging`,
`team_paging`, `throttling`.

Faults: `faults.add`, `faults.add_random`, `faults.set_latency`, `faults.clear`; the functions of
the module `faults` create a `Fault`.

Requests received: `requests`, `deleted`, `deletes_received`, and the counters of `request_log`.
"""

from invite_sweeper.simulator import faults
from invite_sweeper.simulator.auth import Access, Account
from invite_sweeper.simulator.calls import Call
from invite_sweeper.simulator.data import OrgMembershipStatus
from invite_sweeper.simulator.responses import MISSING
from invite_sweeper.simulator.seed import Size, fill
from invite_sweeper.simulator.server import serve
from invite_sweeper.simulator.state import RequestRecord, SimulatedAtlas

__all__ = [
    "MISSING",
    "Access",
    "Account",
    "Call",
    "OrgMembershipStatus",
    "RequestRecord",
    "SimulatedAtlas",
    "Size",
    "faults",
    "fill",
    "serve",
]

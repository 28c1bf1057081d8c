"""A simulated Atlas: the same paths, headers, bodies, limits and faults, held in memory.

It answers over real sockets, so that the program needs no test mode. What it sends is
compared with recordings of Atlas in the tests.

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

What it holds (`Holdings`): `add_organization(org_id, name)`, `add_project(name, org_id=None, *,
project_id, tags, created, hidden) -> id`, `remove_project(id)`, `invite(project_id, username, *,
age, roles, inviter, **overrides) -> id` where an override is a field by Atlas's name, `MISSING`
to leave it out, `invitations(project_id) -> ids`, `invitation_count()`, `accept(project_id,
invitation_id)` (a member from then on). `fill(sim, projects=, invitations_per_project=, people=0,
seed=0, now=None, org_id=)` makes an organization, the same for a seed.

Its people (`People`), as the newer calls and the web interface make them: `add_user(username,
org_id=None, *, status="PENDING", age, org_roles, group_roles, team_ids, inviter) -> user id`,
`user(user_id) -> User` (its `invitation_id` is that of `/orgs/{id}/invites`), `users(org_id=None)`,
`set_status(user_id, "ACTIVE")`.

Who may ask: `add_service_account(*org_ids)`, `add_api_key`, `add_token` give an `Account` with
`name`, `secret`, `environment()`, and `access`, `roles`, `access_list` to set; `forbid(scope_id,
access=Access.READ)` and `allow(scope_id)` for everybody. `oauth.expires_in_s`, `.live_tokens`,
`.requests_per_minute`, `.expire(*tokens)`, `.live(account)`, `.issued`, `.revoked`.
`digest.algorithm`, `.nonce_life_s`, `.nonce_uses`, `.rising_counts`, `.forget_nonces()`.

How it answers: `date_offset`, `gone_status` (404 or 400 for an unknown invitation), `gzip`,
`mailroom.per_minute`, `rate_limits_served`, `versions.gone` (a set of family and version, `*` for
all; families are groups, orgs, invites, org_invites, users, org_users, rate_limits, root),
`versions.exact`, `versions.sunsets` (family to header), `paging` and `user_paging` (see `Paging`),
`throttling.headers`, `.retry_after`, `.enforced`,
`set_bucket(endpoint_set, scope_id=None, *, capacity, refill, period_s, anchor_s)`,
`spend(endpoint_set, scope_id, tokens)`; the sets are the keys of `ENDPOINT_SETS`.

What goes wrong: `faults.add(fault, method="*", path="*", nth=1, times=1)`,
`faults.randomly(fault, rate, method="*", path="*")`, `faults.latency(base_s, jitter_s)`,
`faults.clear()`. A path is a glob without the query. The faults are made by the functions of the
module `faults`: `fails`, `html`, `empty`, `upgrade`, `redirect`, `challenge`, `role_missing`,
`answers`, `reset`, `hang`, `truncated`, `malformed`, `mislabelled`, `delay`, and `effect(before=,
after=)` for what somebody else does just then; `late=True` lets the request be carried out first.

What it has been asked: `requests`, `deleted`, `deletes_received`, and in `journal`:
`statuses`, `received`, `confirmed`, `deletes_after_confirmation`, `removed` (users, with what they
were when they were removed), `enabled`.
"""

from invite_sweeper.simulator import faults
from invite_sweeper.simulator.auth import Access, Account
from invite_sweeper.simulator.data import (
    OrgMembershipStatus,
    PagingQuirks,
    RemovedUser,
    RequestRecord,
    User,
)
from invite_sweeper.simulator.faults import Fault, FaultContext
from invite_sweeper.simulator.responses import MISSING, Json, Missing
from invite_sweeper.simulator.seed import fill
from invite_sweeper.simulator.server import serve
from invite_sweeper.simulator.state import SimulatedAtlas
from invite_sweeper.simulator.throttling import ENDPOINT_SETS

__all__ = [
    "ENDPOINT_SETS",
    "MISSING",
    "Access",
    "Account",
    "Fault",
    "FaultContext",
    "Json",
    "Missing",
    "OrgMembershipStatus",
    "PagingQuirks",
    "RemovedUser",
    "RequestRecord",
    "SimulatedAtlas",
    "User",
    "faults",
    "fill",
    "serve",
]

"""Each request to the simulated Atlas has its status, error code and headers."""

import pytest
from simulator.exchanges import EXCHANGES, World


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda each: each.line)
async def test_request_is_answered_as_in_the_table_and_changes_nothing_if_refused(exchange):
    world = World()
    before = world.sim.users(), world.sim.invitations(world.project)
    _, response = await exchange.respond(world)
    assert response.status == exchange.status
    if exchange.code:
        assert response.code == exchange.code
        assert response.headers["Content-Type"] == "application/json"
    if response.status < 300:
        level, limit = (response.headers[f"RateLimit-{each}"] for each in ("Remaining", "Limit"))
        assert int(level) == int(limit) - 1
    else:
        assert (world.sim.users(), world.sim.invitations(world.project)) == before
        assert world.sim.deleted == ()

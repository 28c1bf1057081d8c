"""A look before a removal that a cache answered is not what Atlas knows now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import faults
import pytest
from builders import PROJECT
from deleting import delete_first, place_of

from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome


@pytest.fixture(autouse=True)
def _user(sim):
    sim.add_project("Alpha", project_id=PROJECT)
    sim.add_user("ada@example.com", group_roles={PROJECT: ["GROUP_OWNER"]})


def answered(sim, path, made, age=None):
    """Answer as if Atlas had done so `made` seconds from now, or with this `Age`."""
    moment = datetime.now(UTC) + timedelta(seconds=made)
    headers = (("Date", format_datetime(moment, usegmt=True)),)
    headers += () if age is None else (("Age", age),)
    fault = faults.changed(lambda real: replace(real, headers=(*real.headers, *headers)))
    sim.faults.add(fault, method="GET", path=path, times=None)


@pytest.mark.parametrize(
    ("made", "age", "skew_s", "is_read"),
    [
        *((0, age, 0, False) for age in ("1", "3600")),
        *((made, None, skew_s, False) for made, skew_s in ((-8, 0), (-120, -100), (200, 0))),
        *((0, age, 0, True) for age in (None, "0", "old")),
        *((made, None, made, True) for made in (-250, 250)),
        *((made, None, 0, True) for made in (-2, 60)),
    ],
)
async def test_look_out_of_a_cache_by_the_known_skew_sends_no_deletion(
    sim, atlas, made, age, skew_s, is_read
):
    sim.date_offset = timedelta(seconds=skew_s)
    answered(sim, "*/groups/*/users/*", made, age)
    result = await delete_first(atlas, place_of(Source.USERS, PROJECT), Source.USERS)

    assert result.outcome is (Outcome.DELETED if is_read else Outcome.FAILED)
    assert (result.attempts, sim.deletes_received) == (is_read, is_read)

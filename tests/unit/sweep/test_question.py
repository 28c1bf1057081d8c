"""The question before a sweep deletes: what it shows, and that only yes deletes."""

import pytest
from builders import object_id
from sweep.night import Night, message


async def test_question_has_the_counts_of_all_and_its_time_is_not_the_runs(directory):
    night = Night(directory, 1, 2, 0)
    asked = []

    def answer(result):
        lists = [*night.atlases[1].requested]
        asked.append((result.stale, len(result.organizations), night.deleted, lists))
        night.clock_s += 60
        return True

    night.clock_s = 10.0
    result = await night.run(answer=answer)
    assert asked == [(3, 3, [0, 0, 0], [object_id(2)])]
    assert (result.duration_s, result.changed, night.deleted) == (10.0, 0, [1, 2, 0])
    assert night.atlases[1].requested == [object_id(2)]


async def test_refused_question_deletes_nothing(directory):
    night = Night(directory, 1)
    result = await night.run(answer=lambda _: False)
    assert (message(result), result.error["consequence"]) == ("Cancelled.", "Nothing was deleted.")
    assert (night.deleted, result.exit_code, result.plan_made) == ([0], 3, True)


@pytest.mark.parametrize("answer", [True, False])
async def test_stop_while_the_question_is_open_deletes_nothing(directory, answer):
    night = Night(directory, 1)
    result = await night.run(answer=lambda _: night.stop.request("SIGTERM came") or answer)
    assert (result.exit_code, result.error["consequence"]) == (8, "Nothing was deleted.")
    assert night.deleted == [0]

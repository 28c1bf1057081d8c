"""A shard whose log is not among the files is told."""

from invite_sweeper.audit.history import RunRecord, missing_shards


def runs(*shards, now="2026-11-25T01:00:00Z"):
    return [RunRecord(f"r{n}", {"shard": shard, "now": now}) for n, shard in enumerate(shards)]


def test_all_shards_of_a_night_are_there():
    assert missing_shards(runs("1/3", "3/3", "2/3")) == ()


def test_missing_shards_are_named():
    assert missing_shards(runs("2/3")) == ("1/3", "3/3")


def test_run_over_everything_has_no_shards():
    assert missing_shards(runs(None, None)) == ()
    assert missing_shards([]) == ()


def test_run_over_everything_hides_no_shard_after_it():
    assert missing_shards(runs(None, "2/2")) == ("1/2",)


def test_only_the_newest_division_counts():
    old = runs("1/3", now="2026-11-01T01:00:00Z")
    assert missing_shards([*old, *runs("1/2", "2/2")]) == ()
    assert missing_shards([*runs("1/2"), *old]) == ("2/2",)


def test_shard_of_a_wrong_form_is_passed_over():
    assert missing_shards(runs("x/3", "1/y", "", "1")) == ()

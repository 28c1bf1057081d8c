"""Shards without a log among the files."""

from invite_sweeper.audit.history import RunRecord, missing_shards


def runs(*shards, now="2026-11-25T01:00:00Z"):
    return [RunRecord(f"r{n}", {"shard": shard, "now": now}) for n, shard in enumerate(shards)]


def test_no_shard_is_missing_if_each_has_a_run():
    assert missing_shards(runs("1/3", "3/3", "2/3")) == ()


def test_shards_without_a_run_are_missing():
    assert missing_shards(runs("2/3")) == ("1/3", "3/3")


def test_runs_without_shards_miss_none():
    assert missing_shards(runs(None, None)) == ()
    assert missing_shards([]) == ()


def test_shard_is_missing_after_a_run_without_shards():
    assert missing_shards(runs(None, "2/2")) == ("1/2",)


def test_only_the_newest_shard_count_is_checked():
    old = runs("1/3", now="2026-11-01T01:00:00Z")
    assert missing_shards([*old, *runs("1/2", "2/2")]) == ()
    assert missing_shards([*runs("1/2"), *old]) == ("2/2",)


def test_malformed_shard_is_ignored():
    assert missing_shards(runs("x/3", "1/y", "", "1")) == ()


def test_shard_with_more_than_two_parts_is_ignored():
    assert missing_shards(runs("1/2/3", "1/2")) == ("2/2",)
